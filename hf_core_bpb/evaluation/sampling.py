"""Which items to score for a given precision of CORE: a fixed random order, allocated by variance (pure)."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.stats import t as student

from hf_core_bpb.metrics.intervals import welch_satterthwaite

SEED = 1234
# Items of a stratum in the first round, before its variance is estimated, and the largest growth per round.
_FIRST, _GROWTH = 32, 4
# The share of the precision that a round aims at, so that a slightly larger variance needs no further round.
_AIM = 0.97


@dataclass(frozen=True, slots=True)
class Stratum:
    """Items that are sampled by themselves: those of a task, or of one of its categories.

    indices: in the order of drawing. weight: that of their accuracy in CORE.
    """

    task: str
    indices: Sequence[int]
    weight: float


def draw_order(indices: Sequence[int], name: str) -> list[int]:
    """Return the indices in a random order seeded by name; every beginning of it is a random sample."""
    order = list(indices)
    random.Random(f"{SEED} {name}").shuffle(order)
    return order


def first_sizes(strata: Sequence[Stratum]) -> list[int]:
    """Return the number of items of each stratum in the first round."""
    return [min(_FIRST, len(stratum.indices)) for stratum in strata]


def half_width(strata: Sequence[Stratum], right: Sequence[int], drawn: Sequence[int]) -> float:
    """Return the half-width of the 95% interval of CORE of all items, from those drawn and the number right.

    Stratified sampling without replacement: the variance is the sum of weight^2 s^2 (1/n - 1/N) (Cochran 1977,
    5.3), s^2 by (right + 2) / (n + 4) (Agresti and Coull 1998), as it would stop too soon where few items are right;
    the quantile is Student's with Welch and Satterthwaite's degrees of freedom.
    """
    return _half_width(strata, _spreads(strata, right, drawn), drawn)


def next_sizes(
    strata: Sequence[Stratum], right: Sequence[int], drawn: Sequence[int], precision: float
) -> list[int] | None:
    """Return the number of items of each stratum after the next round, None if the interval is narrow enough.

    In proportion to weight x s (Neyman 1934), at least those drawn already and at most all.
    """
    if half_width(strata, right, drawn) <= precision:
        return None
    spreads = _spreads(strata, right, drawn)

    def sizes(scale: float) -> list[float]:
        return [
            min(max(n, scale * spread), len(stratum.indices))
            for stratum, spread, n in zip(strata, spreads, drawn, strict=True)
        ]

    def excess(scale: float) -> float:
        return _half_width(strata, spreads, sizes(scale)) - _AIM * precision

    largest_scale = max(len(stratum.indices) / spread for stratum, spread in zip(strata, spreads, strict=True))
    targets = sizes(brentq(excess, 0.0, largest_scale))
    return [min(math.ceil(size), _GROWTH * n) for size, n in zip(targets, drawn, strict=True)]


def _spreads(strata: Sequence[Stratum], right: Sequence[int], drawn: Sequence[int]) -> list[float]:
    """Return weight x s of each stratum."""
    chances = [(k + 2) / (n + 4) for k, n in zip(right, drawn, strict=True)]
    return [stratum.weight * math.sqrt(p * (1 - p)) for stratum, p in zip(strata, chances, strict=True)]


def _half_width(strata: Sequence[Stratum], spreads: Sequence[float], sizes: Sequence[float]) -> float:
    parts = [
        (spread**2 * (1 / size - 1 / len(stratum.indices)), size - 1)
        for stratum, spread, size in zip(strata, spreads, sizes, strict=True)
    ]
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return 0.0
    return float(student.ppf(0.975, welch_satterthwaite(parts))) * math.sqrt(variance)
