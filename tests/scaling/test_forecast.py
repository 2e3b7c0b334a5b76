import numpy as np
import pytest

from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling.forecast import areas, forecast_loss

STEPS = list(range(100, 801, 50))


def curve(rates, steps, noise=0.0, seed=0):
    area, annealed = areas(np.asarray(rates, dtype=float))
    rng = np.random.default_rng(seed)
    clean = 0.9 + 3.0 * area**-0.4 - 2e-4 * annealed
    return [float(clean[s - 1] + noise * rng.normal()) for s in steps], float(clean[-1])


def test_the_areas_of_a_schedule_by_hand():
    """Rates 1, 1, 0.5, 0: they add up to 1, 2, 2.5, 2.5; a fall takes effect at once, and 0.999 of it a step later."""
    area, annealed = areas(np.array([1.0, 1.0, 0.5, 0.0]))
    assert area.tolist() == [1.0, 2.0, 2.5, 2.5]
    assert annealed.tolist() == pytest.approx([0.0, 0.0, 0.5, 0.5 + 0.999 * 0.5 + 0.5])


def test_the_end_of_a_power_law_is_forecast():
    rates = np.ones(1000)
    seen, end = curve(rates, STEPS)
    found = forecast_loss(STEPS, seen, 1000)
    assert found.loss == pytest.approx(end, abs=1e-4)
    assert found.num_points == 15
    assert not found.decay_seen


def test_a_decay_that_is_under_way_is_taken_into_account():
    rates = np.minimum(1.0, np.linspace(2.0, 0.0, 1000))
    seen, end = curve(rates, STEPS)
    assert forecast_loss(STEPS, seen, 1000, rates).loss == pytest.approx(end, abs=1e-3)
    assert forecast_loss(STEPS, seen, 1000, rates).decay_seen


def test_a_decay_that_is_still_to_come_is_left_out_and_said():
    rates = np.minimum(1.0, np.linspace(5.0, 0.0, 1000))
    steps = list(range(100, 700, 50))
    seen, end = curve(rates, steps)
    found = forecast_loss(steps, seen, 1000, rates)
    assert not found.decay_seen
    assert found.loss > end


def test_intervals_hold_the_end_of_held_out_tails():
    """Thirty noisy curves cut at 80 %; their last point, noise and all, in fewer than 25 intervals would be too few."""
    held = 0
    for seed in range(30):
        seen, end = curve(np.ones(1000), STEPS, 0.004, seed)
        low, high = forecast_loss(STEPS, seen, 1000, seed=seed).ci95
        held += low <= end + 0.004 * np.random.default_rng(1000 + seed).normal() <= high
        assert high - low < 0.1
    assert held >= 25


@pytest.mark.parametrize(
    ("steps", "losses", "final", "message"),
    [
        ([1, 2, 3, 4, 5], [3, 2, 1, 1, 1], 9, "expected 6 or more points of the curve, got 5"),
        ([1, 2, 3, 4, 5, 6], [3, 2, 1, 1, 1, 1], 6, "expected rising steps from 1 to below 6, got 1 to 6"),
        ([1, 3, 2, 4, 5, 6], [3, 2, 1, 1, 1, 1], 9, "expected rising steps"),
        ([1, 2, 3, 4, 5, 6], [3, 2, 1, 1, 1, float("nan")], 9, "expected finite losses above 0"),
    ],
)
def test_curves_that_cannot_be_forecast_are_refused(steps, losses, final, message):
    with pytest.raises(InputError, match=message):
        forecast_loss(steps, losses, final)


def test_a_decay_that_has_only_begun_does_not_run_away():
    """One evaluation in a short decay would fit any gain: it is left out of the fit, as is the gain."""
    rates = np.concatenate([np.ones(800), np.linspace(1.0, 0.0, 200)])
    steps = [*range(100, 801, 100), 830]
    seen, end = curve(rates, steps, 0.01)
    found = forecast_loss(steps, seen, 1000, rates)
    assert (found.decay_seen, found.num_points) == (False, 8)
    assert end - 0.05 < found.ci95[0] < found.loss < end + 0.1
