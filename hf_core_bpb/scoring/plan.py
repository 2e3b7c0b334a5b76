"""Which tokens go into which forward, and which process runs it, by estimated cost (pure).

Costs are in tokens: what forwarding one more token of a long batch costs is 1.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

import numpy as np

from hf_core_bpb.scoring.trie import Trie

Mode = Literal["full", "tree", "prefix", "prefix+tree"]

# A shorter prefix is not worth a cache: the tokens saved would be fewer than a forward's padding.
_SHORTEST_PREFIX = 16
# Tokens of cached prefixes that a forward may hold for each token that it forwards.
_CACHED_PER_TOKEN = 4
# A prefix is forwarded anew after so many full batches on it, so that processes can share them.
_BATCHES_A_PREFIX = 16


@dataclass(frozen=True, slots=True)
class Costs:
    """What decides between the ways to forward a trie, in tokens.

    pair: a query and a key of attention, over all layers; forward: one more call of the model; copy: a
    token of a cached prefix that is given to one more row.
    """

    pair: float
    forward: float
    copy: float

    def tokens(self, count: int, keys: int) -> float:
        """Return the cost of so many tokens of a row that each look at so many keys."""
        return count * (1 + self.pair * keys)


@dataclass(frozen=True, slots=True)
class Row:
    """The paths [first, last) of a trie from `depth` on, what they share laid out once; `length` tokens."""

    first: int
    last: int
    depth: int
    length: int


@dataclass(frozen=True, slots=True)
class Step:
    """Rows that one forward holds, padded to `length`, with the number of each one's prefix in its job."""

    rows: tuple[Row, ...]
    prefixes: tuple[int, ...]
    length: int

    @property
    def num_tokens(self) -> int:
        """Tokens that the forward holds, padding included."""
        return len(self.rows) * self.length


