"""The planned forwards of a trie, their batches, and their assignment to processes."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_core_bpb.scoring.batches import cut_batches
from hf_core_bpb.scoring.jobs import Costs, Job, Row, Step, assign_jobs
from hf_core_bpb.scoring.plan import plan_jobs
from hf_core_bpb.scoring.trie import build_trie
from hf_core_bpb.types import Request

COSTS = Costs(pair=1 / 4000, forward=24.0, copy=0.01)
EVERY = frozenset({"tree", "prefix", "prefix+tree"})
MODES = [frozenset(), frozenset({"tree"}), frozenset({"prefix"}), frozenset({"prefix+tree"}), EVERY]

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30).map(lambda lengths: sorted(lengths, reverse=True))


def item(rng, prompt, options):
    shared = rng.integers(0, 1000, prompt).tolist()
    options_ids = [shared + rng.integers(0, 1000, n).tolist() for n in options]
    return [Request(np.array(ids, dtype=np.int32), prompt, len(ids), 1) for ids in options_ids]


def cost(lengths, cuts, per_batch):
    return sum((end - begin) * lengths[begin] + per_batch for begin, end in cuts)


def every_cut(count):
    """Yield all ways to cut `count` rows into consecutive batches."""
    for bits in range(2 ** (count - 1)):
        edges = [0, *(i + 1 for i in range(count - 1) if bits >> i & 1), count]
        yield list(pairwise(edges))


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8).map(lambda lengths: sorted(lengths, reverse=True)),
    st.integers(1, 100),
    st.sampled_from([0.0, 5.0, 24.0]),
)
def test_batches_are_cut_at_the_lowest_cost_of_padding_and_forwards(lengths, budget, per_batch):
    def fits(cuts):
        return all(end - begin == 1 or (end - begin) * lengths[begin] <= budget for begin, end in cuts)

    cuts = cut_batches(lengths, budget, per_batch)
    assert fits(cuts)
    assert [i for begin, end in cuts for i in range(begin, end)] == list(range(len(lengths)))
    lowest = min(cost(lengths, other, per_batch) for other in every_cut(len(lengths)) if fits(other))
    assert cost(lengths, cuts, per_batch) == pytest.approx(lowest)


def test_batches_with_cached_tokens_are_limited_to_five_budgets():
    """Rows of 10 tokens on a prefix of 490 have 500 each, so ten fit five budgets of 1,000."""
    assert cut_batches([10] * 25, 1000, 1000.0, cached=490) == [(0, 5), (5, 15), (15, 25)]
    assert cut_batches([10] * 25, 1000, 1000.0) == [(0, 25)]


def covered(trie, jobs):
    return sorted(
        path for job in jobs for step in job.steps for row in step.rows for path in range(row.first, row.last)
    )


@pytest.mark.parametrize("modes", MODES)
@given(seed=st.integers(0, 10_000), budget=st.sampled_from([1, 30, 200, 5000]))
def test_plans_cover_every_path_once_within_the_budget_in_allowed_modes(modes, seed, budget):
    rng = np.random.default_rng(seed)
    requests = [r for _ in range(4) for r in item(rng, int(rng.integers(1, 60)), rng.integers(1, 9, 3).tolist())]
    trie = build_trie(requests)
    jobs = plan_jobs(trie, budget, COSTS, modes)
    assert covered(trie, jobs) == list(range(len(trie.paths)))
    assert {job.mode for job in jobs} <= modes | {"full"}
    for job in jobs:
        assert len(job.prefixes) <= 1 or len(job.prefixes) * job.depth <= budget
        for step in job.steps:
            assert step.length == max(row.length for row in step.rows)
            assert len(step.rows) == 1 or step.num_tokens <= budget


def tokens_of(requests, modes, budget=2048):
    """Return the modes and the tokens of the plan of requests, and the theoretical minimum of tokens."""
    trie = build_trie(requests)
    jobs = plan_jobs(trie, budget, COSTS, modes)
    return {job.mode for job in jobs}, sum(job.num_tokens for job in jobs), trie.num_tokens


@pytest.mark.parametrize(
    ("prompt", "options", "modes", "expected"),
    [
        # By hand: the last token of an option is not forwarded, so options of 21 forward 20 each.
        (900, [21, 21, 21, 21], EVERY, ({"prefix+tree"}, 900 + 4 * 20, 980)),
        (12, [5, 5, 5, 5], EVERY, ({"tree"}, 12 + 4 * 4, 28)),
        (400, [1, 1, 1, 1], EVERY, ({"full"}, 400, 400)),
        (12, [5, 5], frozenset({"prefix"}), ({"full"}, 2 * 16, 20)),
    ],
    ids=["long prompts are cached", "short prompts are trees", "options of one token", "prefixes too short to cache"],
)
def test_the_cheapest_mode_is_planned(prompt, options, modes, expected):
    assert tokens_of(item(np.random.default_rng(0), prompt, options), modes) == expected


def test_the_shots_of_a_subject_are_forwarded_once_for_all_questions():
    rng = np.random.default_rng(0)
    subject = rng.integers(0, 1000, 500).tolist()
    requests = []
    for first_id in range(60):
        question = [*subject, first_id, *rng.integers(0, 1000, 99).tolist()]
        requests += [Request(np.array([*question, o], dtype=np.int32), 600, 601, 1) for o in range(4)]
    # By hand: 500 once, and 60 questions of 100.
    assert tokens_of(requests, EVERY) == ({"prefix"}, 6500, 6500)


def test_the_longest_forwards_run_first():
    rng = np.random.default_rng(0)
    requests = [r for n in (30, 300, 100, 700) for r in item(rng, n, [4, 4])]
    sizes = [job.num_tokens for job in plan_jobs(build_trie(requests), 100, COSTS, EVERY)]
    assert sizes == sorted(sizes, reverse=True)


def test_a_prefix_with_many_batches_is_split_into_several_jobs():
    """By hand: 400 questions of 100 tokens are 40 budgets of 1,000, at most 16 of them in one job."""
    rng = np.random.default_rng(0)
    subject = rng.integers(0, 1000, 50).tolist()
    requests = [
        Request(np.array(subject + rng.integers(0, 1000, 101).tolist(), dtype=np.int32), 150, 151, 1)
        for _ in range(400)
    ]
    jobs = plan_jobs(build_trie(requests), 1000, COSTS, EVERY)
    assert sorted(job.num_tokens for job in jobs) == [50 + 80 * 100, 50 + 160 * 100, 50 + 160 * 100]


def test_prefixes_that_are_too_wide_together_are_forwarded_separately():
    """By hand: 90 + 4 and 40 + 58 tokens fit 100 columns; padded together they need 90 + 58."""
    rng = np.random.default_rng(0)
    requests = [*item(rng, 90, [5, 5, 5]), *item(rng, 40, [59, 59, 59])]
    costs = Costs(pair=0.0, forward=1000.0, copy=0.0)
    trie = build_trie(requests)
    (together,) = plan_jobs(trie, 10_000, costs, frozenset({"prefix"}))
    assert (together.num_columns, together.num_tokens) == (148, 2 * 90 + 6 * 58)
    separate = plan_jobs(trie, 10_000, costs, frozenset({"prefix"}), max_columns=100)
    assert sorted((job.num_columns, job.num_tokens) for job in separate) == [(94, 90 + 3 * 4), (98, 40 + 3 * 58)]
    assert covered(trie, separate) == list(range(6))


@pytest.mark.slow
def test_deep_nesting_is_planned():
    """Each path branches off the one before it, one token later."""
    ids = list(range(3000))
    requests = [Request(np.array([*ids[:n], 5000, 0], dtype=np.int32), 1, n + 2, 1) for n in range(1, 3000)]
    trie = build_trie(requests)
    jobs = plan_jobs(trie, 100_000, COSTS, EVERY)
    assert covered(trie, jobs) == list(range(2999))


def job_of(tokens):
    return Job("full", (), (Step((Row(0, 1, 0, tokens),), (), tokens),))


@given(LENGTHS, st.integers(1, 5))
def test_every_job_is_assigned_once_and_loads_differ_by_at_most_the_largest_job(lengths, num_processes):
    costs = Costs(0.0, 0.0, 0.0)
    loads = [0.0] * num_processes
    shares = assign_jobs([job_of(n) for n in lengths], costs, loads)
    assert sorted(job.num_tokens for share in shares for job in share) == sorted(lengths)
    assert loads == [sum(job.num_tokens for job in share) for share in shares]
    assert max(loads) - min(loads) <= max(lengths)


@pytest.mark.parametrize(
    ("loads", "expected"),
    [([0.0, 0.0], [[2, 3, 6], [4, 5]]), ([10.0, 0.0], [[2, 4], [3, 5, 6]])],
    ids=["equal loads", "the first process has a load of 10"],
)
def test_the_largest_jobs_are_assigned_first_to_the_lowest_load(loads, expected):
    """By hand: jobs of 6, 5, 4, 3 and 2 tokens."""
    shares = assign_jobs([job_of(n) for n in (2, 3, 4, 5, 6)], Costs(0.0, 0.0, 0.0), loads)
    assert [sorted(job.num_tokens for job in share) for share in shares] == expected
