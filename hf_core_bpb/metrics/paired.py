"""Paired differences of correct items and of losses, with intervals and p-values (pure)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_core_bpb.metrics.grouping import group_by
from hf_core_bpb.metrics.intervals import FEWEST_DOCUMENTS, Interval, expanded_quantiles, welch_satterthwaite

Array = npt.NDArray[Any]

SEED = 1234
RESAMPLES = 10_000
DOCUMENT_RESAMPLES = 2_000
# Permutation statistics that differ by less are equal: another order of addition changes the last digits.
_TOLERANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of one number between two runs, second minus first.

    p_value: from a permutation test that swaps the runs at random in each item (document). p_holm: corrected for
    the number of tasks. won, lost: indices of items that only the second run, only the first run answers correctly.
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
    """Items that only the second run (won) or only the first run (lost) answers correctly, of a task or category.

    weight: the weight of its accuracy in a sum of accuracies.
    """

    num_won: int
    num_lost: int
    num_items: int
    weight: float = 1.0

    @property
    def difference(self) -> float:
        """The weighted difference of accuracies."""
        return self.weight * (self.num_won - self.num_lost) / self.num_items


def compare_shares(shares: Sequence[PairedShare], seed: int = SEED) -> tuple[float, Interval, float]:
    """Return the difference of a weighted sum of accuracies, its 95% interval and its p-value.

    Interval: items resampled within each share, with 1/3 added to the counts of won, lost and tied items so that
    nothing is certain; centered on the observed difference. p-value: won and lost items swap sides at random (with
    one share and all permutations, the exact McNemar test).
    """
    rng = np.random.default_rng(seed)
    observed = sum(share.difference for share in shares)
    drawn_R, flipped_R = np.zeros(RESAMPLES), np.zeros(RESAMPLES)
    variances: list[tuple[float, int]] = []
    for share in shares:
        count = share.num_items
        chances = np.array([share.num_won, share.num_lost, count - share.num_won - share.num_lost]) + 1 / 3
        chances /= chances.sum()
        counts_Rx3 = rng.multinomial(count, chances, RESAMPLES)
        deviations_R = (counts_Rx3[:, 0] - counts_Rx3[:, 1]) / count - (chances[0] - chances[1])
        drawn_R += share.difference + share.weight * deviations_R
        discordant = share.num_won + share.num_lost
        flipped_R += share.weight * (2 * rng.binomial(discordant, 0.5, RESAMPLES) - discordant) / count
        variance = chances[0] + chances[1] - (chances[0] - chances[1]) ** 2
        variances.append((share.weight**2 * variance / count, count - 1))
    freedom = max(welch_satterthwaite(variances), 1.0)
    low, high = np.quantile(drawn_R, expanded_quantiles(freedom, 1.0))
    return observed, (min(float(low), observed), max(float(high), observed)), _p_value(flipped_R, observed)


def compare_documents(
    nats_before: Array, nats_after: Array, num_bytes: Array, seed: int = SEED
) -> tuple[float, Interval | None, float | None]:
    """Return the difference of bits per byte of the same documents, its 95% interval and its p-value.

    Arrays are (N,). Whole documents are resampled with both of their losses; for the p-value the two losses swap at
    random. No p-value for fewer than two documents, no interval for fewer than five.
    """
    scale = math.log(2) * float(num_bytes.sum())
    change_N = nats_after - nats_before
    observed = float(change_N.sum()) / scale
    count = len(change_N)
    if count < 2:
        return observed, None, None
    rng = np.random.default_rng(seed)
    drawn = []
    flipped_R = np.zeros(RESAMPLES)
    for resample in range(RESAMPLES):
        if resample < DOCUMENT_RESAMPLES:
            indices = rng.integers(0, count, count)
            # A resample can consist of empty documents alone.
            if (total := num_bytes[indices].sum()) > 0:
                drawn.append(change_N[indices].sum() / (math.log(2) * total))
        flipped_R[resample] = change_N[rng.random(count) < 0.5].sum() * 2 - change_N.sum()
    interval = None
    if (num_bytes > 0).sum() >= FEWEST_DOCUMENTS:
        low, high = np.quantile(drawn, expanded_quantiles(count - 1, count / (count - 1)))
        interval = float(low), float(high)
    return observed, interval, _p_value(flipped_R / scale, observed)


def _p_value(flipped_R: Array, observed: float) -> float:
    """Return the share of permutations, including the observed one, that are at least as far from 0."""
    return float((1 + (np.abs(flipped_R) >= abs(observed) - _TOLERANCE).sum()) / (1 + len(flipped_R)))


def correct_by_holm(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with p-values corrected for multiple comparisons (Holm 1979)."""
    order = sorted(range(len(differences)), key=lambda i: _sort_key(differences[i]))
    corrected: dict[int, float | None] = {}
    highest = 0.0
    for rank, index in enumerate(order):
        p = differences[index].p_value
        if p is None:
            corrected[index] = None
            continue
        highest = max(highest, min(1.0, (len(differences) - rank) * p))
        corrected[index] = highest
    return [replace(difference, p_holm=corrected[i]) for i, difference in enumerate(differences)]


def _sort_key(difference: Difference) -> float:
    return math.inf if difference.p_value is None else difference.p_value


def pair_shares(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], weight: float
) -> tuple[list[PairedShare], tuple[int, ...], tuple[int, ...]]:
    """Return a task's shares by category, and the indices of the items won and lost by the second run."""
    won = tuple(b["index"] for a, b in zip(before, after, strict=True) if b["correct"] and not a["correct"])
    lost = tuple(b["index"] for a, b in zip(before, after, strict=True) if a["correct"] and not b["correct"])
    is_won, is_lost = set(won), set(lost)
    groups = group_by((row.get("category", "") for row in after), (row["index"] for row in after))
    shares = [
        PairedShare(len(is_won & set(group)), len(is_lost & set(group)), len(group), weight / len(groups))
        for group in groups.values()
    ]
    return shares, won, lost