@dataclass(frozen=True, slots=True)
class Job:
    """Forwards that belong together: steps, after a forward of the prefixes that they continue, if any.

    prefixes: (path, depth), the first `depth` ids of that path of the trie.
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
        """Tokens that the forwards hold, padding included."""
        return len(self.prefixes) * self.depth + sum(step.num_tokens for step in self.steps)

    @property
    def num_forwards(self) -> int:
        """Calls of the model."""
        return len(self.steps) + bool(self.prefixes)

    @property
    def num_columns(self) -> int:
        """Keys that a token may find in front of it, padding included."""
        return self.depth + max(step.length for step in self.steps)

    def numbers(self, trie: Trie) -> Iterator[int]:
        """Yield the numbers of the requests that are scored by it."""
        for step in self.steps:
            for row in step.rows:
                for path in range(row.first, row.last):
                    yield from trie.hosted[path]

    @property
    def is_divisible(self) -> bool:
        """Whether a smaller budget would make smaller forwards of it."""
        return bool(self.prefixes) or any(len(s.rows) > 1 or s.rows[0].last - s.rows[0].first > 1 for s in self.steps)


@dataclass(slots=True)
class _Branching:
    """The paths [first, last), which share their first `depth` ids, and the cheapest way to forward them."""

    depth: int
    first: int
    last: int
    children: list["_Branching"] = field(default_factory=list)
    cost: float = inf
    rows: list[Row] | None = None
    on_prefix: bool = False


def plan_jobs(
    trie: Trie, batch_tokens: int, costs: Costs, modes: frozenset[Mode], most_columns: int | None = None
) -> list[Job]:
    """Return the forwards of a trie by the cheapest of the modes allowed, `full` always being one; longest first.

    A forward holds at most `batch_tokens` tokens, or a single row. Trees and rows on prefixes, padding and
    all, are no wider than `most_columns`: some models have no more positions for them. The jobs depend on
    these alone, so every number of processes runs the same.
    """
    alone: list[Row] = []
    trees: list[Row] = []
    on_prefixes: list[_Branching] = []
    decide = _Decision(trie, batch_tokens, costs, modes, most_columns)
    for part in _cheapest_parts(trie, decide):
        if part.on_prefix:
            on_prefixes.append(part)
        else:
            (row,) = part.rows or [Row(part.first, part.last, 0, part.depth)]
            (trees if row.last - row.first > 1 else alone).append(row)
    jobs = _plain_jobs("full", alone, batch_tokens, costs) + _plain_jobs("tree", trees, batch_tokens, costs)
    for job in _prefix_jobs(on_prefixes, batch_tokens, costs, modes):
        # Ragged prefixes and rows together are wider than each alone.
        jobs += [job] if job.num_columns <= (most_columns or inf) else _apart(job)
    return sorted(jobs, key=lambda job: -job.num_tokens)


def _apart(job: Job) -> Iterator[Job]:
    """Yield a job for each prefix of a job."""
    for number, prefix in enumerate(job.prefixes):
        steps = []
        for step in job.steps:
            own = [row for row, of in zip(step.rows, step.prefixes, strict=True) if of == number]
            if own:
                steps.append(Step(tuple(own), (0,) * len(own), max(row.length for row in own)))
        yield Job(job.mode, (prefix,), tuple(steps))


def _cheapest_parts(trie: Trie, decide: "_Decision") -> Iterator[_Branching]:
    """Yield the trie in parts, each a single path or a branching that is forwarded as one."""
    root = None
    for branching in _branchings(trie):
        decide(branching)
        root = branching
    waiting = [root] if root is not None else []
    while waiting:
        part = waiting.pop()
        if part.rows is None and part.children:
            waiting += reversed(part.children)
        else:
            yield part


def _branchings(trie: Trie) -> Iterator[_Branching]:
    """Yield all single paths and branchings, children before their parents, the root last.

    The intervals of common prefixes in sorted order (Abouelhoda et al. 2004, algorithm 4.4).
    """
    open_ones = [_Branching(0, 0, 0)]
    for index, path in enumerate(trie.paths):
        last = _Branching(len(path), index, index + 1)
        yield last
        shared = trie.shared[index + 1] if index + 1 < len(trie.paths) else -1
        while shared < open_ones[-1].depth:
            done = open_ones.pop()
            done.children.append(last)
            done.last = index + 1
            yield done
            last = done
            if not open_ones:
                return
        if shared > open_ones[-1].depth:
            open_ones.append(_Branching(shared, last.first, 0))
        open_ones[-1].children.append(last)


class _Decision:
    """Decides how a branching is forwarded, its children being decided."""

    def __init__(
        self, trie: Trie, batch_tokens: int, costs: Costs, modes: frozenset[Mode], most_columns: int | None
    ) -> None:
        self.lengths = np.concatenate([[0], np.cumsum([len(path) for path in trie.paths])])
        self.shared = np.concatenate([[0], np.cumsum(trie.shared)])
        self.batch_tokens = batch_tokens
        self.costs = costs
        self.modes = modes
        self.widest = min(batch_tokens, most_columns or batch_tokens)
        self.most_columns = most_columns or inf

    def __call__(self, part: _Branching) -> None:
        """Set the part's cost, and its rows where it is forwarded as one."""
        costs, depth = self.costs, part.depth
        if not part.children:
            part.cost = costs.tokens(depth, depth)
            return
        part.cost = sum(child.cost for child in part.children)
        below = self._row(part, depth).length
        whole = depth + below
        if "tree" in self.modes and whole <= self.widest and costs.tokens(whole, whole) < part.cost:
            part.cost = costs.tokens(whole, whole)
            part.rows = [self._row(part, 0)]
        if _SHORTEST_PREFIX <= depth <= self.batch_tokens:
            prefix = costs.tokens(depth, depth) + costs.forward * depth / self.batch_tokens
            for rows in self._ways_to_continue(part):
                cost = prefix + sum(costs.tokens(row.length, depth + row.length) for row in rows)
                cost += costs.copy * depth * (len(rows) - 1)
                longest = max(row.length for row in rows)
                if cost < part.cost and longest <= self.batch_tokens and depth + longest <= self.most_columns:
                    part.cost, part.rows, part.on_prefix = cost, rows, True

    def _ways_to_continue(self, part: _Branching) -> Iterator[list[Row]]:
        if "prefix+tree" in self.modes:
            yield [self._row(part, part.depth)]
            yield [self._row(child, part.depth) for child in part.children]
        if "prefix" in self.modes:
            ends = self.lengths[part.first : part.last + 1]
            lengths = ends[1:] - ends[:-1] - part.depth
            yield [Row(i, i + 1, part.depth, int(n)) for i, n in enumerate(lengths, part.first)]

    def _row(self, part: _Branching, depth: int) -> Row:
        tokens = self.lengths[part.last] - self.lengths[part.first]
        tokens -= self.shared[part.last] - self.shared[part.first + 1]
        return Row(part.first, part.last, depth, int(tokens) - depth)


def _plain_jobs(mode: Mode, rows: Sequence[Row], batch_tokens: int, costs: Costs) -> list[Job]:
    ordered = sorted(rows, key=lambda row: (-row.length, row.first))
    jobs = []
    for begin, end in cut_batches([row.length for row in ordered], batch_tokens, costs.forward):
        step = Step(tuple(ordered[begin:end]), (), ordered[begin].length)
        jobs.append(Job(mode, (), (step,)))
    return jobs


