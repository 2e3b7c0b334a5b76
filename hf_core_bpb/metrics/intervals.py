"""Intervals of 95 % by resampling what was scored: documents, and items within their tasks (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm
from scipy.stats import t as student

from hf_core_bpb.metrics.results import CoreResult, TaskResult
from hf_core_bpb.types import Baselines, Scored

Interval = tuple[float, float]

SEED = 1234
RESAMPLES = 1000
# Of fewer, resampling holds the truth far less often than it says.
FEWEST_DOCUMENTS = 5
_RESAMPLES_OF_ITEMS = 10_000


def bpb_ci95(documents: Sequence[Scored], seed: int = SEED) -> Interval | None:
    """Return the interval of bits per byte over documents, None below five that have bytes.

    Documents are drawn anew 1,000 times, each with its nats and bytes; of the ratios the quantiles are taken
    that a t distribution of so many documents asks for (Hesterberg 2015, arXiv:1411.5279, expanded percentiles).
    """
    count = len(documents)
    if sum(document.num_bytes > 0 for document in documents) < FEWEST_DOCUMENTS:
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
    low, high = np.quantile(ratios, expanded_quantiles(count - 1, count / (count - 1)))
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Share:
    """So many right answers of so many, as a part of a mean: `weight` is what a whole accuracy of it counts."""

    num_right: int
    num_items: int
    weight: float = 1.0


def shares_ci95(shares: Sequence[Share], seed: int = SEED) -> Interval:
    """Return the interval of sum(weight x accuracy) over shares, each of which is resampled by itself.

    The number of right answers among items drawn anew is binomial; drawn with (right + 1/2) / (items + 1), so
    that no share is taken to be certain, and around the accuracy seen; of a single share without a right or a
    wrong answer with (right + 1) / (items + 2), which gives the rule of three. The quantiles are those that a t
    distribution asks for, whose degrees of freedom follow Welch and Satterthwaite. The sum alone is kept within
    what it can be: shares near 0 that were each kept above it would move the whole interval up.
    """
    if len(shares) == 1 and shares[0].num_right in (0, shares[0].num_items):
        return _extreme(shares[0])
    rng = np.random.default_rng(seed)
    total = np.zeros(_RESAMPLES_OF_ITEMS)
    seen = 0.0
    variances: list[tuple[float, int]] = []
    for share in shares:
        chance = (share.num_right + 0.5) / (share.num_items + 1)
        drawn = rng.binomial(share.num_items, chance, _RESAMPLES_OF_ITEMS) / share.num_items
        accuracy = share.num_right / share.num_items
        total += share.weight * (accuracy + drawn - chance)
        seen += share.weight * accuracy
        variances.append((share.weight**2 * chance * (1 - chance) / share.num_items, share.num_items - 1))
    freedom = sum(v for v, _ in variances) ** 2 / sum(v**2 / max(df, 1) for v, df in variances)
    low, high = np.quantile(total, expanded_quantiles(max(freedom, 1.0), 1.0))
    highest = sum(share.weight for share in shares)
    return min(max(float(low), 0.0), seen), max(min(float(high), highest), seen)


def _extreme(share: Share) -> Interval:
    chance = (share.num_right + 1) / (share.num_items + 2)
    low, high = (float(binom.ppf(q, share.num_items, chance)) / share.num_items for q in (0.025, 0.975))
    accuracy = share.num_right / share.num_items
    return share.weight * min(low, accuracy), share.weight * max(high, accuracy)


def expanded_quantiles(freedom: float, inflation: float) -> Interval:
    """Return the quantiles of a bootstrap that make an interval of 95 %, its variance being short by `inflation`."""
    reach = math.sqrt(inflation) * float(student.ppf(0.975, freedom))
    return float(norm.cdf(-reach)), float(norm.cdf(reach))


def accuracy_ci95(result: TaskResult, seed: int = SEED) -> Interval:
    """Return the interval of a task's accuracy over its items, by category where it has some."""
    low, high = shares_ci95(_shares(result, 1.0), seed)
    # Sums in another order differ in the last digit.
    return min(low, result.accuracy), max(high, result.accuracy)


def core_ci95(core: CoreResult, version: Baselines, seed: int = SEED) -> Interval:
    """Return the interval of the mean centered accuracy over the items of every task."""
    tasks = core.tasks.values()
    weights = [1 / (len(tasks) * (1 - result.task.baselines[version])) for result in tasks]
    shares = [share for r, weight in zip(tasks, weights, strict=True) for share in _shares(r, weight)]
    guessing = sum(r.task.baselines[version] * weight for r, weight in zip(tasks, weights, strict=True))
    low, high = shares_ci95(shares, seed)
    return low - guessing, high - guessing


def _shares(result: TaskResult, weight: float) -> list[Share]:
    verdicts: dict[str, list[bool]] = {}
    for item in result.items:
        verdicts.setdefault(item.category, []).append(item.correct)
    return [Share(sum(held), len(held), weight / len(verdicts)) for held in verdicts.values()]


def least_difference(interval: Interval) -> float:
    """Return the smallest difference of two independent numbers of such intervals that is told apart at 95 %."""
    low, high = interval
    return math.sqrt(2) * (high - low) / 2
