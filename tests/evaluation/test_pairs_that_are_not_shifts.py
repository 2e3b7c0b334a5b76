"""Pairs (x, y) whose targets are not the next inputs: each target is scored from the inputs up to its own."""

import math

import pytest
import torch
from support.naive import nats_of

from hf_core_bpb import evaluate_bpb

ONE_BYTE_EACH = [1] * 400
X = [5, 6, 7, 8]
Y = [9, 3, 250, 4]


def expected_bits(model, indices):
    nats = [nats_of(model, [*X[: i + 1], Y[i]], i + 1, i + 2)[0] for i in indices]
    return sum(nats) / math.log(2) / len(nats)


def test_targets_are_scored_from_the_inputs_and_not_from_other_targets(tiny_model):
    bpb = evaluate_bpb(tiny_model, [(torch.tensor([X]), torch.tensor([Y]))], ONE_BYTE_EACH)
    assert bpb == pytest.approx(expected_bits(tiny_model, range(4)), rel=1e-5)


def test_ignored_targets_are_left_out(tiny_model):
    targets = torch.tensor([[-1, Y[1], -1, Y[3]]])
    bpb = evaluate_bpb(tiny_model, [(torch.tensor([X]), targets)], ONE_BYTE_EACH)
    assert bpb == pytest.approx(expected_bits(tiny_model, [1, 3]), rel=1e-5)


def test_rows_that_are_shifts_and_rows_that_are_not_can_be_mixed(tiny_model):
    shifted = [*X[1:], 9]
    batch = (torch.tensor([X, X]), torch.tensor([Y, shifted]))
    bits = 4 * expected_bits(tiny_model, range(4)) + sum(nats_of(tiny_model, [*X, 9], 1, 5)) / math.log(2)
    assert evaluate_bpb(tiny_model, [batch], ONE_BYTE_EACH) == pytest.approx(bits / 8, rel=1e-5)
