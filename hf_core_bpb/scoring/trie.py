"""The prefix trie of requests, in which shared tokens are counted once (pure)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hf_core_bpb.types import Ids, Request


@dataclass(frozen=True, slots=True)
class Trie:
    """Sorted token paths, none of them a prefix of another.

    paths: the ids to forward, each request's without its last. shared: how many leading ids each path has in common
    with the path before it, 0 for the first. request_indices: the requests that lie along each path.
    """

    paths: tuple[Ids, ...]
    shared: tuple[int, ...]
    request_indices: tuple[tuple[int, ...], ...]

    @property
    def num_tokens(self) -> int:
        """The theoretical minimum of forwarded tokens: the number of distinct prefixes of all paths."""
        return sum(len(path) for path in self.paths) - sum(self.shared)

    @property
    def longest(self) -> int:
        """Tokens of the longest path."""
        return max((len(path) for path in self.paths), default=0)


def build_trie(requests: Sequence[Request], indices: Iterable[int] | None = None) -> Trie:
    """Return the trie of all requests, or of those at the given indices.

    Nothing is predicted from the last id of a request, so no path includes it, and options of one token have the same
    path. The paths do not depend on the order of the requests.
    """
    indices = range(len(requests)) if indices is None else list(indices)
    ends = last_ends(requests, indices)
    # Documents in a packed window share one array of ids, whose longest span covers the others.
    by_array: dict[int, list[int]] = {}
    for index in indices:
        by_array.setdefault(id(requests[index].ids), []).append(index)
    by_path: dict[bytes, list[int]] = {}
    for array, group in by_array.items():
        # Big-endian bytes sort as the ids do.
        path = requests[group[0]].ids[: ends[array] - 1].astype(">u4").tobytes()
        by_path.setdefault(path, []).extend(group)
    paths: list[Ids] = []
    shared: list[int] = []
    request_indices: list[list[int]] = []
    previous = b""
    for path in sorted(by_path):
        ids = np.frombuffer(path, dtype=">u4").astype(np.int32)
        if paths and path.startswith(previous):
            # The path before is a prefix of this one, which replaces it.
            paths[-1] = ids
            request_indices[-1] += by_path[path]
        else:
            shared.append(_num_shared(paths[-1], ids) if paths else 0)
            paths.append(ids)
            request_indices.append(by_path[path])
        previous = path
    return Trie(tuple(paths), tuple(shared), tuple(map(tuple, request_indices)))


def last_ends(requests: Sequence[Request], indices: Iterable[int]) -> dict[int, int]:
    """Return the end of the last span in each array of ids, by the array's `id()`."""
    ends: dict[int, int] = {}
    for index in indices:
        array = id(requests[index].ids)
        ends[array] = max(ends.get(array, 0), requests[index].end)
    return ends


def _num_shared(first: Ids, second: Ids) -> int:
    shortest = min(len(first), len(second))
    differs = first[:shortest] != second[:shortest]
    return int(differs.argmax()) if differs.any() else shortest
