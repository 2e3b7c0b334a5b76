"""Batches score a target of id 0 like any other id; only negative targets are ignored."""

import math

import pytest
import torch
from support.naive import nats_of

from hf_core_bpb import evaluate_bpb

# Every id is one byte of text, id 0 too.
ONE_BYTE_EACH = [1] * 400
IDS = [5, 0, 6, 0, 0, 7]


@pytest.fixture(scope="module")
def expected(tiny_model):
    """Bits per byte of all ids but the first, which nothing predicts."""
    return sum(nats_of(tiny_model, IDS, 1, len(IDS))) / math.log(2) / (len(IDS) - 1)


def test_a_target_of_id_zero_is_scored_in_a_pair(tiny_model, expected):
    ids = torch.tensor([IDS])
    assert evaluate_bpb(tiny_model, [(ids[:, :-1], ids[:, 1:])], ONE_BYTE_EACH) == pytest.approx(expected, rel=1e-5)


def test_a_label_of_id_zero_is_scored(tiny_model, expected):
    ids = torch.tensor([IDS])
    assert evaluate_bpb(tiny_model, [{"input_ids": ids, "labels": ids}], ONE_BYTE_EACH) == pytest.approx(
        expected, rel=1e-5
    )


def test_a_negative_target_is_ignored_where_id_zero_is_scored(tiny_model):
    nats = nats_of(tiny_model, IDS, 1, len(IDS))
    targets = [-1, *IDS[2:]]
    expected = sum(nats[1:]) / math.log(2) / (len(IDS) - 2)
    batch = (torch.tensor([IDS[:-1]]), torch.tensor([targets]))
    assert evaluate_bpb(tiny_model, [batch], ONE_BYTE_EACH) == pytest.approx(expected, rel=1e-5)


def test_a_batch_of_id_zero_alone_is_scored(tiny_model):
    ids = [5, 0]
    expected = nats_of(tiny_model, ids, 1, 2)[0] / math.log(2)
    batch = (torch.tensor([[5]]), torch.tensor([[0]]))
    assert evaluate_bpb(tiny_model, [batch], ONE_BYTE_EACH) == pytest.approx(expected, rel=1e-5)
