import math

import numpy as np
import pytest

from hf_core_bpb.training.alerts import Watch, standard_error, standard_error_of_change
from hf_core_bpb.types import Scored

LN2 = math.log(2)


def follow(watch, losses):
    return [(a.kind, a.step) for step, loss in enumerate(losses) for a in watch.on_loss(step, loss)]


def falling(count):
    return [3.0 - 0.02 * i + 0.01 * (-1) ** i for i in range(count)]


def documents(*bits, size=100):
    return [Scored(total_nats=b * size * LN2, num_tokens=10, num_bytes=size) for b in bits]


@pytest.mark.parametrize(("loss", "grad_norm"), [(0.0, 1.0), (math.nan, 1.0), (math.inf, None), (2.5, math.nan)])
def test_what_is_not_finite_is_said_once_until_it_is_over(loss, grad_norm):
    watch = Watch()
    seen = [watch.on_loss(step, x, g) for step, (x, g) in enumerate([(2.6, 1.0), (loss, grad_norm), (loss, grad_norm)])]
    assert [[a.kind for a in alerts] for alerts in seen] == [[], ["non_finite"], []]
    watch.on_loss(3, 2.6, 1.0)
    assert [a.kind for a in watch.on_loss(4, loss, grad_norm)] == ["non_finite"]


def test_a_spike_is_said_and_a_noisy_fall_is_not():
    assert follow(Watch(), falling(40)) == []
    assert follow(Watch(), [*falling(30), 3.2, *falling(40)[31:]]) == [("spike", 30)]


def test_a_plateau_is_said_where_the_slope_cannot_be_told_from_0():
    level = [2.0 + 0.01 * (-1) ** i for i in range(45)]
    assert follow(Watch(), [*falling(40), *level])[-1][0] == "plateau"
    ((kind, step),) = follow(Watch(), level)
    assert kind == "plateau"
    assert 19 <= step < 25


def test_a_long_noisy_fall_is_no_plateau():
    rng = np.random.default_rng(0)
    assert follow(Watch(), [3 + 2 * (i + 1) ** -0.3 + 0.03 * rng.normal() for i in range(600)]) == []


def test_the_standard_error_by_hand():
    """Two documents of 100 bytes at 1.0 and 2.0 bits: 1.5 on the whole, off by 50 bits each."""
    # sqrt(2 / 1 x (50^2 + 50^2)) / 200 bytes = 100 / 200.
    assert standard_error(documents(1.0, 2.0)) == pytest.approx(0.5)
    assert math.isnan(standard_error(documents(1.0)))
    # Paired: both fall by 0.1, so that nothing varies; then by 0.0 and 0.2.
    assert standard_error_of_change(documents(1.0, 2.0), documents(0.9, 1.9)) == pytest.approx(0.0, abs=1e-12)
    assert standard_error_of_change(documents(1.0, 2.0), documents(1.0, 1.8)) == pytest.approx(0.1)


def test_the_standard_error_is_the_spread_of_resampled_documents():
    rng = np.random.default_rng(0)
    some = [
        Scored(total_nats=float(n * (1 + 0.2 * rng.normal())) * LN2, num_tokens=1, num_bytes=int(n))
        for n in rng.integers(50, 500, 200)
    ]
    drawn = [sum((some[i] for i in rng.integers(0, 200, 200)), Scored()).bits_per_byte for _ in range(1500)]
    assert standard_error(some) == pytest.approx(float(np.std(drawn)), rel=0.1)


def test_a_validation_set_too_small_for_the_change_that_is_read_is_said():
    watch = Watch()
    assert watch.on_validation(1, documents(1.0, 2.0, 1.5)) == []
    assert [a.kind for a in watch.on_validation(2, documents(1.1, 1.85, 1.5))] == ["validation_too_small"]
    steady = Watch()
    steady.on_validation(1, documents(1.0, 2.0, 1.5))
    assert steady.on_validation(2, documents(0.9, 1.89, 1.41)) == []


def test_validation_that_rises_while_training_falls_is_said():
    watch = Watch()
    for step, bits in enumerate([1.5, 1.3, 1.2]):
        watch.on_loss(step, 3.0 - step)
        watch.on_validation(step, documents(bits, bits + 0.1, bits + 0.2))
    watch.on_loss(3, 0.5)
    (alert,) = watch.on_validation(3, documents(1.25, 1.36, 1.45))
    assert alert.kind == "drift"
    assert "0.0533 above that of step 2" in alert.reason
    level = Watch()
    for step, bits in enumerate([1.2, 1.25]):
        level.on_loss(step, 3.0)
        assert level.on_validation(step, documents(bits, bits + 0.1, bits + 0.2)) == []


def test_a_ratio_is_reached_once():
    watch = Watch(target_ratio=20)
    assert [len(watch.on_ratio(step, ratio, "total")) for step, ratio in enumerate([10, 19.9, 20, 21])] == [0, 0, 1, 0]
    assert Watch().on_ratio(1, 1e9, "total") == []
