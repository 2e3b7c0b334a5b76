import pytest

from hf_core_bpb.metrics.centering import centered_accuracy, unweighted_mean
from hf_core_bpb.metrics.decision import decide
from hf_core_bpb.types import Scored


def option(nats, tokens, greedy=False):
    return Scored(nats, tokens, 1, 1, greedy)


def test_the_lowest_mean_wins_not_the_lowest_sum():
    assert decide("multiple_choice", [option(3.0, 1), option(4.0, 2)], 1) == (1, True)
    assert decide("schema", [option(3.0, 1), option(4.0, 2)], 0) == (1, False)


def test_the_first_of_equals_wins():
    assert decide("multiple_choice", [option(4.0, 2), option(2.0, 1)], 0) == (0, True)


@pytest.mark.parametrize("greedy", [True, False])
def test_language_modeling_is_right_where_every_token_is_the_argmax(greedy):
    assert decide("language_modeling", [option(1.0, 1, greedy)], 0) == (None, greedy)


def test_sums_merge_and_ratios_are_read_once():
    merged = Scored(1.0, 2, 3, 3, True) + Scored(4.0, 5, 7, 6, False)
    assert merged == Scored(5.0, 7, 10, 9, False)
    assert merged.mean_nats == 5.0 / 7
    assert merged.bits_per_byte == pytest.approx(0.7213475204444817)  # 5 nats / (ln 2 x 10 bytes)


def test_centering_by_hand():
    assert centered_accuracy(0.25, 0.25) == 0
    assert centered_accuracy(1.0, 0.62) == 1
    assert centered_accuracy(0.5, 0.62) == pytest.approx(-0.3157894736842105)
    assert unweighted_mean([0.5, -0.5, 0.3]) == pytest.approx(0.1)
