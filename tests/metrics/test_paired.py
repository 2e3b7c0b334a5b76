"""Paired comparisons: p-values and intervals by simulation, and their values by hand."""

import math

import numpy as np
import pytest

from hf_core_bpb.metrics.paired import (
    Difference,
    PairedShare,
    compare_documents,
    compare_shares,
    correct_by_holm,
    pair_shares,
)

SUITE = [(0.25, 100)] * 8 + [(0.5, 50)] * 4 + [(0.0, 100)] * 7 + [(0.0, 32)] * 3


def assert_uniform(p_values):
    for level in (0.05, 0.25, 0.5, 0.75):
        share = np.mean(np.array(p_values) <= level)
        assert abs(share - level) <= 3 * math.sqrt(level * (1 - level) / len(p_values)) + 0.005


@pytest.mark.slow
def test_p_values_of_core_are_uniform_for_equal_models():
    rng = np.random.default_rng(5)
    p_values = []
    for number in range(200):
        shares = []
        for baseline, n in SUITE:
            p = rng.uniform(0.2, 0.8)
            first, second = rng.random(n) < p, rng.random(n) < p
            won, lost = int((second & ~first).sum()), int((first & ~second).sum())
            shares.append(PairedShare(won, lost, n, 1 / (len(SUITE) * (1 - baseline))))
        p_values.append(compare_shares(shares, seed=number)[2])
    assert_uniform(p_values)


@pytest.mark.slow
def test_paired_intervals_cover_the_difference_about_95_percent_of_the_time():
    rng = np.random.default_rng(6)
    weight = 1 / len(SUITE)
    covered = 0
    for number in range(200):
        shares = []
        for _, n in SUITE:
            kind = rng.multinomial(n, [0.15, 0.10, 0.75])
            shares.append(PairedShare(int(kind[0]), int(kind[1]), n, weight))
        _, (low, high), _ = compare_shares(shares, seed=number)
        covered += low <= 0.05 <= high
    assert 0.92 <= covered / 200 <= 0.98


@pytest.fixture(scope="module")
def equal_document_runs():
    """The differences, intervals and p-values of 200 pairs of runs that differ by noise alone."""
    rng = np.random.default_rng(9)
    results = []
    for number in range(200):
        sizes = rng.integers(200, 2000, 25).astype(float)
        nats = sizes * rng.normal(1.0, 0.2, 25)
        change = rng.normal(0.0, 0.05, (2, 25)) * sizes
        results.append(compare_documents(nats + change[0], nats + change[1], sizes, seed=number))
    return results


@pytest.mark.slow
def test_p_values_of_bits_per_byte_are_uniform_for_equal_models(equal_document_runs):
    assert_uniform([p for _, _, p in equal_document_runs])


@pytest.mark.slow
def test_intervals_of_bits_per_byte_cover_0_about_95_percent_of_the_time_for_equal_models(equal_document_runs):
    covered = sum(low <= 0 <= high for _, (low, high), _ in equal_document_runs)
    assert 0.92 <= covered / 200 <= 0.98


def test_items_that_only_one_run_answers_correctly_are_won_and_lost():
    before = [{"index": i, "correct": i < 4} for i in range(10)]
    after = [{"index": i, "correct": 2 <= i < 9} for i in range(10)]
    assert pair_shares(before, after, weight=1.0) == ([PairedShare(5, 2, 10)], (4, 5, 6, 7, 8), (0, 1))


def test_categories_share_the_weight_of_their_task():
    before = [{"index": i, "correct": False, "category": "a" if i < 3 else "b"} for i in range(5)]
    after = [{**row, "correct": row["index"] in (0, 4)} for row in before]
    shares, _, _ = pair_shares(before, after, weight=0.5)
    assert shares == [PairedShare(1, 0, 3, 0.25), PairedShare(1, 0, 2, 0.25)]


def test_difference_of_shares_has_the_interval_and_p_value_of_mcnemar():
    difference, (low, high), p = compare_shares([PairedShare(5, 2, 10)])
    assert difference == pytest.approx(0.3)
    assert low < 0.3 < high
    # The exact test: 2 (1 + 7 + 21) of 128 splits of seven items are as uneven.
    assert p == pytest.approx(58 / 128, abs=0.02)


def test_difference_of_documents_by_hand():
    nats = np.array([10.0, 20.0, 30.0])
    difference, _, p = compare_documents(nats, nats + np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0]))
    assert difference == pytest.approx(6 / math.log(2) / 60)
    # All three up or all three down: 2 of 8.
    assert p == pytest.approx(2 / 8, abs=0.02)


def test_a_single_document_has_neither_interval_nor_p_value():
    nats = np.array([10.0])
    assert compare_documents(nats, nats + 1, nats)[1:] == (None, None)


def test_holm_corrections_by_hand():
    differences = [Difference(str(i), 0, 0, 0, None, p) for i, p in enumerate((0.04, 0.01, 0.03, None))]
    # Sorted: 0.01 x 4, 0.03 x 3, then 0.04 x 2, which must not be below the one before.
    assert [d.p_holm for d in correct_by_holm(differences)] == pytest.approx([0.09, 0.04, 0.09, None])
