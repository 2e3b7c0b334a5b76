"""95% intervals by resampling: documents, and items within their tasks (pure)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm
from scipy.stats import t as student

from hf_core_bpb.metrics.centering import core_weight
from hf_core_bpb.metrics.grouping import group_by
from hf_core_bpb.metrics.results import CoreResult, TaskResult
from hf_core_bpb.types import Baselines, Scored

Interval = tuple[float, float]

SEED = 1234
RESAMPLES = 1000
# With fewer, bootstrap intervals cover the true value far less often than 95% of the time.
FEWEST_DOCUMENTS = 5
_ITEM_RESAMPLES = 10_000


def bpb_ci95(documents: Sequence[Scored], seed: int = SEED) -> Interval | None:
    """Return the interval of bits per byte over documents, None with fewer than five that have bytes.

    Bootstrap of 1,000 resamples of whole documents (nats and bytes together), with the expanded percentiles of
    Hesterberg 2015 (arXiv:1411.5279): quantiles wide enough for a t distribution.
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
        # A resample can consist of empty documents alone.
        if (total := sizes[drawn].sum()) > 0:
            ratios.append(nats[drawn].sum() / (math.log(2) * total))
    low, high = np.quantile(ratios, expanded_quantiles(count - 1, count / (count - 1)))
    return float(low), float(high)


@dataclass(frozen=True, slots=True)
class Share:
    """Correct items of a task or category; `weight` is the weight of its accuracy in a sum of accuracies."""

    num_correct: int
    num_items: int
    weight: float = 1.0


def shares_ci95(shares: Sequence[Share], seed: int = SEED) -> Interval:
    """Return the interval of sum(weight x accuracy) over shares, each resampled independently.

    A resampled count is binomial with probability (correct + 1/2) / (items + 1), so that no share is certain, and
    is shifted to the observed accuracy. A single share with all or no items correct uses (correct + 1) / (items + 2),
    which gives the rule of three. Quantiles: a t distribution's, with Welch-Satterthwaite degrees of freedom. Only
    the sum is clipped to its range: clipping shares near 0 one by one would shift the whole interval up.
    """
    if len(shares) == 1 and shares[0].num_correct in (0, shares[0].num_items):
        return _extreme_ci95(shares[0])
    rng = np.random.default_rng(seed)
    total = np.zeros(_ITEM_RESAMPLES)
    observed = 0.0
    variances: list[tuple[float, int]] = []
    for share in shares:
        chance = (share.num_correct + 0.5) / (share.num_items + 1)
        drawn = rng.binomial(share.num_items, chance, _ITEM_RESAMPLES) / share.num_items
        accuracy = share.num_correct / share.num_items
        total += share.weight * (accuracy + drawn - chance)
        observed += share.weight * accuracy
        variances.append((share.weight**2 * chance * (1 - chance) / share.num_items, share.num_items - 1))
    freedom = max(welch_satterthwaite(variances), 1.0)
    low, high = np.quantile(total, expanded_quantiles(freedom, 1.0))
    highest = sum(share.weight for share in shares)
    return min(max(float(low), 0.0), observed), max(min(float(high), highest), observed)


def _extreme_ci95(share: Share) -> Interval:
    chance = (share.num_correct + 1) / (share.num_items + 2)
    low, high = (float(binom.ppf(q, share.num_items, chance)) / share.num_items for q in (0.025, 0.975))
    accuracy = share.num_correct / share.num_items
    return share.weight * min(low, accuracy), share.weight * max(high, accuracy)


def welch_satterthwaite(variances: Iterable[tuple[float, float]]) -> float:
    """Return the degrees of freedom of a sum, given the variance and degrees of freedom (at least 1) of each term."""
    terms = list(variances)
    return sum(variance for variance, _ in terms) ** 2 / sum(variance**2 / max(df, 1) for variance, df in terms)


def expanded_quantiles(freedom: float, inflation: float) -> Interval:
    """Return the bootstrap quantiles that make a 95% interval when its variance is too small by `inflation`."""
    reach = math.sqrt(inflation) * float(student.ppf(0.975, freedom))
    return float(norm.cdf(-reach)), float(norm.cdf(reach))


def accuracy_ci95(result: TaskResult, seed: int = SEED) -> Interval:
    """Return the interval of a task's accuracy over its items, resampled within categories if it has any."""
    low, high = shares_ci95(_shares(result, 1.0), seed)
    # Another order of addition changes the last digit.
    return min(low, result.accuracy), max(high, result.accuracy)


def core_ci95(core: CoreResult, version: Baselines, seed: int = SEED) -> Interval:
    """Return the interval of the mean centered accuracy over the items of all tasks."""
    tasks = core.tasks.values()
    weights = [core_weight(len(tasks), result.task.baselines[version]) for result in tasks]
    shares = [share for r, weight in zip(tasks, weights, strict=True) for share in _shares(r, weight)]
    chance = sum(r.task.baselines[version] * weight for r, weight in zip(tasks, weights, strict=True))
    low, high = shares_ci95(shares, seed)
    return low - chance, high - chance


def _shares(result: TaskResult, weight: float) -> list[Share]:
    groups = group_by((item.category for item in result.items), (item.correct for item in result.items))
    return [Share(sum(group), len(group), weight / len(groups)) for group in groups.values()]


def least_difference(interval: Interval) -> float:
    """Return the smallest difference of two independent values with such intervals that is significant at 95%."""
    low, high = interval
    return math.sqrt(2) * (high - low) / 2
