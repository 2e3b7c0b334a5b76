"""Scaling laws from runs: loss over parameters and tokens, robustly, with what can go wrong said (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, nnls

from hf_core_bpb.errors import InputError

Vector = npt.NDArray[np.float64]

# Huber's delta on log loss, summed over runs (Hoffmann et al. 2022; Besiroglu et al. 2024).
HUBER_DELTA = 1e-3
FEWEST_RUNS = 6
_EXPONENT_BOUND = 3.0
_BOUNDS = [(-30.0, 60.0), (-30.0, 60.0), (-20.0, 10.0), (0.0, _EXPONENT_BOUND), (0.0, _EXPONENT_BOUND)]
_STARTS = 100
_SEED = 1234
# A residual of so many robust standard deviations makes a run an outlier.
_OUTLIER_SIGMAS = 5.0
# Two objectives closer than this are the same minimum.
_SAME_MINIMUM = 1e-6


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training run; loss in nats a token or bits a byte; unique_tokens where text was repeated."""

    parameters: float
    tokens: float
    loss: float
    core: float | None = None
    unique_tokens: float | None = None

    @property
    def flops(self) -> float:
        """6 N D."""
        return 6 * self.parameters * self.tokens


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
    data = _Data.of(kept)
    theta, objective, converged = _fit(data, seed)
    drawn = _bootstrap(data, theta, bootstraps, seed)
    coefficients = _coefficients(theta)
    largest = max(run.flops for run in kept)
    residuals_N = data.residuals(theta)
    held_out_error, num_held_out = _held_out(kept, seed)
    names = ("A", "B", "E", "alpha", "beta")
    bound = [n for n, v, (low, high) in zip(names, theta, _BOUNDS, strict=True) if min(v - low, high - v) < 1e-6]
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


def check_runs(runs: Sequence[Run], drop_highest: int = 0) -> None:
    """Raise InputError for runs that no law can be fitted to."""
    for number, run in enumerate(runs):
        for name in ("parameters", "tokens", "loss"):
            value = getattr(run, name)
            if not 1e-9 < value < 1e40:
                raise InputError(f"runs, number {number}: expected {name} above 0 and below 1e40, got {value}")
    if not 0 <= drop_highest <= len(runs) - FEWEST_RUNS:
        raise InputError(
            f"runs: expected {FEWEST_RUNS} or more, got {len(runs)}"
            + (f" less the {drop_highest} of highest loss" if drop_highest else "")
        )
    for name in ("parameters", "tokens"):
        if len({getattr(run, name) for run in runs}) < 3:
            raise InputError(f"runs: expected 3 or more different {name}, got fewer")


@dataclass(frozen=True, slots=True)
class _Data:
    log_n: Vector
    log_d: Vector
    log_loss: Vector

    @staticmethod
    def of(runs: Sequence[Run]) -> "_Data":
        values = np.log([[run.parameters, run.tokens, run.loss] for run in runs])
        return _Data(values[:, 0], values[:, 1], values[:, 2])

    def some(self, places: npt.NDArray[np.int64]) -> "_Data":
        return _Data(self.log_n[places], self.log_d[places], self.log_loss[places])

    def terms(self, theta: Vector) -> Vector:
        """Return ln(A / N^alpha), ln(B / D^beta) and ln E for every run (3, N)."""
        a, b, e, alpha, beta = theta
        return np.stack([a - alpha * self.log_n, b - beta * self.log_d, np.full_like(self.log_n, e)])

    def residuals(self, theta: Vector) -> Vector:
        """Return ln seen - ln predicted."""
        return self.log_loss - _log_sum_exp(self.terms(theta))

    def objective(self, theta: Vector) -> tuple[float, Vector]:
        """Return the sum of Huber losses and its gradient in (ln A, ln B, ln E, alpha, beta)."""
        terms = self.terms(theta)
        predicted = _log_sum_exp(terms)
        off = predicted - self.log_loss
        small = np.abs(off) <= HUBER_DELTA
        value = np.where(small, off**2 / 2, HUBER_DELTA * (np.abs(off) - HUBER_DELTA / 2)).sum()
        slope = np.clip(off, -HUBER_DELTA, HUBER_DELTA)
        by_term = np.exp(terms - predicted) * slope
        gradient = [*by_term.sum(axis=1), -(by_term[0] * self.log_n).sum(), -(by_term[1] * self.log_d).sum()]
        return float(value), np.array(gradient)


