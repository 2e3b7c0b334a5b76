"""The rules of every alert, on sequences of losses and evaluations."""

import math

import numpy as np
import pytest
from support.documents import scored_documents

from hf_core_bpb.training.alerts import RunMonitor


def alerts_on(losses):
    """Return the kind and step of each alert that a sequence of losses raises."""
    monitor = RunMonitor()
    return [(alert.kind, alert.step) for step, loss in enumerate(losses) for alert in monitor.on_loss(step, loss)]


def falling(count):
    return [3.0 - 0.02 * i + 0.01 * (-1) ** i for i in range(count)]


@pytest.mark.parametrize(("loss", "grad_norm"), [(0.0, 1.0), (math.nan, 1.0), (math.inf, None), (2.5, math.nan)])
def test_a_non_finite_value_raises_one_alert_until_it_is_over(loss, grad_norm):
    monitor = RunMonitor()
    logs = [(2.6, 1.0), (loss, grad_norm), (loss, grad_norm), (2.6, 1.0), (loss, grad_norm)]
    kinds = [[alert.kind for alert in monitor.on_loss(step, *log)] for step, log in enumerate(logs)]
    assert kinds == [[], ["non_finite"], [], [], ["non_finite"]]


def test_a_steady_fall_raises_no_alert():
    assert alerts_on(falling(40)) == []


def test_a_spike_raises_an_alert():
    assert alerts_on([*falling(30), 3.2, *falling(40)[31:]]) == [("spike", 30)]


def test_a_plateau_after_a_fall_raises_an_alert():
    level = [2.0 + 0.01 * (-1) ** i for i in range(45)]
    assert alerts_on([*falling(40), *level])[-1][0] == "plateau"


def test_a_plateau_from_the_start_raises_an_alert_once_enough_losses_are_logged():
    ((kind, step),) = alerts_on([2.0 + 0.01 * (-1) ** i for i in range(45)])
    assert kind == "plateau"
    assert 19 <= step < 25


def test_a_long_noisy_fall_is_not_a_plateau():
    rng = np.random.default_rng(0)
    assert alerts_on([3 + 2 * (i + 1) ** -0.3 + 0.03 * rng.normal() for i in range(600)]) == []


def test_a_change_below_the_standard_error_shows_that_the_validation_documents_are_too_few():
    monitor = RunMonitor()
    assert monitor.on_validation(1, scored_documents(1.0, 2.0, 1.5)) == []
    alerts = monitor.on_validation(2, scored_documents(1.1, 1.85, 1.5))
    assert [alert.kind for alert in alerts] == ["validation_too_small"]


def test_the_same_change_of_every_document_is_significant():
    monitor = RunMonitor()
    monitor.on_validation(1, scored_documents(1.0, 2.0, 1.5))
    assert monitor.on_validation(2, scored_documents(0.9, 1.89, 1.41)) == []


def test_validation_that_rises_while_the_training_loss_falls_raises_an_alert():
    monitor = RunMonitor()
    for step, bits in enumerate([1.5, 1.3, 1.2]):
        monitor.on_loss(step, 3.0 - step)
        monitor.on_validation(step, scored_documents(bits, bits + 0.1, bits + 0.2))
    monitor.on_loss(3, 0.5)
    (alert,) = monitor.on_validation(3, scored_documents(1.25, 1.36, 1.45))
    assert alert.kind == "drift"
    assert "0.0533 above that of step 2" in alert.reason


def test_validation_that_rises_with_the_training_loss_unchanged_raises_no_alert():
    monitor = RunMonitor()
    for step, bits in enumerate([1.2, 1.25]):
        monitor.on_loss(step, 3.0)
        assert monitor.on_validation(step, scored_documents(bits, bits + 0.1, bits + 0.2)) == []


def test_the_target_ratio_is_reached_once():
    monitor = RunMonitor(target_ratio=20)
    alerts = [len(monitor.on_ratio(step, ratio, "total")) for step, ratio in enumerate([10, 19.9, 20, 21])]
    assert alerts == [0, 0, 1, 0]


def test_no_ratio_is_reached_without_a_target():
    assert RunMonitor().on_ratio(1, 1e9, "total") == []
