"""Standard errors of bits per byte over documents, by hand and against resampling."""

import math

import numpy as np
import pytest
from support.documents import scored_documents

from hf_core_bpb.training.standard_errors import standard_error, standard_error_of_change
from hf_core_bpb.types import Scored

LN2 = math.log(2)


def test_the_standard_error_of_two_documents_by_hand():
    """Two documents of 100 bytes at 1.0 and 2.0 bits: 1.5 in total, and each deviates by 50 bits."""
    # sqrt(2 / 1 x (50^2 + 50^2)) / 200 bytes = 100 / 200.
    assert standard_error(scored_documents(1.0, 2.0)) == pytest.approx(0.5)


def test_a_single_document_has_no_standard_error():
    assert math.isnan(standard_error(scored_documents(1.0)))


@pytest.mark.parametrize(("after", "error"), [((0.9, 1.9), 0.0), ((1.0, 1.8), 0.1)])
def test_the_standard_error_of_a_change_by_hand(after, error):
    """Changes of -0.1 and -0.1 do not vary; those of 0.0 and -0.2 deviate by 10 bits each."""
    change = standard_error_of_change(scored_documents(1.0, 2.0), scored_documents(*after))
    assert change == pytest.approx(error, abs=1e-12)


def test_the_standard_error_matches_the_spread_of_resampled_documents():
    rng = np.random.default_rng(0)
    documents = [
        Scored(total_nats=float(n * (1 + 0.2 * rng.normal())) * LN2, num_tokens=1, num_bytes=int(n))
        for n in rng.integers(50, 500, 200)
    ]
    resampled = [sum((documents[i] for i in rng.integers(0, 200, 200)), Scored()).bits_per_byte for _ in range(1500)]
    assert standard_error(documents) == pytest.approx(float(np.std(resampled)), rel=0.1)
