"""The input arrays of each forward of a job, and the positions where losses are read (pure)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from hf_core_bpb.scoring.jobs import Job, Mode, Step
from hf_core_bpb.scoring.trie import Trie
from hf_core_bpb.types import Request

Array = np.ndarray[Any, Any]


class Reads(NamedTuple):
    """The losses to read from a forward: the row, column and target of each, and its index among the job's losses."""

    rows_M: Array
    columns_M: Array
    targets_M: Array
    indices_M: Array


@dataclass(frozen=True, slots=True)
class Block:
    """The inputs of one forward.

    padding_B: padding columns on the left of each row's prefix, or of the row if it is a prefix itself.
    ends_BxT: for rows of trees, the column after the last that sees each column; None for causal attention. Columns are
    in the order of a depth-first walk, so that column i sees column j exactly when j <= i < ends[j].
    prefix_B: the index of each row's prefix in the job.
    """

    ids_BxT: npt.NDArray[np.int32]
    positions_BxT: npt.NDArray[np.int32]
    padding_B: npt.NDArray[np.int64]
    ends_BxT: npt.NDArray[np.int32] | None
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
    padding_P = np.array([job.depth - depth for _, depth in job.prefixes], dtype=np.int64)
    steps: list[Block] = []
    reads_of_prefixes: list[Reads] = []
    loss_ranges: dict[int, tuple[int, int]] = {}
    num_losses = 0
    for step in job.steps:
        segments = _segments(step, trie)
        spans = _spans(segments, trie, requests, num_losses)
        loss_ranges |= zip(spans.indices, spans.loss_ranges, strict=True)
        num_losses += len(spans.targets_M)
        reads, prefix_reads = _reads(step, segments, spans, padding_P)
        steps.append(_block(step, job.mode, segments, trie, padding_P, reads))
        reads_of_prefixes.append(prefix_reads)
    prefixes = None
    if job.prefixes:
        ids_PxT = np.zeros((len(job.prefixes), job.depth), dtype=np.int32)
        for p, (path, depth) in enumerate(job.prefixes):
            ids_PxT[p, job.depth - depth :] = trie.paths[path][:depth]
        positions_PxT = np.maximum(np.arange(job.depth) - padding_P[:, None], 0).astype(np.int32)
        reads = Reads(*(np.concatenate(arrays) for arrays in zip(*reads_of_prefixes, strict=True)))
        prefixes = Block(ids_PxT, positions_PxT, padding_P, None, np.arange(len(job.prefixes)), reads)
    return Layout(prefixes, tuple(steps), loss_ranges, num_losses)


@dataclass(frozen=True, slots=True)
class _Segments:
    """The new tokens of each path of a step: those that no earlier path of its row has.

    first_S: the position of the first of them. columns_S: its column. parents_S: the segment of the token before it, -1
    if the row has none. ends_N: as in `Block`, of all tokens, row by row.
    """

    paths: list[int]
    rows_S: Array
    first_S: Array
    columns_S: Array
    parents_S: Array
    lengths_S: Array
    row_lengths_B: Array
    ends_N: Array


def _segments(step: Step, trie: Trie) -> _Segments:
    paths: list[int] = []
    shared: list[int] = []
    for row in step.rows:
        paths += range(row.first, row.last)
        shared.append(0)
        shared += trie.shared[row.first + 1 : row.last]
    paths_B = np.array([row.last - row.first for row in step.rows])
    stops = [len(trie.paths[path]) for path in paths]
    first_S = np.maximum(np.array(shared), np.repeat([row.depth for row in step.rows], paths_B))
    lengths_S = np.array(stops) - first_S
    row_ends_B = np.cumsum(lengths_S)[np.cumsum(paths_B) - 1]
    row_lengths_B = np.diff(row_ends_B, prepend=0)
    rows_S = np.repeat(np.arange(len(step.rows)), paths_B)
    columns_S = np.cumsum(lengths_S) - lengths_S - (row_ends_B - row_lengths_B)[rows_S]
    parents, ends_N = _walk(first_S.tolist(), stops, columns_S, rows_S, row_lengths_B)
    return _Segments(paths, rows_S, first_S, columns_S, np.array(parents), lengths_S, row_lengths_B, ends_N)


def _walk(
    firsts: list[int], stops: list[int], columns_S: Array, rows_S: Array, row_lengths_B: Array
) -> tuple[list[int], Array]:
    """Return the parent of each segment and the ends of all tokens; `stops` is overwritten."""
    parents: list[int] = []
    # The tokens from each of these on, counted over all rows, up to the next of these have the same end.
    begins: list[int] = []
    ends: list[int] = []
    columns = columns_S.tolist()
    tokens = (columns_S + (np.cumsum(row_lengths_B) - row_lengths_B)[rows_S]).tolist()
    row_lengths = iter(row_lengths_B.tolist())
    chain: list[int] = []
    for segment, (first, column) in enumerate(zip(firsts, columns, strict=True)):
        # No column from here on sees the tokens of the last path that this one does not continue.
        end = column
        if column == 0 and chain:
            # A new row, which continues nothing.
            end = next(row_lengths)
            first = -1
        while chain and firsts[chain[-1]] >= first:
            begins.append(tokens[chain.pop()])
            ends.append(end)
        if chain:
            last = chain[-1]
            if stops[last] > first:
                begins.append(tokens[last] + first - firsts[last])
                ends.append(end)
                stops[last] = first
            parents.append(last)
        else:
            parents.append(-1)
        chain.append(segment)
    begins += [tokens[one] for one in chain]
    ends += [int(row_lengths_B[-1])] * len(chain)
    order = np.argsort(begins)
    return parents, np.repeat(
        np.array(ends, dtype=np.int32)[order], np.diff(np.array(begins)[order], append=row_lengths_B.sum())
    )


