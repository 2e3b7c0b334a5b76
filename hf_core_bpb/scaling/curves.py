"""Fitted curves of one variable: IsoFLOP curves, the loss over compute, and CORE over size (pure)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.stats import t as student

from hf_core_bpb.scaling.laws import LossFormula
from hf_core_bpb.scaling.runs import Run

Vector = npt.NDArray[np.float64]

# Runs whose budgets differ by less than this factor share an IsoFLOP curve.
_SAME_BUDGET = 1.25
_FEWEST_SIZES = 4
_FEWEST_CURVES = 3
_FEWEST_ON_FRONTIER = 4
# exp of a larger number overflows.
_LARGEST_LOG = 700.0
_EXPONENTS = np.arange(0.01, 1.5001, 0.005)


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """y = floor + scale * x^-exponent."""

    floor: float
    scale: float
    exponent: float

    def at(self, x: Any) -> Any:
        """Return y at x, a number or an array."""
        return self.floor + self.scale * np.asarray(x, dtype=float) ** -self.exponent


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Fit a power law with floor and scale >= 0 by least squares of relative errors.

    By variable projection: for each exponent of a grid, floor and scale follow by least squares.
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    unit = math.exp(np.log(xs).mean())
    best, lowest_error = PowerLaw(float(ys.min()), 0.0, 0.0), math.inf
    for exponent in _EXPONENTS:
        columns = np.stack([np.ones_like(xs), (xs / unit) ** -exponent], axis=1) / ys[:, None]
        (floor, scale), error = nnls(columns, np.ones_like(ys))
        if error < lowest_error:
            best, lowest_error = PowerLaw(float(floor), float(scale * unit**exponent), float(exponent)), error
    return best


@dataclass(frozen=True, slots=True)
class IsoFlopCurve:
    """Runs of one budget, and the minimum of a parabola fitted to log loss over log size.

    indices: the runs. parameters, loss: the minimum of the parabola. at_edge: the minimum does not exist or
    lies beyond the second-smallest or second-largest size. bias: the relative error of the same method on
    losses computed by the fitted formula at these sizes, against the formula's own optimum.
    """

    flops: float
    indices: tuple[int, ...]
    parameters: float
    loss: float
    at_edge: bool
    bias: float | None


@dataclass(frozen=True, slots=True)
class IsoFlops:
    """IsoFLOP curves by budget, and N* = scale * C^exponent through the minima that are not at an edge.

    exponent and scale are None with fewer than three such curves.
    """

    curves: tuple[IsoFlopCurve, ...]
    exponent: float | None
    scale: float | None


def fit_isoflops(runs: Sequence[Run], formula: LossFormula | None = None) -> IsoFlops:
    """Fit IsoFLOP curves to runs (Hoffmann et al. 2022, method 2).

    Where alpha and beta of the formula differ, the minimum of a parabola misses the optimum, the more so for
    sizes that are wide or off-centre (Open-Athena, scaling-law-analysis); `bias` of each curve measures it.
    """
    groups = [group for group in _group_by_budget(runs) if len({runs[i].parameters for i in group}) >= _FEWEST_SIZES]
    curves = tuple(_isoflop_curve(runs, group, formula) for group in groups)
    inner = [curve for curve in curves if not curve.at_edge]
    if len(inner) < _FEWEST_CURVES:
        return IsoFlops(curves, None, None)
    exponent, log_scale = np.polyfit(np.log([c.flops for c in inner]), np.log([c.parameters for c in inner]), 1)
    return IsoFlops(curves, float(exponent), math.exp(log_scale))


def _isoflop_curve(runs: Sequence[Run], indices: list[int], formula: LossFormula | None) -> IsoFlopCurve:
    log_sizes = np.log([runs[i].parameters for i in indices])
    flops = math.exp(float(np.mean([math.log(runs[i].flops) for i in indices])))
    log_size, log_loss = _parabola_minimum(log_sizes, np.log([runs[i].loss for i in indices]))
    edges = np.sort(np.unique(log_sizes))[[1, -2]]
    at_edge = not (math.isfinite(log_size) and edges[0] <= log_size <= edges[1])
    bias = None
    if formula is not None:
        predicted = np.log([formula.loss(runs[i].parameters, runs[i].tokens) for i in indices])
        predicted_log_size, _ = _parabola_minimum(log_sizes, predicted)
        if math.isfinite(predicted_log_size):
            bias = math.exp(predicted_log_size) / formula.optimal_parameters(flops) - 1
    return IsoFlopCurve(flops, tuple(indices), math.exp(log_size), math.exp(log_loss), at_edge, bias)


def _group_by_budget(runs: Sequence[Run]) -> list[list[int]]:
    """Return the indices of runs in groups of nearly equal budgets, in ascending order."""
    groups: list[list[int]] = []
    for index in sorted(range(len(runs)), key=lambda i: runs[i].flops):
        if groups and runs[index].flops <= _SAME_BUDGET * runs[groups[-1][0]].flops:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _parabola_minimum(log_sizes: Vector, log_losses: Vector) -> tuple[float, float]:
    """Return the log size and log loss at the minimum, NaN for a parabola without one or too flat to have one."""
    centre = log_sizes.mean()
    curvature, slope, height = np.polyfit(log_sizes - centre, log_losses, 2)
    if curvature <= 0:
        return math.nan, math.nan
    log_size = float(centre - slope / (2 * curvature))
    if abs(log_size) > _LARGEST_LOG:
        return math.nan, math.nan
    return log_size, float(height - slope**2 / (4 * curvature))


@dataclass(frozen=True, slots=True)
class Frontier:
    """The runs of lowest loss by budget, and the power law L(C) through them with 95% bootstrap intervals."""

    indices: tuple[int, ...]
    law: PowerLaw
    exponent_ci95: tuple[float, float]
    floor_ci95: tuple[float, float]


def fit_frontier(runs: Sequence[Run], bootstraps: int, seed: int) -> Frontier | None:
    """Fit L(C) to the best run of each budget that beats all smaller budgets; None below four such runs."""
    indices = _frontier_indices(runs)
    if len(indices) < _FEWEST_ON_FRONTIER:
        return None
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(bootstraps):
        resampled = [runs[i] for i in rng.integers(0, len(runs), len(runs))]
        sample_indices = _frontier_indices(resampled)
        if len(sample_indices) >= _FEWEST_ON_FRONTIER:
            samples.append(_fit_loss_over_compute([resampled[i] for i in sample_indices]))
    return Frontier(
        indices=tuple(indices),
        law=_fit_loss_over_compute([runs[i] for i in indices]),
        exponent_ci95=_interval(samples, lambda law: law.exponent),
        floor_ci95=_interval(samples, lambda law: law.floor),
    )


def _fit_loss_over_compute(runs: Sequence[Run]) -> PowerLaw:
    return fit_power_law([run.flops for run in runs], [run.loss for run in runs])


def _frontier_indices(runs: Sequence[Run]) -> list[int]:
    frontier: list[int] = []
    for group in _group_by_budget(runs):
        best = min(group, key=lambda i: runs[i].loss)
        if not frontier or runs[best].loss < runs[frontier[-1]].loss:
            frontier.append(best)
    return frontier


def _interval(samples: Sequence[PowerLaw], value: Callable[[PowerLaw], float]) -> tuple[float, float]:
    if not samples:
        return math.nan, math.nan
    low, high = np.quantile([value(sample) for sample in samples], [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class CoreLine:
    """CORE = intercept + slope * log10 N by least squares; slope_ci95 by Student's t."""

    intercept: float
    slope: float
    slope_ci95: tuple[float, float]
    num_runs: int


def fit_core(runs: Sequence[Run]) -> CoreLine | None:
    """Fit CORE over log10 parameters to the runs that have a CORE; None below three sizes."""
    scored = [run for run in runs if run.core is not None]
    if len({run.parameters for run in scored}) < 3:
        return None
    x = np.log10([run.parameters for run in scored])
    y = np.array([run.core for run in scored], dtype=float)
    slope, intercept = np.polyfit(x, y, 1)
    residuals = y - intercept - slope * x
    degrees_of_freedom = len(scored) - 2
    error = math.sqrt(float((residuals**2).sum()) / degrees_of_freedom / float(((x - x.mean()) ** 2).sum()))
    half_width = float(student.ppf(0.975, degrees_of_freedom)) * error
    return CoreLine(float(intercept), float(slope), (float(slope) - half_width, float(slope) + half_width), len(scored))
