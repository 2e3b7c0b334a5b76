"""The least sum of Huber losses of L(N, D) on log loss, from many starts (pure)."""

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
# Of ln A, ln B, ln E, alpha and beta.
BOUNDS = [(-30.0, 60.0), (-30.0, 60.0), (-20.0, 10.0), (0.0, 3.0), (0.0, 3.0)]
_STARTS = 100
# Two objectives closer than this are the same minimum.
_SAME_MINIMUM = 1e-6


@dataclass(frozen=True, slots=True)
class Data:
    """Runs as logarithms of parameters, tokens and loss, each (N,)."""

    log_n: Vector
    log_d: Vector
    log_loss: Vector

    @staticmethod
    def of(runs: Sequence[Run]) -> "Data":
        """Return the logarithms of runs."""
        values = np.log([[run.parameters, run.tokens, run.loss] for run in runs])
        return Data(values[:, 0], values[:, 1], values[:, 2])

    def some(self, places: npt.NDArray[np.int64]) -> "Data":
        """Return the runs at some places, as often as they are named."""
        return Data(self.log_n[places], self.log_d[places], self.log_loss[places])

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


def find_minimum(data: Data, seed: int) -> tuple[Vector, float, float]:
    """Return the best coefficients of many starts, their objective, and the share of starts that reached it."""
    ends = [descend(data, start) for start in [_projected_start(data), *_grid_starts(seed)]]
    theta, objective = min(ends, key=lambda end: end[1])
    reached = sum(value - objective <= _SAME_MINIMUM * max(objective, 1e-12) for _, value in ends)
    return theta, objective, reached / len(ends)


def descend(data: Data, start: Vector) -> tuple[Vector, float]:
    """Return the coefficients that a start leads to, and their objective."""
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
        bounds=BOUNDS,
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


def _projected_start(data: Data) -> Vector:
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
