"""A robust fit of L(N, D) to runs, with bootstrap intervals and diagnostics (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling.laws import Allocation, LossFormula
from hf_core_bpb.scaling.minimum import BOUNDS, LogRuns, Vector, descend, find_minimum
from hf_core_bpb.scaling.runs import FEWEST_RUNS, Run, check_runs

_SEED = 1234
# A run is an outlier beyond this many robust standard deviations.
_OUTLIER_SIGMAS = 5.0


@dataclass(frozen=True, slots=True)
class ParametricFit:
    """A fitted formula with its intervals, optimal allocations and diagnostics.

    objective: the sum of Huber losses. converged_starts: the share of starts that ended in this minimum.
    at_bound: coefficients that ended on a bound. residuals: ln observed - ln predicted, by run. outliers:
    indices into `runs` of large residuals; they take part in the fit. dropped: indices into the given runs
    that were left out. held_out_error: mean of |predicted / observed - 1| at the largest budgets for a fit
    without them, None where too few runs remain.
    """

    coefficients: LossFormula
    ci95: dict[str, tuple[float, float]]
    optima: tuple[Allocation, ...]
    objective: float
    converged_starts: float
    at_bound: tuple[str, ...]
    residuals: tuple[float, ...]
    outliers: tuple[int, ...]
    dropped: tuple[int, ...]
    held_out_error: float | None
    num_held_out: int
    num_bootstraps: int
    runs: tuple[Run, ...]


def fit_parametric(
    runs: Sequence[Run],
    *,
    drop_highest: int = 0,
    bootstraps: int = 400,
    budgets: Sequence[float] = (),
    seed: int = _SEED,
) -> ParametricFit:
    """Fit L(N, D) to runs by the sum of Huber losses (delta 1e-3) on log loss.

    The starts are one by variable projection and 100 of a grid, with the analytic gradient and tight
    tolerances: the mean instead of the sum, or default tolerances, stop early (arXiv:2404.10102).

    Args:
        runs: the finished runs.
        drop_highest: how many runs of highest loss to leave out.
        bootstraps: the number of resamplings of runs for the intervals.
        budgets: FLOPs to report the optimal allocation at; by default the largest of the runs and ten times that.
        seed: seed of the starts and the bootstraps.

    Raises:
        InputError: for too few runs, sizes or tokens, and for values that are not positive.
    """
    _check_options(budgets, seed)
    dropped = _highest_losses(runs, drop_highest)
    fitted_runs = tuple(run for i, run in enumerate(runs) if i not in dropped)
    check_runs(fitted_runs)
    data = LogRuns.from_runs(fitted_runs)
    minimum = find_minimum(data, seed)
    samples = _bootstrap(data, minimum.theta, bootstraps, seed)
    formula = _formula(minimum.theta)
    largest = max(run.flops for run in fitted_runs)
    residuals_N = data.residuals(minimum.theta)
    held_out_error, num_held_out = _held_out_error(fitted_runs, seed)
    return ParametricFit(
        coefficients=formula,
        ci95=_intervals(samples),
        optima=tuple(_optimum(formula, samples, flops) for flops in budgets or (largest, 10 * largest)),
        objective=minimum.objective,
        converged_starts=minimum.converged_starts,
        at_bound=_at_bound(minimum.theta),
        residuals=tuple(residuals_N.tolist()),
        outliers=_outliers(residuals_N),
        dropped=dropped,
        held_out_error=held_out_error,
        num_held_out=num_held_out,
        num_bootstraps=len(samples),
        runs=fitted_runs,
    )


def _check_options(budgets: Sequence[float], seed: int) -> None:
    for flops in budgets:
        if not 1e-3 < flops < 1e40:
            raise InputError(f"budgets: expected FLOPs above 0 and below 1e40, got {flops}")
    if seed < 0:
        raise InputError(f"`seed`: expected 0 or more, got {seed}")


def _highest_losses(runs: Sequence[Run], count: int) -> tuple[int, ...]:
    """Return the indices of the runs of highest loss, in ascending order."""
    check_runs(runs)
    if not 0 <= count <= len(runs) - FEWEST_RUNS:
        raise InputError(
            f"`drop_highest`: expected 0 to {len(runs) - FEWEST_RUNS} of {len(runs)} runs, as a fit needs "
            f"{FEWEST_RUNS}, got {count}"
        )
    order = sorted(range(len(runs)), key=lambda i: -runs[i].loss)
    return tuple(sorted(order[:count]))


def _bootstrap(data: LogRuns, theta: Vector, count: int, seed: int) -> list[LossFormula]:
    rng = np.random.default_rng(seed)
    size = len(data.log_loss)
    return [_formula(descend(data.take(rng.integers(0, size, size)), theta)[0]) for _ in range(count)]


def _formula(theta: Vector) -> LossFormula:
    a, b, e, alpha, beta = (float(value) for value in theta)
    return LossFormula(E=math.exp(e), A=math.exp(a), B=math.exp(b), alpha=alpha, beta=beta)


def _at_bound(theta: Vector) -> tuple[str, ...]:
    bounded = zip(BOUNDS.items(), theta, strict=True)
    return tuple(name for (name, (low, high)), value in bounded if min(value - low, high - value) < 1e-6)


def _intervals(samples: Sequence[LossFormula]) -> dict[str, tuple[float, float]]:
    names = ("E", "A", "B", "alpha", "beta", "exponent")
    return {name: _interval([getattr(sample, name) for sample in samples]) for name in names} if samples else {}


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(values), [0.025, 0.975])
    return float(low), float(high)


def _optimum(formula: LossFormula, samples: Sequence[LossFormula], flops: float) -> Allocation:
    # With an exponent of 0 there is no optimum.
    sizes = [sample.optimal_parameters(flops) for sample in samples if min(sample.alpha, sample.beta) > 1e-6]
    parameters = formula.optimal_parameters(flops)
    low, high = _interval(sizes) if sizes else (math.nan, math.nan)
    return Allocation(
        flops=flops,
        parameters=parameters,
        tokens=flops / (6 * parameters),
        parameters_ci95=(low, high),
        tokens_ci95=(flops / (6 * high), flops / (6 * low)),
    )


def _outliers(residuals_N: Vector) -> tuple[int, ...]:
    # 1.4826 times the median absolute deviation estimates the standard deviation of a normal distribution.
    deviation = max(1.4826 * float(np.median(np.abs(residuals_N - np.median(residuals_N)))), 1e-12)
    return tuple(np.flatnonzero(np.abs(residuals_N) > _OUTLIER_SIGMAS * deviation).tolist())


def _held_out_error(runs: Sequence[Run], seed: int) -> tuple[float | None, int]:
    """Return the error at the tenth of runs with the largest budgets for a fit to the others, and their number."""
    by_budget = sorted(runs, key=lambda run: run.flops)
    count = max(1, len(runs) // 10)
    training, held_out = by_budget[:-count], by_budget[-count:]
    try:
        check_runs(training)
    except InputError:
        return None, 0
    formula = _formula(find_minimum(LogRuns.from_runs(training), seed).theta)
    errors = [abs(formula.loss(run.parameters, run.tokens) / run.loss - 1) for run in held_out]
    return sum(errors) / len(errors), count
