"""A forecast of a run's final loss from its curve so far, with an interval (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from hf_core_bpb.errors import InputError

Vector = npt.NDArray[np.float64]

FEWEST_POINTS = 6
_EXPONENTS = np.arange(0.05, 1.5001, 0.05)
# Each step keeps this share of the effect of earlier drops of the learning rate (Tissue et al. 2024, arXiv:2408.11029).
_MOMENTUM = 0.999
# The gain of a decay is estimated from at least this many evaluations in it, and this share of its total effect.
_FEWEST_IN_DECAY = 3
_DECAY_SEEN = 0.2
_BOOTSTRAPS = 400
_MOST_STEPS = 100_000_000
_SEED = 1234


@dataclass(frozen=True, slots=True)
class Forecast:
    """The predicted final loss and its 95% interval.

    num_points: the points of the curve that were fitted. decay_seen: whether enough of the learning rate's
    decay has passed to estimate its gain; before that the gain is left out, and the forecast is too high.
    """

    loss: float
    ci95: tuple[float, float]
    num_points: int
    decay_seen: bool


@dataclass(frozen=True, slots=True)
class _FitPoints:
    """The losses to fit and their S1 and S2, each (P,), and S1 and S2 at the final step."""

    losses_P: Vector
    s1_P: Vector
    s2_P: Vector
    final_s1: float
    final_s2: float
    decay_seen: bool


def forecast_loss(
    steps: Sequence[int],
    losses: Sequence[float],
    final_step: int,
    learning_rates: Sequence[float] | None = None,
    *,
    seed: int = _SEED,
) -> Forecast:
    """Forecast the loss at `final_step` from the curve so far, by L = L0 + A S1^-a - C S2 (arXiv:2408.11029).

    S1 is the sum of learning rates, S2 the accumulated effect of their decay. The interval is a bootstrap of
    residuals, and includes the scatter of a single evaluation.

    Args:
        steps: the evaluated steps, increasing.
        losses: the loss at each of these steps.
        final_step: the step to forecast, after the last evaluated one.
        learning_rates: the rates of steps 1 to final_step; constant where None, which leaves a plain power law.
        seed: seed of the bootstrap.

    Raises:
        InputError: for fewer than six points, and for steps or losses that do not form a curve.
    """
    _check_curve(steps, losses, final_step)
    points = _points_to_fit(steps, losses, _rates_by_step(learning_rates, final_step))
    fitted_P, final = _fit(points, points.losses_P)
    low, high = _bootstrap_interval(points, fitted_P, seed)
    return Forecast(final, (min(low, final), max(high, final)), len(points.losses_P), points.decay_seen)


def _check_curve(steps: Sequence[int], losses: Sequence[float], final_step: int) -> None:
    if len(steps) != len(losses):
        raise InputError(f"losses: expected one for each of {len(steps)} steps, got {len(losses)}")
    _check_enough(len(steps))
    if sorted(set(steps)) != list(steps) or steps[0] < 1 or steps[-1] >= final_step:
        raise InputError(
            f"steps: expected increasing steps from 1 to below {final_step}, got {steps[0]} to {steps[-1]}"
        )
    if not all(math.isfinite(loss) and loss > 0 for loss in losses):
        raise InputError("losses: expected finite losses above 0")
    if final_step > _MOST_STEPS:
        raise InputError(f"`final_step`: expected at most {_MOST_STEPS:,}, got {final_step:,}")


def _check_enough(num_points: int) -> None:
    if num_points < FEWEST_POINTS:
        raise InputError(f"losses: expected {FEWEST_POINTS} or more points of the curve, got {num_points}")


def _rates_by_step(learning_rates: Sequence[float] | None, final_step: int) -> Vector:
    rates = np.ones(final_step) if learning_rates is None else np.asarray(learning_rates, dtype=float)
    if len(rates) != final_step:
        raise InputError(f"learning_rates: expected one for each of {final_step} steps, got {len(rates)}")
    return rates


def _points_to_fit(steps: Sequence[int], losses: Sequence[float], rates: Vector) -> _FitPoints:
    s1, s2 = areas(rates)
    indices, losses_P = np.asarray(steps) - 1, np.asarray(losses, dtype=float)
    # Nothing is learned before the rate rises above 0.
    has_learned = s1[indices] > 0
    indices, losses_P = indices[has_learned], losses_P[has_learned]
    _check_enough(len(indices))
    in_decay = s2[indices] > 0
    decay_seen = int(in_decay.sum()) >= _FEWEST_IN_DECAY and bool(s2[indices[-1]] >= _DECAY_SEEN * s2[-1])
    if not decay_seen:
        s2 = np.zeros_like(s2)
        # The first points of a decay bend the curve without determining its gain.
        if int((~in_decay).sum()) >= FEWEST_POINTS:
            indices, losses_P = indices[~in_decay], losses_P[~in_decay]
    return _FitPoints(losses_P, s1[indices], s2[indices], float(s1[-1]), float(s2[-1]), decay_seen)


def areas(learning_rates: Vector) -> tuple[Vector, Vector]:
    """Return S1 and S2 by step: the sum of rates, and the sum of their accumulated drops with momentum."""
    drops = np.maximum(-np.diff(learning_rates, prepend=learning_rates[:1]), 0.0)
    effects = np.zeros_like(learning_rates)
    effect = 0.0
    for step, drop in enumerate(drops):
        effect = _MOMENTUM * effect + drop
        effects[step] = effect
    return np.cumsum(learning_rates), np.cumsum(effects)


def _fit(points: _FitPoints, losses_P: Vector) -> tuple[Vector, float]:
    """Return the fitted losses and the final one, with L0, A and C >= 0 by least squares for a grid of exponents."""
    s1_unit = points.s1_P.mean()
    s2_unit = points.s2_P.max() if points.s2_P.max() > 0 else 1.0
    lowest_error = math.inf
    fitted_P, final = losses_P, float(losses_P[-1])
    for exponent in _EXPONENTS:
        columns = np.stack(
            [np.ones_like(points.s1_P), (points.s1_P / s1_unit) ** -exponent, -points.s2_P / s2_unit], axis=1
        )
        weights, error = nnls(columns, losses_P)
        if error < lowest_error:
            lowest_error = error
            fitted_P = columns @ weights
            final = float(weights @ [1.0, (points.final_s1 / s1_unit) ** -exponent, -points.final_s2 / s2_unit])
    return fitted_P, final


def _bootstrap_interval(points: _FitPoints, fitted_P: Vector, seed: int) -> tuple[float, float]:
    residuals_P = points.losses_P - fitted_P
    # Residuals of a fit are too small by its degrees of freedom: L0, A, a and, where the decay counts, C.
    num_points, num_coefficients = len(residuals_P), 4 if points.decay_seen else 3
    inflation = math.sqrt(num_points / max(1, num_points - num_coefficients))
    rng = np.random.default_rng(seed)
    finals = []
    for _ in range(_BOOTSTRAPS):
        _, final = _fit(points, fitted_P + inflation * rng.choice(residuals_P, num_points))
        finals.append(final + inflation * rng.choice(residuals_P))
    low, high = np.quantile(finals, [0.025, 0.975])
    return float(low), float(high)
