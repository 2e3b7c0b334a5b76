"""Centering: accuracies on a scale where 0 is chance and 1 is perfect (DCLM, arXiv:2406.11794)."""

from collections.abc import Iterable, Mapping


def centered_accuracy(accuracy: float, baseline: float) -> float:
    """Return (accuracy - baseline) / (1 - baseline), all as fractions."""
    return (accuracy - baseline) / (1 - baseline)


def core_weight(num_tasks: int, baseline: float, num_categories: int = 1) -> float:
    """Return the change of CORE per unit of accuracy in one task, or in one of its categories."""
    return 1 / (num_tasks * num_categories * (1 - baseline))


def unweighted_mean(values: Iterable[float]) -> float:
    """Return the mean in which every value counts the same. Raises ZeroDivisionError for no values."""
    numbers = list(values)
    return sum(numbers) / len(numbers)


def mean_centered(accuracies: Mapping[str, float], baselines: Mapping[str, float]) -> float:
    """Return the unweighted mean of the centered accuracies, by task: CORE if the tasks are its 22."""
    return unweighted_mean(centered_accuracy(accuracies[name], baselines[name]) for name in accuracies)
