import pytest

from hf_core_bpb.metrics.decision import decide
from hf_core_bpb.types import Scored


def option(nats, tokens, greedy=False):
    return Scored(nats, tokens, 1, 1, greedy)


@pytest.mark.parametrize(("kind", "gold", "correct"), [("multiple_choice", 1, True), ("schema", 0, False)])
def test_option_with_the_lowest_mean_wins_not_the_lowest_sum(kind, gold, correct):
    assert decide(kind, [option(3.0, 1), option(4.0, 2)], gold) == (1, correct)


def test_first_of_equal_options_wins():
    assert decide("multiple_choice", [option(4.0, 2), option(2.0, 1)], 0) == (0, True)


@pytest.mark.parametrize("greedy", [True, False])
def test_language_modeling_is_correct_if_every_token_is_the_argmax(greedy):
    assert decide("language_modeling", [option(1.0, 1, greedy)], 0) == (None, greedy)


def test_ratios_are_computed_from_merged_sums():
    merged = Scored(1.0, 2, 3, 3, True) + Scored(4.0, 5, 7, 6, False)
    assert merged == Scored(5.0, 7, 10, 9, False)
    assert merged.mean_nats == 5.0 / 7
    assert merged.bits_per_byte == pytest.approx(0.7213475204444817)  # 5 nats / (ln 2 x 10 bytes)
