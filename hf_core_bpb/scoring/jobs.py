"""Jobs: forwards that run together on one process, their costs, and their assignment to processes (pure).

Costs are in tokens: one more token in a large batch costs 1.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hf_core_bpb.scoring.trie import Trie

Mode = Literal["full", "tree", "prefix", "prefix+tree"]


@dataclass(frozen=True, slots=True)
class Costs:
    """The prices, in tokens, by which forwards are planned.

    pair: one query and one key of attention, over all layers. forward: one more call of the model. copy: one token of
    a cached prefix, copied for one more row.
    """

    pair: float
    forward: float
    copy: float

    def tokens(self, num_tokens: int, num_keys: int) -> float:
        """Return the cost of the tokens of a row, each of which attends to `num_keys` keys."""
        return num_tokens * (1 + self.pair * num_keys)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch: the paths [first, last) of a trie from `depth` on, shared tokens once; `length` tokens."""

    first: int
    last: int
    depth: int
    length: int


@dataclass(frozen=True, slots=True)
class Step:
    """The rows of one forward, padded to `length`, and the index of each row's prefix in its job."""

    rows: tuple[Row, ...]
    prefixes: tuple[int, ...]
    length: int

    @property
    def num_tokens(self) -> int:
        """Tokens in the forward, padding included."""
        return len(self.rows) * self.length


@dataclass(frozen=True, slots=True)
class Job:
    """Steps that run on one process, after one forward of the prefixes that they continue, if any.

    prefixes: pairs (path, depth), each the first `depth` ids of a path of the trie.
    """

    mode: Mode
    prefixes: tuple[tuple[int, int], ...]
    steps: tuple[Step, ...]

    @property
    def depth(self) -> int:
        """Tokens of the longest prefix."""
        return max((depth for _, depth in self.prefixes), default=0)

    @property
    def num_tokens(self) -> int:
        """Tokens in all forwards, padding included."""
        return len(self.prefixes) * self.depth + sum(step.num_tokens for step in self.steps)

    @property
    def num_forwards(self) -> int:
        """Calls of the model."""
        return len(self.steps) + bool(self.prefixes)

    @property
    def num_columns(self) -> int:
        """Columns of the widest attention matrix, padding included."""
        return self.depth + max(step.length for step in self.steps)

    @property
    def is_divisible(self) -> bool:
        """Whether a smaller token budget would split it into smaller forwards."""
        return bool(self.prefixes) or any(len(s.rows) > 1 or s.rows[0].last - s.rows[0].first > 1 for s in self.steps)

    def request_indices(self, trie: Trie) -> Iterator[int]:
        """Yield the indices of the requests that it scores."""
        for step in self.steps:
            for row in step.rows:
                for path in range(row.first, row.last):
                    yield from trie.request_indices[path]

    def cost(self, costs: Costs) -> float:
        """Return the cost of all its forwards."""
        cost = costs.forward * self.num_forwards + len(self.prefixes) * costs.tokens(self.depth, self.depth)
        return cost + sum(len(s.rows) * costs.tokens(s.length, self.depth + s.length) for s in self.steps)


def assign_jobs(jobs: Sequence[Job], costs: Costs, loads: list[float]) -> list[list[Job]]:
    """Return each process's jobs: the most expensive job first, each to the process with the lowest load.

    loads: the cost already assigned to each process; updated in place.
    """
    shares: list[list[Job]] = [[] for _ in loads]
    heap = [(load, rank) for rank, load in enumerate(loads)]
    heapq.heapify(heap)
    for cost, job in sorted(((job.cost(costs), job) for job in jobs), key=lambda pair: -pair[0]):
        load, rank = heapq.heappop(heap)
        shares[rank].append(job)
        loads[rank] = load + cost
        heapq.heappush(heap, (loads[rank], rank))
    return shares
