import pytest

from hf_core_bpb.metrics.centering import centered_accuracy, core_weight, mean_centered, unweighted_mean


@pytest.mark.parametrize(
    ("accuracy", "baseline", "centered"), [(0.25, 0.25, 0.0), (1.0, 0.62, 1.0), (0.5, 0.62, -0.3157894736842105)]
)
def test_centered_accuracy_is_0_at_the_baseline_and_1_for_perfect(accuracy, baseline, centered):
    assert centered_accuracy(accuracy, baseline) == pytest.approx(centered)


def test_unweighted_mean_counts_every_value_once():
    assert unweighted_mean([0.5, -0.5, 0.3]) == pytest.approx(0.1)


def test_core_weight_is_the_change_of_core_per_unit_of_accuracy():
    baselines = {"a": 0.25, "b": 0.5}
    before = mean_centered({"a": 0.5, "b": 0.5}, baselines)
    after = mean_centered({"a": 0.6, "b": 0.5}, baselines)
    assert core_weight(2, 0.25) == pytest.approx((after - before) / 0.1)


def test_core_weight_of_a_category_is_its_share_of_the_task():
    assert core_weight(4, 0.2, num_categories=5) == pytest.approx(1 / (4 * 5 * 0.8))
