"""The minimum of the sum of Huber losses of L(N, D) on log loss, from many starts (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, nnls

from hf_core_bpb.scaling.runs import Run

Vector = npt.NDArray[np.float64]

# Huber's delta on log loss, summed over runs (Hoffmann et al. 2022; Besiroglu et al. 2024).
HUBER_DELTA = 1e-3
# A vector theta holds ln A, ln B, ln E, alpha and beta; these are the bounds of its entries, by coefficient.
BOUNDS = {"A": (-30.0, 60.0), "B": (-30.0, 60.0), "E": (-20.0, 10.0), "alpha": (0.0, 3.0), "beta": (0.0, 3.0)}
_NUM_GRID_STARTS = 100
# Objectives within this relative distance count as the same minimum.
_SAME_MINIMUM = 1e-6


@dataclass(frozen=True, slots=True)
class LogRuns:
    """Logarithms of the parameters, tokens and losses of runs, each (N,)."""

    log_parameters: Vector
    log_tokens: Vector
    log_loss: Vector

    @staticmethod
    def from_runs(runs: Sequence[Run]) -> "LogRuns":
        """Return the logarithms of runs."""
        values = np.log([[run.parameters, run.tokens, run.loss] for run in runs])
        return LogRuns(values[:, 0], values[:, 1], values[:, 2])

    def take(self, indices: npt.NDArray[np.int64]) -> "LogRuns":
        """Return the runs at the indices, which may repeat."""
        return LogRuns(self.log_parameters[indices], self.log_tokens[indices], self.log_loss[indices])

    def log_terms(self, theta: Vector) -> Vector:
        """Return ln(A / N^alpha), ln(B / D^beta) and ln E for every run (3, N)."""
        a, b, e, alpha, beta = theta
        return np.stack(
            [a - alpha * self.log_parameters, b - beta * self.log_tokens, np.full_like(self.log_parameters, e)]
        )

    def residuals(self, theta: Vector) -> Vector:
        """Return ln observed - ln predicted (N,)."""
        return self.log_loss - _log_sum_exp(self.log_terms(theta))

    def objective(self, theta: Vector) -> tuple[float, Vector]:
        """Return the sum of Huber losses and its gradient with respect to theta."""
        terms = self.log_terms(theta)
        predicted = _log_sum_exp(terms)
        errors = predicted - self.log_loss
        is_quadratic = np.abs(errors) <= HUBER_DELTA
        value = np.where(is_quadratic, errors**2 / 2, HUBER_DELTA * (np.abs(errors) - HUBER_DELTA / 2)).sum()
        slopes = np.clip(errors, -HUBER_DELTA, HUBER_DELTA)
        by_term = np.exp(terms - predicted) * slopes
        by_exponent = [-(by_term[0] * self.log_parameters).sum(), -(by_term[1] * self.log_tokens).sum()]
        return float(value), np.array([*by_term.sum(axis=1), *by_exponent])


def _log_sum_exp(terms: Vector) -> Vector:
    # scipy's function takes ten times as long on arrays this small.
    highest = terms.max(axis=0)
    return np.asarray(highest + np.log(np.exp(terms - highest).sum(axis=0)))


@dataclass(frozen=True, slots=True)
class Minimum:
    """The best coefficients, their objective, and the share of starts that converged to it."""

    theta: Vector
    objective: float
    converged_starts: float


def find_minimum(data: LogRuns, seed: int) -> Minimum:
    """Return the best minimum over all starts."""
    ends = [descend(data, start) for start in [_projected_start(data), *_grid_starts(seed)]]
    theta, objective = min(ends, key=lambda end: end[1])
    converged = sum(value - objective <= _SAME_MINIMUM * max(objective, 1e-12) for _, value in ends)
    return Minimum(theta, objective, converged / len(ends))


def descend(data: LogRuns, start: Vector) -> tuple[Vector, float]:
    """Return the local minimum reached from a start, and its objective."""
    # The objective is about 1e-3; scaling it up makes the tolerances relative.
    scale = 1e3 / max(len(data.log_loss), 1) / HUBER_DELTA

    def scaled(theta: Vector) -> tuple[float, Vector]:
        value, gradient = data.objective(theta)
        return scale * value, scale * gradient

    result = minimize(
        scaled,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=list(BOUNDS.values()),
        options={"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-13, "gtol": 1e-9, "maxcor": 20},
    )
    return np.asarray(result.x), data.objective(result.x)[0]


def _grid_starts(seed: int) -> list[Vector]:
    """Return a random sample of the 4,500 starts of Hoffmann et al."""
    grid = [
        np.array([a, b, e, alpha, beta])
        for alpha in (0.0, 0.5, 1.0, 1.5, 2.0)
        for beta in (0.0, 0.5, 1.0, 1.5, 2.0)
        for e in (-1.0, -0.5, 0.0, 0.5, 1.0)
        for a in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
        for b in (0.0, 5.0, 10.0, 15.0, 20.0, 25.0)
    ]
    indices = np.random.default_rng(seed).choice(len(grid), _NUM_GRID_STARTS, replace=False)
    return [grid[i] for i in indices]


def _projected_start(data: LogRuns) -> Vector:
    """Return a start by variable projection: a grid of exponents, with E, A and B by least squares >= 0."""
    loss = np.exp(data.log_loss)
    # Relative to their means, so that the columns have similar magnitudes.
    mean_n, mean_d = data.log_parameters.mean(), data.log_tokens.mean()
    best, lowest_error = np.array([5.0, 5.0, 0.0, 0.4, 0.4]), math.inf
    for alpha in np.arange(0.1, 1.01, 0.1):
        for beta in np.arange(0.1, 1.01, 0.1):
            columns = [
                np.exp(-alpha * (data.log_parameters - mean_n)),
                np.exp(-beta * (data.log_tokens - mean_d)),
                np.ones_like(loss),
            ]
            # Divided by the loss for relative errors, as in the objective.
            weights, error = nnls(np.stack(columns, axis=1) / loss[:, None], np.ones_like(loss))
            if error < lowest_error:
                a, b, e = np.log(np.maximum(weights, 1e-6))
                best, lowest_error = np.array([a + alpha * mean_n, b + beta * mean_d, e, alpha, beta]), error
    return best
