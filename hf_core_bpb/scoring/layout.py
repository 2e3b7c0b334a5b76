"""The arrays of each forward of a job: ids, positions, which tokens see which, and what is read where (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_core_bpb.scoring.plan import Job, Row, Step
from hf_core_bpb.scoring.trie import Trie
from hf_core_bpb.types import Ids, Request

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Reads:
    """Losses to take from a forward: of the target at a row and column, for a place among the job's losses."""

    rows: list[Array] = field(default_factory=list)
    columns: list[Array] = field(default_factory=list)
    targets: list[Array] = field(default_factory=list)
    places: list[Array] = field(default_factory=list)

    def add(self, row: int, columns: Array, targets: Ids, first_place: int) -> None:
        """Read each target at its column, for places that follow each other."""
        if len(columns):
            self.rows.append(np.full(len(columns), row))
            self.columns.append(columns)
            self.targets.append(targets)
            self.places.append(np.arange(first_place, first_place + len(columns)))


@dataclass(frozen=True, slots=True)
class Block:
    """One forward.

    padding_B: how many columns in front of each row's prefix (or row, where it is the prefix) hold nothing.
    sees_BxTxT: for rows of trees, which of the block's own tokens each one sees; None where all before it.
    prefix_B: each row's prefix among the job's.
    """

    ids_BxT: npt.NDArray[np.int64]
    positions_BxT: npt.NDArray[np.int64]
    padding_B: npt.NDArray[np.int64]
    sees_BxTxT: npt.NDArray[np.bool_] | None
    prefix_B: npt.NDArray[np.int64]
    reads: Reads


@dataclass(frozen=True, slots=True)
class Layout:
    """A job's forwards: of the prefixes, where there are some, and of the steps; `places` by request number.

    A request's losses are places[number] = [begin, end) of `num_places`.
    """

    prefixes: Block | None
    steps: tuple[Block, ...]
    places: dict[int, tuple[int, int]]
    num_places: int


def lay_out(job: Job, trie: Trie, requests: Sequence[Request]) -> Layout:
    """Return the arrays of a job's forwards."""
    places: dict[int, tuple[int, int]] = {}
    num_places = 0
    for number in job.numbers(trie):
        end = num_places + requests[number].end - requests[number].start
        places[number] = (num_places, end)
        num_places = end
    padding_P = np.array([job.depth - depth for _, depth in job.prefixes], dtype=np.int64)
    of_prefixes = Reads()
    steps = tuple(_lay_out_step(step, job, trie, requests, places, padding_P, of_prefixes) for step in job.steps)
    prefixes = None
    if job.prefixes:
        ids_PxT = np.zeros((len(job.prefixes), job.depth), dtype=np.int64)
        for number, (path, depth) in enumerate(job.prefixes):
            ids_PxT[number, job.depth - depth :] = trie.paths[path][:depth]
        positions_PxT = np.maximum(np.arange(job.depth) - padding_P[:, None], 0)
        prefixes = Block(ids_PxT, positions_PxT, padding_P, None, np.arange(len(job.prefixes)), of_prefixes)
    return Layout(prefixes, steps, places, num_places)


def _lay_out_step(
    step: Step,
    job: Job,
    trie: Trie,
    requests: Sequence[Request],
    places: dict[int, tuple[int, int]],
    padding_P: npt.NDArray[np.int64],
    of_prefixes: Reads,
) -> Block:
    shape = (len(step.rows), step.length)
    ids_BxT = np.zeros(shape, dtype=np.int64)
    positions_BxT = np.zeros(shape, dtype=np.int64)
    trees = job.mode in ("tree", "prefix+tree")
    # A padding token sees itself, so that its row of attention is not empty.
    sees_BxTxT = np.tile(np.eye(step.length, dtype=bool), (len(step.rows), 1, 1)) if trees else None
    prefix_B = np.array(step.prefixes, dtype=np.int64)
    reads = Reads()
    for b, row in enumerate(step.rows):
        for path, columns, num_shared in _walk(row, trie):
            own = columns[num_shared:]
            ids_BxT[b, own] = trie.paths[path][row.depth + num_shared :]
            positions_BxT[b, own] = np.arange(row.depth + num_shared, row.depth + len(columns))
            if sees_BxTxT is not None:
                sees_BxTxT[b, own[:, None], columns[:num_shared]] = True
                sees_BxTxT[b, own[:, None], own] = np.tri(len(own), dtype=bool)
            for number in trie.hosted[path]:
                request = requests[number]
                targets = request.ids[request.start : request.end]
                begin, _ = places[number]
                on_prefix = min(max(row.depth - (request.start - 1), 0), len(targets))
                if on_prefix:
                    prefix = int(prefix_B[b])
                    first = int(padding_P[prefix]) + request.start - 1
                    of_prefixes.add(prefix, np.arange(first, first + on_prefix), targets[:on_prefix], begin)
                read = slice(request.start - 1 + on_prefix - row.depth, request.end - 1 - row.depth)
                if on_prefix < len(targets):
                    reads.add(b, columns[read], targets[on_prefix:], begin + on_prefix)
    padding_B = padding_P[prefix_B] if len(prefix_B) else np.zeros(len(step.rows), dtype=np.int64)
    return Block(ids_BxT, positions_BxT, padding_B, sees_BxTxT, prefix_B, reads)


def _walk(row: Row, trie: Trie) -> list[tuple[int, npt.NDArray[np.int64], int]]:
    """Return each path of a row with the columns of its tokens, and how many of these an earlier path laid out."""
    walked: list[tuple[int, npt.NDArray[np.int64], int]] = []
    columns = np.zeros(0, dtype=np.int64)
    used = 0
    for path in range(row.first, row.last):
        num_shared = max(trie.shared[path] - row.depth, 0) if path > row.first else 0
        more = len(trie.paths[path]) - row.depth - num_shared
        columns = np.concatenate([columns[:num_shared], np.arange(used, used + more)])
        used += more
        walked.append((path, columns, num_shared))
    return walked
