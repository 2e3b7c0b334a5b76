"""The search for the cheapest forwards of a trie (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

import numpy as np

from hf_core_bpb.scoring.batches import PrefixRows, plain_jobs, prefix_jobs
from hf_core_bpb.scoring.jobs import Costs, Job, Mode, Row
from hf_core_bpb.scoring.trie import Trie

# Caching a shorter prefix saves fewer tokens than a forward has padding.
_MIN_PREFIX_TOKENS = 16


@dataclass(slots=True)
class _Branch:
    """The paths [first, last), which share their first `depth` ids, and the cheapest strategy to forward them.

    rows: set if all paths are forwarded together, on the prefix that they share if `on_prefix`; None if each child is
    forwarded by itself.
    """

    depth: int
    first: int
    last: int
    children: list["_Branch"] = field(default_factory=list)
    cost: float = inf
    rows: list[Row] | None = None
    on_prefix: bool = False


def plan_jobs(
    trie: Trie, batch_tokens: int, costs: Costs, modes: frozenset[Mode], max_columns: int | None = None
) -> list[Job]:
    """Return the cheapest forwards of a trie in the modes given, or in `full`; the longest first.

    The jobs depend on the arguments alone, so any number of processes runs the same forwards.

    Args:
        batch_tokens: maximum tokens per forward; a single row may have more.
        max_columns: maximum width of trees and of rows on prefixes, padding included, for models that have no more
            positions.
    """
    single_rows: list[Row] = []
    tree_rows: list[Row] = []
    prefixes: list[PrefixRows] = []
    search = _Search(trie, batch_tokens, costs, modes, max_columns)
    for branch in _cheapest_branches(trie, search):
        if branch.on_prefix:
            prefixes.append(PrefixRows(branch.first, branch.depth, tuple(branch.rows or ())))
        elif branch.rows is not None:
            tree_rows += branch.rows
        else:
            single_rows.append(Row(branch.first, branch.last, 0, branch.depth))
    jobs = plain_jobs("full", single_rows, batch_tokens, costs)
    jobs += plain_jobs("tree", tree_rows, batch_tokens, costs)
    jobs += prefix_jobs(prefixes, batch_tokens, costs, modes, max_columns)
    return sorted(jobs, key=lambda job: -job.num_tokens)


def _cheapest_branches(trie: Trie, search: "_Search") -> Iterator[_Branch]:
    """Yield the branches and single paths that are forwarded together in the cheapest plan; they cover the trie."""
    root = None
    for branch in _branches(trie):
        search.decide(branch)
        root = branch
    stack = [root] if root is not None else []
    while stack:
        branch = stack.pop()
        if branch.rows is None and branch.children:
            stack += reversed(branch.children)
        else:
            yield branch


def _branches(trie: Trie) -> Iterator[_Branch]:
    """Yield all single paths and branches, children before their parents, the root last.

    The intervals of common prefixes in sorted order (Abouelhoda et al. 2004, algorithm 4.4).
    """
    stack = [_Branch(0, 0, 0)]
    for index, path in enumerate(trie.paths):
        last = _Branch(len(path), index, index + 1)
        yield last
        shared = trie.shared[index + 1] if index + 1 < len(trie.paths) else -1
        while shared < stack[-1].depth:
            parent = stack.pop()
            parent.children.append(last)
            parent.last = index + 1
            yield parent
            last = parent
            if not stack:
                return
        if shared > stack[-1].depth:
            stack.append(_Branch(shared, last.first, 0))
        stack[-1].children.append(last)


class _Search:
    """The search from the leaves to the root: each branch compares its strategies with the sum of its children."""

    def __init__(
        self, trie: Trie, batch_tokens: int, costs: Costs, modes: frozenset[Mode], max_columns: int | None
    ) -> None:
        self.lengths = np.concatenate([[0], np.cumsum([len(path) for path in trie.paths])])
        self.shared = np.concatenate([[0], np.cumsum(trie.shared)])
        self.batch_tokens = batch_tokens
        self.costs = costs
        self.modes = modes
        self.max_columns = max_columns or inf

    def decide(self, branch: _Branch) -> None:
        """Set the cost of a branch whose children are decided, and its rows if they are forwarded together."""
        costs, depth = self.costs, branch.depth
        if not branch.children:
            branch.cost = costs.tokens(depth, depth)
            return
        branch.cost = sum(child.cost for child in branch.children)
        tree = self._row(branch, 0)
        tree_cost = costs.tokens(tree.length, tree.length)
        fits = tree.length <= min(self.batch_tokens, self.max_columns)
        if "tree" in self.modes and fits and tree_cost < branch.cost:
            branch.cost, branch.rows = tree_cost, [tree]
        if _MIN_PREFIX_TOKENS <= depth <= self.batch_tokens:
            prefix_cost = costs.tokens(depth, depth) + costs.forward * depth / self.batch_tokens
            for rows in self._rows_on_prefix(branch):
                cost = prefix_cost + sum(costs.tokens(row.length, depth + row.length) for row in rows)
                cost += costs.copy * depth * (len(rows) - 1)
                longest = max(row.length for row in rows)
                if cost < branch.cost and longest <= self.batch_tokens and depth + longest <= self.max_columns:
                    branch.cost, branch.rows, branch.on_prefix = cost, rows, True

    def _rows_on_prefix(self, branch: _Branch) -> Iterator[list[Row]]:
        """Yield each way to continue a branch's prefix: one tree, a tree per child, or a row per path."""
        if "prefix+tree" in self.modes:
            yield [self._row(branch, branch.depth)]
            yield [self._row(child, branch.depth) for child in branch.children]
        if "prefix" in self.modes:
            ends = self.lengths[branch.first : branch.last + 1]
            lengths = ends[1:] - ends[:-1] - branch.depth
            yield [Row(i, i + 1, branch.depth, int(n)) for i, n in enumerate(lengths, branch.first)]

    def _row(self, branch: _Branch, depth: int) -> Row:
        """Return the paths of a branch from `depth` on as one row."""
        tokens = self.lengths[branch.last] - self.lengths[branch.first]
        tokens -= self.shared[branch.last] - self.shared[branch.first + 1]
        return Row(branch.first, branch.last, depth, int(tokens) - depth)
