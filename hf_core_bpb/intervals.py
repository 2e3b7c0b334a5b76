"""Intervals of 95 % by resampling what was scored (pure)."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from hf_core_bpb.types import Scored

SEED = 1234
RESAMPLES = 1000


def bpb_ci95(documents: Sequence[Scored], seed: int = SEED) -> tuple[float, float] | None:
    """Return the interval of bits per byte over documents, None below two of them.

    Documents are drawn anew 1,000 times, each with its nats and bytes; of the ratios the quantiles are taken
    that a t distribution of so many documents asks for (Hesterberg 2015, arXiv:1411.5279, expanded percentiles).
    """
    count = len(documents)
    if count < 2:
        return None
    nats = np.array([document.total_nats for document in documents])
    sizes = np.array([document.num_bytes for document in documents], dtype=float)
    rng = np.random.default_rng(seed)
    ratios = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, count, count)
        # Rows of no bytes can be all that was drawn.
        if (total := sizes[drawn].sum()) > 0:
            ratios.append(nats[drawn].sum() / (math.log(2) * total))
    low, high = np.quantile(ratios, expanded_quantiles(count))
    return float(low), float(high)


def expanded_quantiles(count: int) -> tuple[float, float]:
    """Return the quantiles of a bootstrap over `count` items that make an interval of 95 %."""
    reach = math.sqrt(count / (count - 1)) * float(student.ppf(0.975, count - 1))
    return float(norm.cdf(-reach)), float(norm.cdf(reach))