@dataclass(frozen=True, slots=True)
class _Spans:
    """The spans of the requests along a step's paths: their targets, and the losses [first, end) of each.

    owners_R: the segment of the path of each.
    """

    indices: list[int]
    owners_R: Array
    start_R: Array
    lengths_R: Array
    first_loss_R: Array
    end_loss_R: Array
    targets_M: Array

    @property
    def loss_ranges(self) -> Iterator[tuple[int, int]]:
        """The losses of each request."""
        return zip(self.first_loss_R.tolist(), self.end_loss_R.tolist(), strict=True)


def _spans(segments: _Segments, trie: Trie, requests: Sequence[Request], num_losses: int) -> _Spans:
    """Return the spans of a step, after `num_losses` losses of earlier steps."""
    groups = [trie.request_indices[path] for path in segments.paths]
    indices = [index for group in groups for index in group]
    chosen = [requests[index] for index in indices]
    start_R = np.array([request.start for request in chosen])
    lengths_R = np.array([request.end for request in chosen]) - start_R
    end_loss_R = num_losses + np.cumsum(lengths_R)
    return _Spans(
        indices=indices,
        owners_R=np.repeat(np.arange(len(groups)), [len(group) for group in groups]),
        start_R=start_R,
        lengths_R=lengths_R,
        first_loss_R=end_loss_R - lengths_R,
        end_loss_R=end_loss_R,
        targets_M=np.concatenate([request.ids[request.start : request.end] for request in chosen]),
    )


def _block(
    step: Step, mode: Mode, segments: _Segments, trie: Trie, padding_P: npt.NDArray[np.int64], reads: Reads
) -> Block:
    shape = (len(step.rows), step.length)
    columns_T = np.arange(step.length, dtype=np.int32)
    is_token_BxT = columns_T < segments.row_lengths_B[:, None]
    ids_BxT = np.zeros(shape, dtype=np.int32)
    positions_BxT = np.zeros(shape, dtype=np.int32)
    ids_BxT[is_token_BxT] = np.concatenate(
        [trie.paths[path][first:] for path, first in zip(segments.paths, segments.first_S.tolist(), strict=True)]
    )
    positions_BxT[is_token_BxT] = _runs(segments.first_S, segments.lengths_S)
    ends_BxT = None
    if mode in ("tree", "prefix+tree"):
        # A padding token sees only itself: a row of attention without any key would be NaN.
        ends_BxT = np.tile(columns_T + 1, (shape[0], 1))
        ends_BxT[is_token_BxT] = segments.ends_N
    prefix_B = np.array(step.prefixes, dtype=np.int64)
    padding_B = padding_P[prefix_B] if len(prefix_B) else np.zeros(shape[0], dtype=np.int64)
    return Block(ids_BxT, positions_BxT, padding_B, ends_BxT, prefix_B, reads)


def _reads(step: Step, segments: _Segments, spans: _Spans, padding_P: npt.NDArray[np.int64]) -> tuple[Reads, Reads]:
    """Return the losses to read from a step, and those to read at the last positions of its prefixes."""
    targets_M = spans.targets_M
    indices_M = np.arange(spans.first_loss_R[0], spans.end_loss_R[-1])
    # A target's loss is read at the position before it, which may be in a segment of an earlier path.
    positions_M = _runs(spans.start_R, spans.lengths_R) - 1
    owners_M = np.repeat(spans.owners_R, spans.lengths_R)
    rows_M = segments.rows_S[owners_M]
    is_on_prefix_M = positions_M < np.array([row.depth for row in step.rows])[rows_M]
    while (is_before_M := ~is_on_prefix_M & (positions_M < segments.first_S[owners_M])).any():
        owners_M[is_before_M] = segments.parents_S[owners_M[is_before_M]]
    columns_M = positions_M - segments.first_S[owners_M] + segments.columns_S[owners_M]
    on_step = Reads(*(array[~is_on_prefix_M] for array in (rows_M, columns_M, targets_M, indices_M)))
    if not step.prefixes:
        return on_step, on_step
    prefixes_M = np.array(step.prefixes)[rows_M]
    prefix_columns_M = positions_M + padding_P[prefixes_M]
    return on_step, Reads(*(array[is_on_prefix_M] for array in (prefixes_M, prefix_columns_M, targets_M, indices_M)))


def _runs(starts: Array, lengths: Array) -> Array:
    """Return start, start + 1, ... for each pair of a start and a length, concatenated."""
    runs = np.arange(lengths.sum(), dtype=np.int32)
    runs += np.repeat((starts - np.cumsum(lengths) + lengths).astype(np.int32), lengths)
    return runs
