"""Turn rows of input and target ids into requests for the targets that are text (pure).

A row is inputs x (T,) and targets y (T,), where y[t] is the id after x[t]; targets below 0 are ignored.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hf_core_bpb.errors import InputError
from hf_core_bpb.tokenization.token_bytes import TokenBytes
from hf_core_bpb.types import Request

Ids64 = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]


def mark_text(x_BxT: Ids64, y_BxT: Ids64, table: TokenBytes, where: str) -> Marks:
    """Return a mask (B, T) of the targets that are text, neither ignored nor special; InputError for unknown ids."""
    if x_BxT.min(initial=0) < 0:
        raise InputError(f"{where}: expected ids of 0 or more, got {x_BxT.min()}")
    largest = max(x_BxT.max(initial=0), y_BxT.max(initial=0))
    if largest >= len(table):
        raise InputError(f"{where}: expected ids below {len(table)}, got {largest}")
    return (y_BxT >= 0) & ~table.is_special_V[np.maximum(y_BxT, 0)]


def is_shift(x_T: Ids64, y_T: Ids64, marks_T: Marks) -> bool:
    """Return whether every marked target is the next input, so that one sequence of ids contains both."""
    return bool((y_T[:-1] == x_T[1:])[marks_T[:-1]].all())


def row_requests(x_T: Ids64, y_T: Ids64, marks_T: Marks, table: TokenBytes) -> Iterator[Request]:
    """Yield a request for each run of marked targets; the targets must be the shifted inputs (`is_shift`)."""
    ids_N = np.concatenate([x_T, y_T[-1:]]).astype(np.int32)
    is_scored_N = np.concatenate([[False], marks_T])
    edges = np.flatnonzero(np.diff(np.concatenate([is_scored_N, [False]]))) + 1
    for start, end in edges.reshape(-1, 2).tolist():
        num_bytes = int(table.of_targets(x_T[start - 1 : end - 1], y_T[start - 1 : end - 1]).sum())
        yield Request(ids_N, start, end, num_bytes)
