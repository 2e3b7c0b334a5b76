"""Coverage of the intervals by simulation, and their values by hand."""

import math

import numpy as np
import pytest

from hf_core_bpb.data.task_files import list_tasks
from hf_core_bpb.metrics.intervals import (
    Share,
    accuracy_ci95,
    core_ci95,
    least_difference,
    shares_ci95,
    welch_satterthwaite,
)
from hf_core_bpb.metrics.results import CoreResult, ItemResult, TaskResult

SUITE = [(0.25, 100)] * 8 + [(0.5, 50)] * 4 + [(0.0, 100)] * 7 + [(0.0, 32)] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tasks", "accuracies"),
    [
        ([(0.0, 100)], [0.4]),
        ([(0.0, 30)], [0.7]),
        (SUITE, np.linspace(0.02, 0.8, len(SUITE))),
        (SUITE, np.linspace(0.001, 0.3, len(SUITE))),
    ],
    ids=["a task of 100", "a task of 30", "a suite", "a suite of a small model"],
)
def test_accuracy_intervals_cover_the_truth_about_95_percent_of_the_time(tasks, accuracies):
    rng = np.random.default_rng(11)
    weights = [1 / (len(tasks) * (1 - baseline)) for baseline, _ in tasks]
    truth = sum(w * p for w, p in zip(weights, accuracies, strict=True))
    covered = 0
    for _ in range(300):
        counts = [rng.binomial(n, p) for (_, n), p in zip(tasks, accuracies, strict=True)]
        low, high = shares_ci95([Share(int(k), n, w) for k, (_, n), w in zip(counts, tasks, weights, strict=True)])
        covered += low <= truth <= high
    assert 0.92 <= covered / 300 <= 0.98


@pytest.mark.parametrize("count", [10, 20, 50])
@pytest.mark.parametrize(
    "accuracies",
    [[0.002] * 10, [0.002] * 10 + [0.25] * 12, [0.95] * 4],
    ids=["almost never", "half of them almost never", "almost always"],
)
def test_accuracy_intervals_near_0_and_1_cover_the_truth_at_least_90_percent_of_the_time(accuracies, count):
    """They may be too wide there: a few items cannot tell how rare a rare event is."""
    rng = np.random.default_rng(12)
    weight = 1 / len(accuracies)
    covered = 0
    for _ in range(100):
        low, high = shares_ci95([Share(int(rng.binomial(count, p)), count, weight) for p in accuracies])
        covered += low <= np.mean(accuracies) <= high
    assert covered >= 90


def test_interval_of_no_correct_items_follows_the_rule_of_three():
    # With none of 100 observed, 3% are still possible.
    assert shares_ci95([Share(0, 100)]) == (0.0, pytest.approx(0.03, abs=0.01))


def test_interval_of_all_items_correct_mirrors_that_of_none():
    assert shares_ci95([Share(100, 100)]) == (pytest.approx(0.97, abs=0.01), 1.0)


def test_accuracy_intervals_stay_within_0_and_1():
    assert shares_ci95([Share(49, 50)])[1] <= 1.0
    assert shares_ci95([Share(1, 50)])[0] >= 0.0


def test_equal_variances_add_their_degrees_of_freedom():
    assert welch_satterthwaite([(1.0, 4), (1.0, 4)]) == pytest.approx(8.0)


def test_a_term_of_a_single_item_counts_as_one_degree_of_freedom():
    assert welch_satterthwaite([(0.5, 0)]) == pytest.approx(1.0)


def items(correct, categories=None):
    return tuple(
        ItemResult(i, 0, 0, bool(value), (), False, categories[i] if categories else "")
        for i, value in enumerate(correct)
    )


@pytest.fixture(scope="module")
def core():
    """Two tasks: 30 of 100 items correct, and 20 and 0 of 25 items correct in two categories."""
    known = {task.name: task for task in list_tasks()}
    tasks = {
        "arc_easy": TaskResult(known["arc_easy"], 0, "", items([1] * 30 + [0] * 70)),
        "squad": TaskResult(known["squad"], 0, "", items([1] * 20 + [0] * 30, ["a"] * 25 + ["b"] * 25)),
    }
    return CoreResult("custom", "nanochat", "demo", "v1", tasks, "")


def test_core_interval_weighs_tasks_and_categories_equally(core):
    expected = shares_ci95([Share(30, 100, 1 / (2 * 0.75)), Share(20, 25, 1 / 4), Share(0, 25, 1 / 4)])
    chance = 0.25 / (2 * 0.75)
    assert core_ci95(core, "v1") == pytest.approx((expected[0] - chance, expected[1] - chance))


def test_core_interval_contains_core(core):
    low, high = core_ci95(core, "v1")
    assert low < core.core < high


def test_accuracy_interval_of_a_task_is_that_of_its_items(core):
    assert accuracy_ci95(core.tasks["arc_easy"]) == shares_ci95([Share(30, 100)])


def test_least_significant_difference_of_two_independent_numbers():
    assert least_difference((0.1, 0.3)) == pytest.approx(0.1 * math.sqrt(2))
