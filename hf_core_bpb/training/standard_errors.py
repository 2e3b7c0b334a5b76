"""Standard errors of bits per byte over validation documents (pure)."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hf_core_bpb.types import Scored


def standard_error(documents: Sequence[Scored]) -> float:
    """Return the standard error of bits per byte, a ratio of sums over documents; nan for fewer than two."""
    if len(documents) < 2:
        return math.nan
    total = sum(documents, Scored())
    nats = np.array([document.total_nats for document in documents])
    sizes = np.array([document.num_bytes for document in documents], dtype=float)
    return _ratio_error(nats - total.total_nats / total.num_bytes * sizes, total.num_bytes)


def standard_error_of_change(before: Sequence[Scored], after: Sequence[Scored]) -> float:
    """Return the standard error of the change in bits per byte of the same documents, paired by document."""
    num_bytes = sum(after, Scored()).num_bytes
    nats = np.array([b.total_nats - a.total_nats for a, b in zip(before, after, strict=True)])
    sizes = np.array([document.num_bytes for document in after], dtype=float)
    return _ratio_error(nats - nats.sum() / num_bytes * sizes, num_bytes)


def _ratio_error(deviations: npt.NDArray[np.float64], num_bytes: int) -> float:
    count = len(deviations)
    return math.sqrt(count / (count - 1) * float((deviations**2).sum())) / (math.log(2) * num_bytes)
