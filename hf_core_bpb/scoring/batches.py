"""Batches: rows, and rows on cached prefixes, cut into padded forwards within the token budget (pure)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from hf_core_bpb.scoring.jobs import Costs, Job, Mode, Row, Step

# Tokens of cached prefixes per forwarded token that a forward may have.
CACHED_PER_TOKEN = 4
# A prefix is forwarded again after this many full batches on it, so that processes can share its rows.
_BATCHES_PER_PREFIX = 16


@dataclass(frozen=True, slots=True)
class PrefixRows:
    """Rows that continue the first `depth` ids of a path."""

    path: int
    depth: int
    rows: tuple[Row, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens of the rows, without the prefix."""
        return sum(row.length for row in self.rows)


def plain_jobs(mode: Mode, rows: Sequence[Row], batch_tokens: int, costs: Costs) -> list[Job]:
    """Return one job per batch of rows that continue no prefix."""
    ordered = sorted(rows, key=lambda row: (-row.length, row.first))
    jobs = []
    for begin, end in cut_batches([row.length for row in ordered], batch_tokens, costs.forward):
        step = Step(tuple(ordered[begin:end]), (), ordered[begin].length)
        jobs.append(Job(mode, (), (step,)))
    return jobs


def prefix_jobs(
    prefixes: Sequence[PrefixRows], batch_tokens: int, costs: Costs, modes: frozenset[Mode], max_columns: int | None
) -> list[Job]:
    """Return jobs that forward a batch of prefixes and then their rows, at most `max_columns` wide."""
    max_tokens = _BATCHES_PER_PREFIX * batch_tokens
    parts = [part for prefix in prefixes for part in _split_rows(prefix, max_tokens)]
    parts.sort(key=lambda part: (-part.depth, part.path))
    jobs: list[Job] = []
    for begin, end in cut_batches([part.depth for part in parts], batch_tokens, costs.forward):
        for group in _split_group(parts[begin:end], max_tokens):
            job = _prefix_job(group, batch_tokens, costs, modes)
            # Prefixes and rows of different lengths are wider together than each prefix with its rows.
            jobs += [job] if job.num_columns <= (max_columns or inf) else _split_by_prefix(job)
    return jobs


def _split_rows(prefix: PrefixRows, max_tokens: int) -> Iterator[PrefixRows]:
    """Yield a prefix several times, with at most `max_tokens` tokens of rows, or a single row, each time."""
    begin = tokens = 0
    for index, row in enumerate(prefix.rows):
        if index > begin and tokens + row.length > max_tokens:
            yield PrefixRows(prefix.path, prefix.depth, prefix.rows[begin:index])
            begin, tokens = index, 0
        tokens += row.length
    yield PrefixRows(prefix.path, prefix.depth, prefix.rows[begin:])


def _split_group(prefixes: Sequence[PrefixRows], max_tokens: int) -> Iterator[Sequence[PrefixRows]]:
    """Yield the prefixes in groups of at most `max_tokens` tokens of rows, or of a single prefix."""
    begin = tokens = 0
    for index, prefix in enumerate(prefixes):
        if index > begin and tokens + prefix.num_tokens > max_tokens:
            yield prefixes[begin:index]
            begin, tokens = index, 0
        tokens += prefix.num_tokens
    yield prefixes[begin:]


def _prefix_job(prefixes: Sequence[PrefixRows], batch_tokens: int, costs: Costs, modes: frozenset[Mode]) -> Job:
    """Return the job of prefixes of falling depth."""
    rows = [(row, index) for index, prefix in enumerate(prefixes) for row in prefix.rows]
    rows.sort(key=lambda pair: (-pair[0].length, pair[0].first))
    lengths = [row.length for row, _ in rows]
    steps = []
    for begin, end in cut_batches(lengths, batch_tokens, costs.forward, cached=prefixes[0].depth):
        step_rows, indices = zip(*rows[begin:end], strict=True)
        steps.append(Step(step_rows, indices, lengths[begin]))
    has_trees = any(row.last - row.first > 1 for row, _ in rows)
    mode: Mode = "prefix" if not has_trees and "prefix" in modes else "prefix+tree"
    return Job(mode, tuple((prefix.path, prefix.depth) for prefix in prefixes), tuple(steps))


def _split_by_prefix(job: Job) -> Iterator[Job]:
    """Yield one job per prefix of a job."""
    for index, prefix in enumerate(job.prefixes):
        steps = []
        for step in job.steps:
            rows = tuple(row for row, row_prefix in zip(step.rows, step.prefixes, strict=True) if row_prefix == index)
            if rows:
                steps.append(Step(rows, (0,) * len(rows), max(row.length for row in rows)))
        yield Job(job.mode, (prefix,), tuple(steps))


def cut_batches(lengths: Sequence[int], batch_tokens: int, per_batch: float, cached: int = 0) -> list[tuple[int, int]]:
    """Return the batches [begin, end) of rows of falling lengths, each padded to its first row.

    The cut has the lowest sum of tokens, padding included, and `per_batch` for each batch, by dynamic programming.
    A batch has at most `batch_tokens` tokens (rows x length), and five times as many together with the cached prefix
    of each row (rows x (cached + length)), or a single row.
    """
    lengths_N = np.asarray(lengths, dtype=np.int64)
    lowest_cost_N = np.zeros(len(lengths) + 1)
    begin_N = np.zeros(len(lengths) + 1, dtype=np.int64)
    first = 0
    for end in range(1, len(lengths) + 1):
        while first < end - 1 and not (
            (end - first) * lengths_N[first] <= batch_tokens
            and (end - first) * (cached + lengths_N[first]) <= (1 + CACHED_PER_TOKEN) * batch_tokens
        ):
            first += 1
        rows_N = np.arange(end - first, 0, -1)
        costs_N = lowest_cost_N[first:end] + rows_N * lengths_N[first:end] + per_batch
        cheapest = int(costs_N.argmin())
        lowest_cost_N[end] = costs_N[cheapest]
        begin_N[end] = first + cheapest
    cuts = []
    end = len(lengths)
    while end > 0:
        cuts.append((int(begin_N[end]), end))
        end = int(begin_N[end])
    return cuts[::-1]
