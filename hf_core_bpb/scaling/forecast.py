"""The final loss of a run from its curve so far, with an interval, or a refusal (pure)."""

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
# How slowly a drop of the learning rate takes effect, by step (Tissue et al. 2024, arXiv:2408.11029).
_MOMENTUM = 0.999
# The gain of a decay is known from so many evaluations in it, and so large a share of its effect at the end.
_FEWEST_IN_DECAY = 3
_DECAY_SEEN = 0.2
_BOOTSTRAPS = 400
_MOST_STEPS = 100_000_000
_SEED = 1234


@dataclass(frozen=True, slots=True)
class Forecast:
    """The predicted final loss and its 95 % interval.

    num_points: points of the curve that it rests on. decay_seen: whether enough of the learning rate's decay
    has been seen to know what it gains; where it is still to come, that is left out, and the forecast too high.
    """

    loss: float
    ci95: tuple[float, float]
    num_points: int
    decay_seen: bool


def forecast_loss(
    steps: Sequence[int],
    losses: Sequence[float],
    final_step: int,
    learning_rates: Sequence[float] | None = None,
    *,
    seed: int = _SEED,
) -> Forecast:
    """Return the loss at `final_step` from evaluations at some steps, by L = L0 + A S1^-a - C S2.

    S1 is the sum of learning rates, S2 what their fall has taken effect (arXiv:2408.11029). learning_rates:
    those of steps 1 to final_step, as the schedule has them; constant where None, which leaves the plain
    power law. The interval is a bootstrap of residuals, with the last points' scatter.
    Raises InputError below six points, and where the last is at or behind the end.
    """
    if len(steps) != len(losses) or len(steps) < FEWEST_POINTS:
        raise InputError(f"forecast: expected {FEWEST_POINTS} or more points of the curve, got {len(steps)}")
    if sorted(set(steps)) != list(steps) or steps[0] < 1 or steps[-1] >= final_step:
        raise InputError(f"forecast: expected rising steps from 1 to below {final_step}, got {steps[0]} to {steps[-1]}")
    if not all(math.isfinite(loss) and loss > 0 for loss in losses):
        raise InputError("forecast: expected finite losses above 0")
    if final_step > _MOST_STEPS:
        raise InputError(f"forecast: expected at most {_MOST_STEPS:,} steps, got {final_step:,}")
    rates = np.ones(final_step) if learning_rates is None else np.asarray(learning_rates, dtype=float)
    if len(rates) != final_step:
        raise InputError(f"forecast: expected learning rates of {final_step} steps, got {len(rates)}")
    area, annealed = areas(rates)
    places, y = np.asarray(steps) - 1, np.asarray(losses, dtype=float)
    # Until the rate has risen above 0 nothing was learned.
    begun = area[places] > 0
    places, y = places[begun], y[begun]
    if len(places) < FEWEST_POINTS:
        raise InputError(f"forecast: expected {FEWEST_POINTS} or more points of the curve, got {len(places)}")
    in_decay = annealed[places] > 0
    decay_seen = int(in_decay.sum()) >= _FEWEST_IN_DECAY and annealed[places[-1]] >= _DECAY_SEEN * annealed[-1]
    if not decay_seen:
        annealed = np.zeros_like(annealed)
        # A decay that has only begun bends the curve, and says too little of how far it will.
        if int((~in_decay).sum()) >= FEWEST_POINTS:
            places, y = places[~in_decay], y[~in_decay]
    s1, s2 = area[places], annealed[places]
    predicted, final = _fit(s1, s2, y, area[-1], annealed[-1])
    residuals = y - predicted
    # As many coefficients as were fitted make residuals too small.
    widen = math.sqrt(len(y) / max(1, len(y) - (4 if decay_seen else 3)))
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(_BOOTSTRAPS):
        again = predicted + widen * rng.choice(residuals, len(y))
        drawn.append(_fit(s1, s2, again, area[-1], annealed[-1])[1] + widen * rng.choice(residuals))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Forecast(final, (min(float(low), final), max(float(high), final)), len(y), decay_seen)


def areas(learning_rates: Vector) -> tuple[Vector, Vector]:
    """Return S1 and S2 at every step: the sum of rates, and the sum of how far they have fallen, with momentum."""
    falls = np.maximum(-np.diff(learning_rates, prepend=learning_rates[:1]), 0.0)
    effect = np.zeros_like(learning_rates)
    running = 0.0
    for step, fall in enumerate(falls):
        running = _MOMENTUM * running + fall
        effect[step] = running
    return np.cumsum(learning_rates), np.cumsum(effect)


def _fit(s1: Vector, s2: Vector, losses: Vector, final_s1: float, final_s2: float) -> tuple[Vector, float]:
    """Return the fitted losses and the final one; L0, A and C, none below 0, follow for each exponent of a grid."""
    unit = s1.mean()
    drop = s2.max() if s2.max() > 0 else 1.0
    least = math.inf
    fitted, final = losses, float(losses[-1])
    for exponent in _EXPONENTS:
        columns = np.stack([np.ones_like(s1), (s1 / unit) ** -exponent, -s2 / drop], axis=1)
        weights, error = nnls(columns, losses)
        if error < least:
            least = error
            fitted = columns @ weights
            final = float(weights @ [1.0, (final_s1 / unit) ** -exponent, -final_s2 / drop])
    return fitted, final
