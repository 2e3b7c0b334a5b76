"""Differences of paired verdicts and losses, with intervals and p-values (pure)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_core_bpb.metrics.intervals import FEWEST_DOCUMENTS, Interval, expanded_quantiles

Array = npt.NDArray[Any]

SEED = 1234
RESAMPLES = 10_000
DOCUMENT_RESAMPLES = 2_000
# Two statistics of a randomisation that differ by less are the same one, in another order of addition.
_SAME = 1e-12


@dataclass(frozen=True, slots=True)
class Difference:
    """A number of two runs, the second less the first.

    p_value: of a randomisation in which every item (document) changes sides at random. p_holm: corrected for
    all tasks that are looked at. won, lost: items that only the second, only the first has right.
    """

    name: str
    before: float
    after: float
    difference: float
    ci95: Interval | None
    p_value: float | None
    p_holm: float | None = None
    won: tuple[int, ...] = ()
    lost: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PairedShare:
    """Items of which so many only the second run has right, and so many only the first; `weight` of an accuracy."""

    num_won: int
    num_lost: int
    num_items: int
    weight: float = 1.0

    @property
    def difference(self) -> float:
        """The weighted difference of accuracies."""
        return self.weight * (self.num_won - self.num_lost) / self.num_items


def compare_shares(shares: Sequence[PairedShare], seed: int = SEED) -> tuple[float, Interval, float]:
    """Return the difference of a weighted sum of accuracies, its interval of 95 %, and its p-value.

    Interval: items drawn anew within their share, of which every kind counts a third more than was seen, so
    that nothing is taken to be certain; around the difference seen. p-value: items that only one run has right
    are given to either at random (the exact McNemar test in the limit of one share and all draws).
    """
    rng = np.random.default_rng(seed)
    seen = sum(share.difference for share in shares)
    drawn_R, flipped_R = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    variances: list[tuple[float, int]] = []
    for share in shares:
        count = share.num_items
        chances = np.array([share.num_won, share.num_lost, count - share.num_won - share.num_lost]) + 1 / 3
        chances /= chances.sum()
        counts_Rx3 = rng.multinomial(count, chances, RESAMPLES)
        around = (counts_Rx3[:, 0] - counts_Rx3[:, 1]) / count - (chances[0] - chances[1])
        drawn_R += share.difference + share.weight * around
        discordant = share.num_won + share.num_lost
        flipped_R += share.weight * (2 * rng.binomial(discordant, 0.5, RESAMPLES) - discordant) / count
        variance = chances[0] + chances[1] - (chances[0] - chances[1]) ** 2
        variances.append((share.weight**2 * variance / count, count - 1))
    freedom = sum(v for v, _ in variances) ** 2 / sum(v**2 / max(df, 1) for v, df in variances)
    low, high = np.quantile(drawn_R, expanded_quantiles(max(freedom, 1.0), 1.0))
    return seen, (min(float(low), seen), max(float(high), seen)), _p_value(flipped_R, seen)


def compare_documents(
    nats_before: Array, nats_after: Array, num_bytes: Array, seed: int = SEED
) -> tuple[float, Interval | None, float | None]:
    """Return the difference of bits per byte of the same documents, its interval of 95 %, and its p-value.

    Each (N,). Documents are drawn anew with both of their losses; for the p-value their losses change sides
    at random. None below two documents, and for the interval below five.
    """
    scale = math.log(2) * float(num_bytes.sum())
    change_N = nats_after - nats_before
    seen = float(change_N.sum()) / scale
    count = len(change_N)
    if count < 2:
        return seen, None, None
    rng = np.random.default_rng(seed)
    drawn = []
    flipped_R = np.zeros(RESAMPLES)
    for number in range(RESAMPLES):
        if number < DOCUMENT_RESAMPLES:
            places = rng.integers(0, count, count)
            # Documents of no bytes can be all that was drawn.
            if (total := num_bytes[places].sum()) > 0:
                drawn.append(change_N[places].sum() / (math.log(2) * total))
        flipped_R[number] = change_N[rng.random(count) < 0.5].sum() * 2 - change_N.sum()
    interval = None
    if (num_bytes > 0).sum() >= FEWEST_DOCUMENTS:
        low, high = np.quantile(drawn, expanded_quantiles(count - 1, count / (count - 1)))
        interval = float(low), float(high)
    return seen, interval, _p_value(flipped_R / scale, seen)


def _p_value(flipped_R: Array, seen: float) -> float:
    """Return the share of randomisations, the one seen among them, that are as far from 0."""
    return float((1 + (np.abs(flipped_R) >= abs(seen) - _SAME).sum()) / (1 + len(flipped_R)))


def correct_by_holm(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with p-values that hold for all of them together (Holm 1979)."""
    order = sorted(range(len(differences)), key=lambda i: _sort_key(differences[i]))
    corrected: dict[int, float | None] = {}
    highest = 0.0
    for rank, place in enumerate(order):
        p = differences[place].p_value
        if p is None:
            corrected[place] = None
            continue
        highest = max(highest, min(1.0, (len(differences) - rank) * p))
        corrected[place] = highest
    return [replace(difference, p_holm=corrected[i]) for i, difference in enumerate(differences)]


def _sort_key(difference: Difference) -> float:
    return math.inf if difference.p_value is None else difference.p_value


def pair_shares(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], weight: float
) -> tuple[list[PairedShare], tuple[int, ...], tuple[int, ...]]:
    """Return a task's shares by category, and the items that only the second, only the first run has right."""
    won = tuple(b["index"] for a, b in zip(before, after, strict=True) if b["correct"] and not a["correct"])
    lost = tuple(b["index"] for a, b in zip(before, after, strict=True) if a["correct"] and not b["correct"])
    is_won, is_lost = set(won), set(lost)
    categories: dict[str, list[int]] = {}
    for row in after:
        categories.setdefault(row.get("category", ""), []).append(row["index"])
    shares = [
        PairedShare(len(is_won & set(held)), len(is_lost & set(held)), len(held), weight / len(categories))
        for held in categories.values()
    ]
    return shares, won, lost
