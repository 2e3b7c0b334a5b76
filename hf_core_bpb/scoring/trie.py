"""The prefix trie of requests: which tokens they have in common, counted once (pure)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hf_core_bpb.types import Ids, Request


@dataclass(frozen=True, slots=True)
class Trie:
    """Sorted token paths, none a prefix of another, each with what it shares with the one before.

    paths: what must be forwarded of the requests, their ids without the last. shared: how many leading ids
    a path has in common with the path before it, 0 for the first. hosted: the numbers of the requests whose
    tokens lie along each path.
    """

    paths: tuple[Ids, ...]
    shared: tuple[int, ...]
    hosted: tuple[tuple[int, ...], ...]

    @property
    def num_tokens(self) -> int:
        """Distinct prefixes of all paths: the fewest tokens that any scoring of them can forward."""
        return sum(len(path) for path in self.paths) - sum(self.shared)

    @property
    def longest(self) -> int:
        """Tokens of the longest path."""
        return max((len(path) for path in self.paths), default=0)


def build_trie(requests: Sequence[Request], numbers: Iterable[int] | None = None) -> Trie:
    """Return the trie of the requests, or of those with the given numbers.

    Nothing is predicted from the last id of a request, so it is in no path; choices of one token have the
    same path. It is sorted, so the order of the requests does not matter.
    """
    by_path: dict[bytes, list[int]] = {}
    ends: dict[int, int] = {}
    alike: dict[int, list[int]] = {}
    for number in numbers if numbers is not None else range(len(requests)):
        # Documents in a packed window share one array of ids: the longest stands for all.
        key = id(requests[number].ids)
        alike.setdefault(key, []).append(number)
        ends[key] = max(ends.get(key, 0), requests[number].end)
    for key, held in alike.items():
        # Big-endian bytes sort as the ids do.
        path = requests[held[0]].ids[: ends[key] - 1].astype(">u4").tobytes()
        by_path.setdefault(path, []).extend(held)
    paths: list[Ids] = []
    shared: list[int] = []
    hosted: list[list[int]] = []
    previous = b""
    for path in sorted(by_path):
        ids = np.frombuffer(path, dtype=">u4").astype(np.int32)
        if paths and path.startswith(previous):
            # A prefix of the next path in order is no path of its own.
            paths[-1] = ids
            hosted[-1] += by_path[path]
        else:
            shared.append(_num_shared(paths[-1], ids) if paths else 0)
            paths.append(ids)
            hosted.append(by_path[path])
        previous = path
    return Trie(tuple(paths), tuple(shared), tuple(tuple(numbers) for numbers in hosted))


def _num_shared(one: Ids, other: Ids) -> int:
    shortest = min(len(one), len(other))
    differs = one[:shortest] != other[:shortest]
    return int(differs.argmax()) if differs.any() else shortest
