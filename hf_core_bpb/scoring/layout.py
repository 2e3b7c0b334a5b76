"""The input arrays of each forward of a job, and the positions where losses are read (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_core_bpb.scoring.jobs import Job, Row, Step
from hf_core_bpb.scoring.trie import Trie
from hf_core_bpb.types import Ids, Request

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Reads:
    """The losses to read from a forward: row, column and target of each, and its index among the job's losses."""

    rows: list[Array] = field(default_factory=list)
    columns: list[Array] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)
    loss_indices: list[Array] = field(default_factory=list)

    def add(self, row: int, columns: Array, targets: Ids, first_loss: int) -> None:
        """Read each target at its column, as consecutive losses from `first_loss` on."""
        if len(columns):
            self.rows.append(np.full(len(columns), row))
            self.columns.append(columns)
            self.targets.append(targets)
            self.loss_indices.append(np.arange(first_loss, first_loss + len(columns)))


@dataclass(frozen=True, slots=True)
class Block:
    """The inputs of one forward.

    padding_B: padding columns on the left of each row's prefix, or of the row if it is a prefix itself.
    visible_BxTxT: which columns of the block each token attends to, for rows of trees; None for causal attention.
    prefix_B: the index of each row's prefix in the job.
    """

    ids_BxT: npt.NDArray[np.int64]
    positions_BxT: npt.NDArray[np.int64]
    padding_B: npt.NDArray[np.int64]
    visible_BxTxT: npt.NDArray[np.bool_] | None
    prefix_B: npt.NDArray[np.int64]
    reads: Reads


@dataclass(frozen=True, slots=True)
class Layout:
    """The forwards of a job: of its prefixes, if any, and of its steps.

    loss_ranges: the losses [begin, end) of each request, by its index, among the `num_losses` of the job.
    """

    prefixes: Block | None
    steps: tuple[Block, ...]
    loss_ranges: dict[int, tuple[int, int]]
    num_losses: int


def lay_out(job: Job, trie: Trie, requests: Sequence[Request]) -> Layout:
    """Return the arrays of a job's forwards."""
    loss_ranges: dict[int, tuple[int, int]] = {}
    num_losses = 0
    for index in job.request_indices(trie):
        end = num_losses + requests[index].end - requests[index].start
        loss_ranges[index] = (num_losses, end)
        num_losses = end
    padding_P = np.array([job.depth - depth for _, depth in job.prefixes], dtype=np.int64)
    prefix_reads = Reads()
    steps = tuple(_lay_out_step(step, job, trie, requests, loss_ranges, padding_P, prefix_reads) for step in job.steps)
    prefixes = None
    if job.prefixes:
        ids_PxT = np.zeros((len(job.prefixes), job.depth), dtype=np.int64)
        for p, (path, depth) in enumerate(job.prefixes):
            ids_PxT[p, job.depth - depth :] = trie.paths[path][:depth]
        positions_PxT = np.maximum(np.arange(job.depth) - padding_P[:, None], 0)
        prefixes = Block(ids_PxT, positions_PxT, padding_P, None, np.arange(len(job.prefixes)), prefix_reads)
    return Layout(prefixes, steps, loss_ranges, num_losses)


def _lay_out_step(
    step: Step,
    job: Job,
    trie: Trie,
    requests: Sequence[Request],
    loss_ranges: dict[int, tuple[int, int]],
    padding_P: npt.NDArray[np.int64],
    prefix_reads: Reads,
) -> Block:
    """Return the arrays of a step; losses at the last positions of a prefix are added to `prefix_reads`."""
    shape = (len(step.rows), step.length)
    ids_BxT = np.zeros(shape, dtype=np.int64)
    positions_BxT = np.zeros(shape, dtype=np.int64)
    has_trees = job.mode in ("tree", "prefix+tree")
    # A padding token attends to itself: a row of attention without any key would be NaN.
    visible_BxTxT = np.tile(np.eye(step.length, dtype=bool), (len(step.rows), 1, 1)) if has_trees else None
    prefix_B = np.array(step.prefixes, dtype=np.int64)
    reads = Reads()
    for b, row in enumerate(step.rows):
        for path, columns, num_shared in _path_columns(row, trie):
            new = columns[num_shared:]
            ids_BxT[b, new] = trie.paths[path][row.depth + num_shared :]
            positions_BxT[b, new] = np.arange(row.depth + num_shared, row.depth + len(columns))
            if visible_BxTxT is not None:
                visible_BxTxT[b, new[:, None], columns[:num_shared]] = True
                visible_BxTxT[b, new[:, None], new] = np.tri(len(new), dtype=bool)
            for index in trie.request_indices[path]:
                request = requests[index]
                targets = request.ids[request.start : request.end]
                first_loss, _ = loss_ranges[index]
                num_on_prefix = min(max(row.depth - (request.start - 1), 0), len(targets))
                if num_on_prefix:
                    prefix = int(prefix_B[b])
                    first = int(padding_P[prefix]) + request.start - 1
                    prefix_reads.add(
                        prefix, np.arange(first, first + num_on_prefix), targets[:num_on_prefix], first_loss
                    )
                if num_on_prefix < len(targets):
                    read = slice(request.start - 1 + num_on_prefix - row.depth, request.end - 1 - row.depth)
                    reads.add(b, columns[read], targets[num_on_prefix:], first_loss + num_on_prefix)
    padding_B = padding_P[prefix_B] if len(prefix_B) else np.zeros(len(step.rows), dtype=np.int64)
    return Block(ids_BxT, positions_BxT, padding_B, visible_BxTxT, prefix_B, reads)


def _path_columns(row: Row, trie: Trie) -> list[tuple[int, npt.NDArray[np.int64], int]]:
    """Return each path of a row, the columns of its tokens, and how many of these it shares with the path before."""
    paths: list[tuple[int, npt.NDArray[np.int64], int]] = []
    columns = np.zeros(0, dtype=np.int64)
    num_columns = 0
    for path in range(row.first, row.last):
        num_shared = max(trie.shared[path] - row.depth, 0) if path > row.first else 0
        num_new = len(trie.paths[path]) - row.depth - num_shared
        columns = np.concatenate([columns[:num_shared], np.arange(num_columns, num_columns + num_new)])
        num_columns += num_new
        paths.append((path, columns, num_shared))
    return paths
