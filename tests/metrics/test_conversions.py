"""Conversions of a loss between units, by hand and in round trips."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_core_bpb.errors import InputError
from hf_core_bpb.metrics.conversions import QUANTITIES, quantities_of, sums_of


def test_the_example_of_the_readme_in_every_unit():
    quantities = quantities_of(sums_of("total nats", 3.5, 3, 5, 3))
    bits = 3.5 / math.log(2)
    assert quantities == pytest.approx(
        {
            "nats per token": 3.5 / 3, "bits per token": bits / 3, "perplexity per token": math.exp(3.5 / 3),
            "bits per byte": bits / 5, "perplexity per byte": 2 ** (bits / 5), "bits per character": bits / 3,
            "compression ratio": 40 / bits, "total nats": 3.5, "total bits": bits,
        }
    )  # fmt: skip
    assert tuple(quantities) == QUANTITIES


@given(
    st.sampled_from(QUANTITIES), st.floats(1e-3, 20.0), st.integers(1, 10**6), st.integers(1, 10**6),
    st.integers(1, 10**6),
)  # fmt: skip
def test_every_unit_converts_back_to_the_same_sums(quantity, nats_per_byte, tokens, num_bytes, characters):
    characters = min(characters, num_bytes)
    total = min(nats_per_byte * num_bytes, 600.0 * min(tokens, num_bytes))
    value = quantities_of(sums_of("total nats", total, tokens, num_bytes, characters))[quantity]
    back = sums_of(quantity, value, tokens, num_bytes, characters)
    assert back.total_nats == pytest.approx(total, rel=1e-6, abs=1e-6)


def test_quantities_that_need_an_unknown_count_are_left_out():
    assert list(quantities_of(sums_of("nats per token", 2.0, 10, None))) == [
        "nats per token", "bits per token", "perplexity per token", "total nats", "total bits",
    ]  # fmt: skip
    assert "compression ratio" not in quantities_of(sums_of("bits per byte", 0.0, None, 10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nats", 1.0, 1, 1), "quantity: expected one of nats per token, .* got 'nats'"),
        (("bits per byte", -0.1, 1, 1), "bits per byte: expected a number of 0 or more, got -0.1"),
        (("perplexity per token", 0.5, 1, 1), "perplexity per token: expected a number of 1 or more, got 0.5"),
        (("compression ratio", 0.0, 1, 1), "compression ratio: expected a number above 0, got 0"),
        (("bits per byte", math.nan, 1, 1), "expected a number of 0 or more, got nan"),
        (("bits per byte", 1.0, 1, None), "bytes: expected their number, which bits per byte needs, got none"),
        (("nats per token", 1.0, 0, 5), "tokens: expected 1 or more, got 0"),
        (("total bits", 1.0, 1, 3, 4), r"characters: expected at most the number of bytes \(3\), got 4"),
    ],
)
def test_impossible_values_are_rejected(arguments, message):
    with pytest.raises(InputError, match=message):
        sums_of(*arguments)
