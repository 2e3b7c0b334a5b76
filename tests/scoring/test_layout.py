"""The arrays of a forward: each token sees exactly its own path, and each loss is read after exactly its context."""

import numpy as np
import pytest
import torch
from support.requests import draw, request, sharing_requests

from hf_core_bpb.scoring.jobs import Costs
from hf_core_bpb.scoring.layout import lay_out
from hf_core_bpb.scoring.masks import tree_mask
from hf_core_bpb.scoring.plan import plan_jobs
from hf_core_bpb.scoring.trie import build_trie

MODES = ("full", "tree", "prefix", "prefix+tree")


def nested_requests():
    """Return requests that branch at every depth of one path, some of them with long spans."""
    rng = np.random.default_rng(5)
    trunk = draw(rng, 60)
    requests = [request(trunk[:n] + draw(rng, m), max(n - 25, 1)) for n in range(3, 60, 4) for m in (1, 2, 6)]
    return [*requests, request(trunk, 30), request(trunk[:20] + draw(rng, 9), 19)]


def layouts(requests, mode):
    """Yield jobs with padding, as a forward costs much, with their tries and layouts."""
    trie = build_trie(requests)
    costs = Costs(pair=0.0, forward=50.0, copy=0.0)
    for job in plan_jobs(trie, 300, costs, frozenset({mode})):
        yield job, trie, lay_out(job, trie, requests)


def context_of(block, row, column, prefix):
    """Return the ids that a column sees, in order: those of its prefix, then its own path to itself."""
    ends = np.full(column + 1, column + 1) if block.ends_BxT is None else block.ends_BxT[row, : column + 1]
    visible = np.flatnonzero(column < ends)
    return [*prefix, *block.ids_BxT[row, visible].tolist()]


@pytest.mark.parametrize("make", [sharing_requests, nested_requests])
@pytest.mark.parametrize("mode", MODES)
def test_every_loss_is_read_once_after_exactly_its_context(mode, make):
    requests = make()
    num_read = dict.fromkeys(range(len(requests)), 0)
    used = set()
    for job, trie, layout in layouts(requests, mode):
        used.add(job.mode)
        owner = {loss: index for index, (begin, end) in layout.loss_ranges.items() for loss in range(begin, end)}
        blocks = [(layout.prefixes, True)] if layout.prefixes is not None else []
        for block, is_prefix in [*blocks, *((step, False) for step in layout.steps)]:
            for row, column, target, loss in zip(*block.reads, strict=True):
                prefix = []
                if job.prefixes and not is_prefix:
                    path, depth = job.prefixes[block.prefix_B[row]]
                    prefix = trie.paths[path][:depth].tolist()
                current = requests[owner[loss]]
                context = context_of(block, row, column, prefix)
                if is_prefix:
                    context = context[block.padding_B[row] :]
                position = current.start + loss - layout.loss_ranges[owner[loss]][0]
                assert context == current.ids[:position].tolist()
                assert target == current.ids[position]
                assert block.positions_BxT[row, column] == position - 1
                num_read[owner[loss]] += 1
    assert mode in used
    assert num_read == {index: one.end - one.start for index, one in enumerate(requests)}


@pytest.mark.parametrize("mode", ["tree", "prefix+tree"])
def test_a_padding_token_sees_itself_and_no_token_sees_padding(mode):
    num_padding = 0
    for job, _, layout in layouts(sharing_requests(), mode):
        if job.mode != mode:
            continue
        for block, step in zip(layout.steps, job.steps, strict=True):
            for ends_T, row in zip(block.ends_BxT, step.rows, strict=True):
                assert (ends_T[: row.length] <= row.length).all()
                assert ends_T[row.length :].tolist() == list(range(row.length + 1, step.length + 1))
                num_padding += step.length - row.length
    assert num_padding > 0


class Sliding:
    """The configuration of a model with a window of 3 positions in some layers."""

    sliding_window = 3
    layer_types = ("full_attention", "sliding_attention")


# Columns by position:  0 - 1 - 2 - 3      the second branch leaves after column 1.
#                           \ 4 - 5
ENDS = [[6, 6, 4, 4, 6, 6]]
POSITIONS = [[0, 1, 2, 3, 2, 3]]
VISIBLE = [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 4], [0, 1, 4, 5]]
IN_WINDOW = [[0], [0, 1], [0, 1, 2], [1, 2, 3], [0, 1, 4], [1, 4, 5]]


def seen(mask_1x1xTxK):
    assert set(mask_1x1xTxK.unique().tolist()) == {0.0, torch.finfo(mask_1x1xTxK.dtype).min}
    return [row.nonzero()[:, 0].tolist() for row in mask_1x1xTxK[0, 0] == 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_tree_mask_shows_each_column_its_path(dtype):
    positions = torch.tensor(POSITIONS)
    assert seen(tree_mask(None, torch.tensor(ENDS), positions, positions, dtype)) == VISIBLE


def test_a_window_of_a_tree_mask_is_measured_in_positions():
    positions = torch.tensor(POSITIONS)
    masks = tree_mask(Sliding, torch.tensor(ENDS), positions, positions, torch.float32)
    assert {name: seen(mask) for name, mask in masks.items()} == {
        "full_attention": VISIBLE,
        "sliding_attention": IN_WINDOW,
    }


def test_a_tree_mask_on_a_prefix_has_its_columns_before_the_block():
    """A prefix of two tokens and one of padding, before the tree."""
    ends = torch.tensor([[0, 9, 9, *(3 + end for end in ENDS[0])]])
    positions = torch.tensor(POSITIONS) + 2
    keys = torch.cat([torch.tensor([[-1, 0, 1]]), positions], dim=1)
    expected = [[1, 2, *(3 + column for column in columns)] for columns in VISIBLE]
    assert seen(tree_mask(None, ends, positions, keys, torch.float32)) == expected


def test_rows_of_a_mask_begin_at_multiples_of_eight():
    """Kernels that need this would otherwise copy the mask in every layer."""
    positions = torch.tensor(POSITIONS)
    mask = tree_mask(None, torch.tensor(ENDS), positions, positions, torch.bfloat16)
    assert all(stride % 8 == 0 for stride in mask.stride()[:-1])
