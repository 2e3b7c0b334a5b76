"""Which items tell CORE of all of them to a wanted precision: a fixed order, allotted by variance (pure)."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.stats import t as student

from hf_core_bpb.metrics.intervals import welch_satterthwaite

SEED = 1234
# Items of a stratum that are drawn before its variance is believed, and how fast the sample grows from there.
_FIRST, _GROWTH = 32, 4
# What a round aims at, so that a variance found a little larger asks for no further one.
_AIM = 0.97


@dataclass(frozen=True, slots=True)
class Stratum:
    """Items that are drawn from by themselves: a task's, or those of one of its categories.

    places: in the order that they are drawn in. weight: what their accuracy counts in CORE.
    """

    task: str
    places: Sequence[int]
    weight: float


def draw_order(places: Sequence[int], name: str) -> list[int]:
    """Return the places in an order of their own by name, of which every beginning is a random sample."""
    order = list(places)
    random.Random(f"{SEED} {name}").shuffle(order)
    return order


def first_sizes(strata: Sequence[Stratum]) -> list[int]:
    """Return how many items of each stratum are drawn before anything is known."""
    return [min(_FIRST, len(stratum.places)) for stratum in strata]


def half_width(strata: Sequence[Stratum], right: Sequence[int], drawn: Sequence[int]) -> float:
    """Return half the interval of 95 % of CORE of all items, from those drawn and how many of them are right.

    Stratified sampling without replacement: the variance is the sum of weight^2 s^2 (1/n - 1/N) (Cochran 1977,
    5.3), s^2 by (right + 2) / (n + 4) (Agresti and Coull 1998), as to stop where few are seen to be right would be
    to stop too soon; the quantile is Student's with Welch and Satterthwaite's degrees of freedom.
    """
    return _half_width(strata, _spreads(strata, right, drawn), drawn)


def next_sizes(
    strata: Sequence[Stratum], right: Sequence[int], drawn: Sequence[int], precision: float
) -> list[int] | None:
    """Return how many items of each stratum to have drawn next, None where the interval is narrow enough.

    In proportion to weight x s (Neyman 1934), no fewer than are drawn already and no more than there are.
    """
    if half_width(strata, right, drawn) <= precision:
        return None
    spreads = _spreads(strata, right, drawn)

    def sizes(scale: float) -> list[float]:
        return [
            min(max(n, scale * spread), len(stratum.places))
            for stratum, spread, n in zip(strata, spreads, drawn, strict=True)
        ]

    def excess(scale: float) -> float:
        return _half_width(strata, spreads, sizes(scale)) - _AIM * precision

    all_of_them = max(len(stratum.places) / spread for stratum, spread in zip(strata, spreads, strict=True))
    wanted = sizes(brentq(excess, 0.0, all_of_them))
    return [min(math.ceil(size), _GROWTH * n) for size, n in zip(wanted, drawn, strict=True)]


def _spreads(strata: Sequence[Stratum], right: Sequence[int], drawn: Sequence[int]) -> list[float]:
    """Return weight x s of every stratum."""
    chances = [(k + 2) / (n + 4) for k, n in zip(right, drawn, strict=True)]
    return [stratum.weight * math.sqrt(p * (1 - p)) for stratum, p in zip(strata, chances, strict=True)]


def _half_width(strata: Sequence[Stratum], spreads: Sequence[float], sizes: Sequence[float]) -> float:
    parts = [
        (spread**2 * (1 / size - 1 / len(stratum.places)), size - 1)
        for stratum, spread, size in zip(strata, spreads, sizes, strict=True)
    ]
    variance = sum(part for part, _ in parts)
    if variance <= 0:
        return 0.0
    return float(student.ppf(0.975, welch_satterthwaite(parts))) * math.sqrt(variance)
