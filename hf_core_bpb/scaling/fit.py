"""Scaling laws from runs: loss over parameters and tokens, robustly, with what can go wrong said (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling.minimum import BOUNDS, Data, Vector, descend, find_minimum
from hf_core_bpb.scaling.runs import Run, check_runs

_SEED = 1234
# A residual of so many robust standard deviations makes a run an outlier.
_OUTLIER_SIGMAS = 5.0


@dataclass(frozen=True, slots=True)
class Coefficients:
    """L(N, D) = E + A / N^alpha + B / D^beta."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    @property
    def exponent(self) -> float:
        """The exponent a of N* ~ C^a."""
        return self.beta / (self.alpha + self.beta)

    def loss(self, parameters: Any, tokens: Any) -> Any:
        """Return the losses of sizes and tokens, numbers or arrays."""
        return self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta

    def optimal_parameters(self, flops: float) -> float:
        """Return N* = G (C/6)^a, G = (alpha A / (beta B))^(1/(alpha+beta))."""
        log_g = math.log(self.alpha * self.A / (self.beta * self.B)) / (self.alpha + self.beta)
        return math.exp(log_g + self.exponent * math.log(flops / 6))


@dataclass(frozen=True, slots=True)
class Optimum:
    """The allocation of least loss at a budget, with bootstrap intervals of 95 %."""

    flops: float
    parameters: float
    parameters_ci95: tuple[float, float]
    tokens: float
    tokens_ci95: tuple[float, float]
    ratio: float
    ratio_ci95: tuple[float, float]


@dataclass(frozen=True, slots=True)
class ParametricFit:
    """A fitted law with how it was come by.

    objective: the sum of Huber losses. converged_starts: the share of starts that ended in this minimum.
    at_bound: coefficients that ended on their bounds. outliers: places in `runs` of large residuals; they
    are named, not left out. dropped: places among the runs given that were left out beforehand.
    held_out_error: mean of |predicted / seen - 1| at the largest budgets by a fit without them, None where
    there are too few runs.
    """

    coefficients: Coefficients
    ci95: dict[str, tuple[float, float]]
    optima: tuple[Optimum, ...]
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
    """Return L(N, D) fitted to runs by the sum of Huber losses (delta 1e-3) on log loss.

    From a start by variable projection and 100 of a grid, with the analytic gradient and tight tolerances:
    a mean, or default tolerances, stop early (arXiv:2404.10102). drop_highest: leave out so many runs of
    highest loss. bootstraps: resamplings of runs for intervals. budgets: FLOPs at which the optimum is
    reported, the largest of the runs and ten times that where none are given.
    Raises InputError for too few runs, sizes or tokens, and for values that are not positive.
    """
    check_runs(runs, drop_highest)
    for flops in budgets:
        if not 1e-3 < flops < 1e40:
            raise InputError(f"--flops: expected a budget above 0 and below 1e40, got {flops}")
    if seed < 0:
        raise InputError(f"--seed: expected 0 or more, got {seed}")
    order = sorted(range(len(runs)), key=lambda i: -runs[i].loss)
    dropped = sorted(order[:drop_highest])
    kept = tuple(run for i, run in enumerate(runs) if i not in dropped)
    check_runs(kept)
    data = Data.of(kept)
    theta, objective, converged = find_minimum(data, seed)
    drawn = _bootstrap(data, theta, bootstraps, seed)
    coefficients = _coefficients(theta)
    largest = max(run.flops for run in kept)
    residuals_N = data.residuals(theta)
    held_out_error, num_held_out = _held_out(kept, seed)
    names = ("A", "B", "E", "alpha", "beta")
    bound = [n for n, v, (low, high) in zip(names, theta, BOUNDS, strict=True) if min(v - low, high - v) < 1e-6]
    return ParametricFit(
        coefficients=coefficients,
        ci95=_intervals(drawn),
        optima=tuple(_optimum(coefficients, drawn, flops) for flops in budgets or (largest, 10 * largest)),
        objective=objective,
        converged_starts=converged,
        at_bound=tuple(bound),
        residuals=tuple(residuals_N.tolist()),
        outliers=tuple(np.flatnonzero(np.abs(residuals_N) > _OUTLIER_SIGMAS * _robust_sigma(residuals_N)).tolist()),
        dropped=tuple(dropped),
        held_out_error=held_out_error,
        num_held_out=num_held_out,
        num_bootstraps=len(drawn),
        runs=kept,
    )


def _bootstrap(data: Data, theta: Vector, count: int, seed: int) -> list[Coefficients]:
    rng = np.random.default_rng(seed)
    size = len(data.log_n)
    return [_coefficients(descend(data.some(rng.integers(0, size, size)), theta)[0]) for _ in range(count)]


def _coefficients(theta: Vector) -> Coefficients:
    a, b, e, alpha, beta = (float(value) for value in theta)
    return Coefficients(E=math.exp(e), A=math.exp(a), B=math.exp(b), alpha=alpha, beta=beta)


def _intervals(drawn: Sequence[Coefficients]) -> dict[str, tuple[float, float]]:
    names = ("E", "A", "B", "alpha", "beta", "exponent")
    return {name: _interval([getattr(one, name) for one in drawn]) for name in names} if drawn else {}


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(np.asarray(values), [0.025, 0.975])
    return float(low), float(high)


def _optimum(fitted: Coefficients, drawn: Sequence[Coefficients], flops: float) -> Optimum:
    sizes = [one.optimal_parameters(flops) for one in drawn if min(one.alpha, one.beta) > 1e-6]
    parameters = fitted.optimal_parameters(flops)
    low, high = _interval(sizes) if sizes else (math.nan, math.nan)
    return Optimum(
        flops=flops,
        parameters=parameters,
        parameters_ci95=(low, high),
        tokens=flops / (6 * parameters),
        tokens_ci95=(flops / (6 * high), flops / (6 * low)),
        ratio=flops / (6 * parameters**2),
        ratio_ci95=(flops / (6 * high**2), flops / (6 * low**2)),
    )


def _robust_sigma(residuals_N: Vector) -> float:
    return max(1.4826 * float(np.median(np.abs(residuals_N - np.median(residuals_N)))), 1e-12)


def _held_out(runs: Sequence[Run], seed: int) -> tuple[float | None, int]:
    """Return the error at the tenth of runs with the largest budgets by a fit to the others, and their number."""
    by_budget = sorted(runs, key=lambda run: run.flops)
    count = max(1, len(runs) // 10)
    kept, held = by_budget[:-count], by_budget[-count:]
    try:
        check_runs(kept)
    except InputError:
        return None, 0
    fitted = _coefficients(find_minimum(Data.of(kept), seed)[0])
    errors = [abs(fitted.loss(run.parameters, run.tokens) / run.loss - 1) for run in held]
    return sum(errors) / len(errors), count
