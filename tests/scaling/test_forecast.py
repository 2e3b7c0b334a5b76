"""Forecasts of curves with a known end."""

import numpy as np
import pytest

from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling.forecast import areas, forecast_loss

STEPS = list(range(100, 801, 50))


def make_curve(rates, steps, noise=0.0, seed=0):
    """Return the losses at the steps, with normal noise, and the last loss without noise."""
    area, annealed = areas(np.asarray(rates, dtype=float))
    rng = np.random.default_rng(seed)
    clean = 0.9 + 3.0 * area**-0.4 - 2e-4 * annealed
    return [float(clean[s - 1] + noise * rng.normal()) for s in steps], float(clean[-1])


def test_the_areas_of_a_schedule_by_hand():
    """Rates 1, 1, 0.5, 0 sum to 1, 2, 2.5, 2.5; a drop takes effect at once, and 0.999 of it one step later."""
    area, annealed = areas(np.array([1.0, 1.0, 0.5, 0.0]))
    assert area.tolist() == [1.0, 2.0, 2.5, 2.5]
    assert annealed.tolist() == pytest.approx([0.0, 0.0, 0.5, 0.5 + 0.999 * 0.5 + 0.5])


def test_the_end_of_a_power_law_is_forecast():
    losses, end = make_curve(np.ones(1000), STEPS)
    forecast = forecast_loss(STEPS, losses, 1000)
    assert forecast.loss == pytest.approx(end, abs=1e-4)
    assert forecast.num_points == 15
    assert not forecast.decay_seen


def test_a_decay_in_progress_is_part_of_the_forecast():
    rates = np.minimum(1.0, np.linspace(2.0, 0.0, 1000))
    losses, end = make_curve(rates, STEPS)
    forecast = forecast_loss(STEPS, losses, 1000, rates)
    assert forecast.loss == pytest.approx(end, abs=1e-3)
    assert forecast.decay_seen


def test_the_gain_of_a_future_decay_is_left_out():
    rates = np.minimum(1.0, np.linspace(5.0, 0.0, 1000))
    steps = list(range(100, 700, 50))
    losses, end = make_curve(rates, steps)
    forecast = forecast_loss(steps, losses, 1000, rates)
    assert not forecast.decay_seen
    assert forecast.loss > end


def test_points_before_the_rate_rises_above_0_are_left_out():
    rates = np.concatenate([np.zeros(120), np.ones(880)])
    with np.errstate(divide="ignore"):
        losses, end = make_curve(rates, STEPS[1:])
    forecast = forecast_loss(STEPS, [11.0, *losses], 1000, rates)
    assert forecast.num_points == 14
    assert forecast.loss == pytest.approx(end, abs=1e-4)


@pytest.mark.slow
def test_intervals_cover_the_last_evaluation_at_about_their_rate():
    """Of thirty noisy curves cut at 80%, 95% intervals that cover the noisy end in fewer than 25 are too narrow."""
    num_covered = 0
    for seed in range(30):
        losses, end = make_curve(np.ones(1000), STEPS, 0.004, seed)
        low, high = forecast_loss(STEPS, losses, 1000, seed=seed).ci95
        num_covered += low <= end + 0.004 * np.random.default_rng(1000 + seed).normal() <= high
        assert high - low < 0.1
    assert num_covered >= 25


@pytest.mark.parametrize(
    ("steps", "losses", "final", "message"),
    [
        ([1, 2, 3, 4, 5], [3, 2, 1, 1, 1], 9, "losses: expected 6 or more points of the curve, got 5"),
        ([1, 2, 3, 4, 5, 6], [3, 2, 1], 9, "losses: expected one for each of 6 steps, got 3"),
        ([1, 2, 3, 4, 5, 6], [3, 2, 1, 1, 1, 1], 6, "steps: expected increasing steps from 1 to below 6, got 1 to 6"),
        ([1, 3, 2, 4, 5, 6], [3, 2, 1, 1, 1, 1], 9, "steps: expected increasing steps"),
        ([1, 2, 3, 4, 5, 6], [3, 2, 1, 1, 1, float("nan")], 9, "losses: expected finite losses above 0"),
    ],
)
def test_curves_that_cannot_be_forecast_are_rejected(steps, losses, final, message):
    with pytest.raises(InputError, match=message):
        forecast_loss(steps, losses, final)


def test_learning_rates_for_other_steps_are_rejected():
    with pytest.raises(InputError, match="learning_rates: expected one for each of 1000 steps, got 999"):
        forecast_loss(STEPS, make_curve(np.ones(1000), STEPS)[0], 1000, np.ones(999))


def test_the_first_evaluation_in_a_decay_is_left_out():
    """One evaluation in a short decay fits any gain."""
    rates = np.concatenate([np.ones(800), np.linspace(1.0, 0.0, 200)])
    steps = [*range(100, 801, 100), 830]
    losses, end = make_curve(rates, steps, 0.01)
    forecast = forecast_loss(steps, losses, 1000, rates)
    assert (forecast.decay_seen, forecast.num_points) == (False, 8)
    assert end - 0.05 < forecast.ci95[0] < forecast.loss < end + 0.1
