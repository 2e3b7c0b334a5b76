"""Curves of one variable: loss over compute, valleys of equal compute, CORE over size (pure)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.stats import t as student

from hf_core_bpb.scaling.fit import Coefficients
from hf_core_bpb.scaling.runs import Run

Vector = npt.NDArray[np.float64]

# Runs whose budgets differ by less than this factor are one valley.
_SAME_BUDGET = 1.25
_FEWEST_IN_VALLEY = 4
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
    """Return the power law with a floor that fits best in relative squares, floor and scale not below 0.

    By variable projection: for each exponent on a grid the other two follow by least squares.
    """
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    unit = math.exp(np.log(xs).mean())
    best, least = PowerLaw(float(ys.min()), 0.0, 0.0), math.inf
    for exponent in _EXPONENTS:
        columns = np.stack([np.ones_like(xs), (xs / unit) ** -exponent], axis=1) / ys[:, None]
        (floor, scale), error = nnls(columns, np.ones_like(ys))
        if error < least:
            best, least = PowerLaw(float(floor), float(scale * unit**exponent), float(exponent)), error
    return best


@dataclass(frozen=True, slots=True)
class Valley:
    """Runs of one budget and the bottom of the parabola through their log losses over log sizes.

    at_edge: the bottom lies outside of the runs' sizes or next to the outermost, or there is none.
    bias: what the same parabola makes of the fitted law's own losses at these sizes, over the law's optimum,
    less 1: the error of the method by itself.
    """

    flops: float
    places: tuple[int, ...]
    parameters: float
    loss: float
    at_edge: bool
    bias: float | None


@dataclass(frozen=True, slots=True)
class IsoFlops:
    """Valleys by budget, and N* = scale * C^exponent through the bottoms that are not at an edge.

    exponent and scale are None below three such valleys.
    """

    valleys: tuple[Valley, ...]
    exponent: float | None
    scale: float | None


def fit_isoflops(runs: Sequence[Run], law: Coefficients | None = None) -> IsoFlops:
    """Return the valleys of equal compute (Hoffmann et al. 2022, method 2).

    Where alpha and beta of the law differ, a parabola's bottom is not the optimum, the more so the wider and
    the less centred its runs are (Open-Athena, scaling-law-analysis); each valley's `bias` says by how much.
    """
    valleys = []
    for places in _budgets(runs):
        if len({runs[i].parameters for i in places}) < _FEWEST_IN_VALLEY:
            continue
        sizes = np.log([runs[i].parameters for i in places])
        flops = math.exp(float(np.mean([math.log(runs[i].flops) for i in places])))
        bottom, loss = _bottom(sizes, np.log([runs[i].loss for i in places]))
        edges = np.sort(np.unique(sizes))[[1, -2]]
        bias = None
        if law is not None:
            own, _ = _bottom(sizes, np.log([law.loss(runs[i].parameters, runs[i].tokens) for i in places]))
            bias = math.exp(own) / law.optimal_parameters(flops) - 1 if math.isfinite(own) else None
        at_edge = not (math.isfinite(bottom) and edges[0] <= bottom <= edges[1])
        valleys.append(Valley(flops, tuple(places), _exp(bottom), _exp(loss), at_edge, bias))
    sound = [valley for valley in valleys if not valley.at_edge]
    if len(sound) < 3:
        return IsoFlops(tuple(valleys), None, None)
    exponent, log_scale = np.polyfit(np.log([v.flops for v in sound]), np.log([v.parameters for v in sound]), 1)
    return IsoFlops(tuple(valleys), float(exponent), math.exp(log_scale))


def _exp(value: float) -> float:
    return math.exp(value) if math.isfinite(value) else math.nan


def _budgets(runs: Sequence[Run]) -> list[list[int]]:
    """Return the places of runs in groups of nearly equal budgets."""
    groups: list[list[int]] = []
    for place in sorted(range(len(runs)), key=lambda i: runs[i].flops):
        if groups and runs[place].flops <= _SAME_BUDGET * runs[groups[-1][0]].flops:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _bottom(log_sizes: Vector, log_losses: Vector) -> tuple[float, float]:
    centre = log_sizes.mean()
    curvature, slope, height = np.polyfit(log_sizes - centre, log_losses, 2)
    if curvature <= 0:
        return math.nan, math.nan
    return float(centre - slope / (2 * curvature)), float(height - slope**2 / (4 * curvature))


@dataclass(frozen=True, slots=True)
class Frontier:
    """The lowest loss at each budget, and the power law L(C) through them with bootstrap intervals of 95 %."""

    places: tuple[int, ...]
    law: PowerLaw
    exponent_ci95: tuple[float, float]
    floor_ci95: tuple[float, float]


def fit_frontier(runs: Sequence[Run], bootstraps: int, seed: int) -> Frontier | None:
    """Return L(C) through the best runs of the budgets, each better than all cheaper ones; None below four."""
    places = _frontier(runs)
    if len(places) < 4:
        return None
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(bootstraps):
        some = [runs[i] for i in rng.integers(0, len(runs), len(runs))]
        best = _frontier(some)
        if len(best) >= 4:
            drawn.append(_law_of([some[i] for i in best]))
    law = _law_of([runs[i] for i in places])
    return Frontier(
        tuple(places), law, _interval(drawn, lambda one: one.exponent), _interval(drawn, lambda one: one.floor)
    )


def _law_of(runs: Sequence[Run]) -> PowerLaw:
    return fit_power_law([run.flops for run in runs], [run.loss for run in runs])


def _frontier(runs: Sequence[Run]) -> list[int]:
    best: list[int] = []
    for group in _budgets(runs):
        place = min(group, key=lambda i: runs[i].loss)
        if not best or runs[place].loss < runs[best[-1]].loss:
            best.append(place)
    return best


def _interval(drawn: Sequence[PowerLaw], read: Callable[[PowerLaw], float]) -> tuple[float, float]:
    if not drawn:
        return math.nan, math.nan
    low, high = np.quantile([read(one) for one in drawn], [0.025, 0.975])
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class CoreLine:
    """CORE = intercept + slope * log10 N by least squares; slope_ci95 by Student's t."""

    intercept: float
    slope: float
    slope_ci95: tuple[float, float]
    num_runs: int


def fit_core(runs: Sequence[Run]) -> CoreLine | None:
    """Return CORE over log10 parameters, None below three runs that have a CORE, or three sizes."""
    known = [run for run in runs if run.core is not None]
    if len({run.parameters for run in known}) < 3:
        return None
    x = np.log10([run.parameters for run in known])
    y = np.array([run.core for run in known], dtype=float)
    slope, intercept = np.polyfit(x, y, 1)
    residuals = y - intercept - slope * x
    freedom = len(known) - 2
    error = math.sqrt(float((residuals**2).sum()) / freedom / float(((x - x.mean()) ** 2).sum()))
    reach = float(student.ppf(0.975, freedom)) * error
    return CoreLine(float(intercept), float(slope), (float(slope) - reach, float(slope) + reach), len(known))