def _prefix_jobs(parts: Sequence[_Branching], batch_tokens: int, costs: Costs, modes: frozenset[Mode]) -> list[Job]:
    pieces: list[tuple[int, int, list[Row]]] = []
    for part in parts:
        held: list[Row] = []
        for row in part.rows or []:
            if held and sum(r.length for r in held) + row.length > _BATCHES_A_PREFIX * batch_tokens:
                pieces.append((part.first, part.depth, held))
                held = []
            held.append(row)
        pieces.append((part.first, part.depth, held))
    pieces.sort(key=lambda piece: (-piece[1], piece[0]))
    jobs = []
    for begin, end in cut_batches([depth for _, depth, _ in pieces], batch_tokens, costs.forward):
        for first, last in _cut_again(pieces, begin, end, batch_tokens):
            jobs.append(_prefix_job(pieces[first:last], batch_tokens, costs, modes))
    return jobs


def _cut_again(
    pieces: Sequence[tuple[int, int, list[Row]]], begin: int, end: int, batch_tokens: int
) -> Iterator[tuple[int, int]]:
    """Yield parts of pieces [begin, end) whose rows are few enough batches for one process."""
    tokens = 0
    for index in range(begin, end):
        more = sum(row.length for row in pieces[index][2])
        if index > begin and tokens + more > _BATCHES_A_PREFIX * batch_tokens:
            yield begin, index
            begin, tokens = index, 0
        tokens += more
    yield begin, end


def _prefix_job(
    pieces: Sequence[tuple[int, int, list[Row]]], batch_tokens: int, costs: Costs, modes: frozenset[Mode]
) -> Job:
    rows = [(row, number) for number, (_, _, held) in enumerate(pieces) for row in held]
    rows.sort(key=lambda pair: (-pair[0].length, pair[0].first))
    lengths = [row.length for row, _ in rows]
    depth = pieces[0][1]
    steps = []
    for begin, end in cut_batches(lengths, batch_tokens, costs.forward, cached=depth):
        some = rows[begin:end]
        steps.append(Step(tuple(row for row, _ in some), tuple(number for _, number in some), lengths[begin]))
    single = all(row.last - row.first == 1 for row, _ in rows)
    mode: Mode = "prefix" if single and "prefix" in modes else "prefix+tree"
    return Job(mode, tuple((path, depth) for path, depth, _ in pieces), tuple(steps))


def cut_batches(lengths: Sequence[int], batch_tokens: int, per_batch: float, cached: int = 0) -> list[tuple[int, int]]:
    """Return where to cut rows of falling lengths into batches [begin, end), padded to their first.

    The cut is the one with the lowest sum of tokens, padding included, and `per_batch` for each batch, under
    the budget: rows x length, and rows x (cached + length) of what a forward may hold beside it. A row over
    the budget has its own batch.
    """
    lengths_N = np.asarray(lengths, dtype=np.int64)
    best_N = np.zeros(len(lengths) + 1)
    begin_N = np.zeros(len(lengths) + 1, dtype=np.int64)
    lowest = 0
    for end in range(1, len(lengths) + 1):
        while lowest < end - 1 and not (
            (end - lowest) * lengths_N[lowest] <= batch_tokens
            and (end - lowest) * (cached + lengths_N[lowest]) <= (1 + _CACHED_PER_TOKEN) * batch_tokens
        ):
            lowest += 1
        rows_N = np.arange(end - lowest, 0, -1)
        sums_N = best_N[lowest:end] + rows_N * lengths_N[lowest:end] + per_batch
        place = int(sums_N.argmin())
        best_N[end] = sums_N[place]
        begin_N[end] = lowest + place
    cuts = []
    end = len(lengths)
    while end > 0:
        cuts.append((int(begin_N[end]), end))
        end = int(begin_N[end])
    return cuts[::-1]


def share_out(jobs: Sequence[Job], costs: Costs, loads: list[float]) -> list[list[Job]]:
    """Return each process's jobs: the next dearest goes to the process with the least to do so far.

    `loads` has what each process has to do already, and is added to.
    """
    shares: list[list[Job]] = [[] for _ in loads]
    heap = [(load, rank) for rank, load in enumerate(loads)]
    heapq.heapify(heap)
    for cost, job in sorted(((_cost(job, costs), job) for job in jobs), key=lambda pair: -pair[0]):
        load, rank = heapq.heappop(heap)
        shares[rank].append(job)
        loads[rank] = load + cost
        heapq.heappush(heap, (loads[rank], rank))
    return shares


def _cost(job: Job, costs: Costs) -> float:
    cost = costs.forward * job.num_forwards + len(job.prefixes) * costs.tokens(job.depth, job.depth)
    return cost + sum(len(s.rows) * costs.tokens(s.length, job.depth + s.length) for s in job.steps)
