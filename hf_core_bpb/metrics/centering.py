"""Centering: accuracies to the scale on which guessing is 0 and perfection 1 (DCLM, arXiv:2406.11794)."""

from collections.abc import Iterable, Mapping


def centered_accuracy(accuracy: float, baseline: float) -> float:
    """Return (accuracy - baseline) / (1 - baseline), all as fractions."""
    return (accuracy - baseline) / (1 - baseline)


def unweighted_mean(values: Iterable[float]) -> float:
    """Return the mean in which every value counts the same; raises ZeroDivisionError for none."""
    held = list(values)
    return sum(held) / len(held)


def mean_centered(accuracies: Mapping[str, float], baselines: Mapping[str, float]) -> float:
    """Return the unweighted mean of the centered accuracies, by task: CORE where the tasks are its 22."""
    return unweighted_mean(centered_accuracy(accuracies[name], baselines[name]) for name in accuracies)