def _log_sum_exp(terms: Vector) -> Vector:
    # scipy's takes ten times as long on so few numbers.
    highest = terms.max(axis=0)
    return np.asarray(highest + np.log(np.exp(terms - highest).sum(axis=0)))


def _fit(data: _Data, seed: int) -> tuple[Vector, float, float]:
    """Return the best coefficients of many starts, their objective, and the share of starts that reached it."""
    ends = [_descend(data, start) for start in [_projected_start(data), *_grid_starts(seed)]]
    theta, objective = min(ends, key=lambda end: end[1])
    reached = sum(value - objective <= _SAME_MINIMUM * max(objective, 1e-12) for _, value in ends)
    return theta, objective, reached / len(ends)


def _descend(data: _Data, start: Vector) -> tuple[Vector, float]:
    # The objective is of the order of 1e-3: scaled up, so that the tolerances mean relative change.
    scale = 1e3 / max(len(data.log_n), 1) / HUBER_DELTA

    def scaled(theta: Vector) -> tuple[float, Vector]:
        value, gradient = data.objective(theta)
        return scale * value, scale * gradient

    found = minimize(
        scaled,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=_BOUNDS,
        options={"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-13, "gtol": 1e-9, "maxcor": 20},
    )
    return np.asarray(found.x), data.objective(found.x)[0]


def _grid_starts(seed: int) -> list[Vector]:
    """Return some of the 4,500 starts of Hoffmann et al., in a fixed order."""
    grid = [
        np.array([a, b, e, alpha, beta])
        for alpha in (0.0, 0.5, 1.0, 1.5, 2.0)
        for beta in (0.0, 0.5, 1.0, 1.5, 2.0)
        for e in (-1.0, -0.5, 0.0, 0.5, 1.0)
        for a in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
        for b in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
    ]
    places = np.random.default_rng(seed).choice(len(grid), _STARTS, replace=False)
    return [grid[i] for i in places]


def _projected_start(data: _Data) -> Vector:
    """Return a start by variable projection: for exponents on a grid, E, A and B follow by least squares >= 0."""
    loss = np.exp(data.log_loss)
    # Sizes and tokens relative to their means, so that the columns are of one magnitude.
    mean_n, mean_d = data.log_n.mean(), data.log_d.mean()
    best, least = np.array([5.0, 5.0, 0.0, 0.4, 0.4]), math.inf
    for alpha in np.arange(0.1, 1.01, 0.1):
        for beta in np.arange(0.1, 1.01, 0.1):
            columns = [
                np.exp(-alpha * (data.log_n - mean_n)),
                np.exp(-beta * (data.log_d - mean_d)),
                np.ones_like(loss),
            ]
            # Divided by the loss: relative errors, as the objective has them.
            weights, error = nnls(np.stack(columns, axis=1) / loss[:, None], np.ones_like(loss))
            if error < least:
                a, b, e = np.log(np.maximum(weights, 1e-6))
                best, least = np.array([a + alpha * mean_n, b + beta * mean_d, e, alpha, beta]), error
    return best


def _bootstrap(data: _Data, theta: Vector, count: int, seed: int) -> list[Coefficients]:
    rng = np.random.default_rng(seed)
    size = len(data.log_n)
    return [_coefficients(_descend(data.some(rng.integers(0, size, size)), theta)[0]) for _ in range(count)]


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
    fitted = _coefficients(_fit(_Data.of(kept), seed)[0])
    errors = [abs(fitted.loss(run.parameters, run.tokens) / run.loss - 1) for run in held]
    return sum(errors) / len(errors), count
