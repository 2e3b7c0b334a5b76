"""Centered scores and CORE of given accuracies (pure, except that it reads the task files)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from hf_core_bpb.data.task_files import list_tasks, suite_tasks
from hf_core_bpb.errors import InputError
from hf_core_bpb.metrics.centering import centered_accuracy, mean_centered
from hf_core_bpb.types import Baselines, Task

SUITES = ("core-22", "core-11")


@dataclass(frozen=True, slots=True)
class AccuracyScores:
    """Accuracies by task, as fractions, with the task files that hold their baselines."""

    accuracies: Mapping[str, float]
    tasks: Mapping[str, Task]

    def centered(self, version: Baselines) -> dict[str, float]:
        """Return (accuracy - baseline) / (1 - baseline) by task."""
        return {
            name: centered_accuracy(value, self.tasks[name].baselines[version])
            for name, value in self.accuracies.items()
        }

    def core_by(self, version: Baselines) -> float:
        """Return the unweighted mean of the centered accuracies: CORE if the tasks are its 22."""
        return mean_centered(self.accuracies, {name: task.baselines[version] for name, task in self.tasks.items()})

    @property
    def suite(self) -> str | None:
        """The suite that has exactly these tasks."""
        known = list_tasks()
        for suite in SUITES:
            if {task.name for task in suite_tasks(known, suite)} == set(self.accuracies):
                return suite
        return None


def score_accuracies(accuracies: Mapping[str, float]) -> AccuracyScores:
    """Return the scores of accuracies by task. Raises InputError for unknown tasks, no tasks, and non-fractions."""
    known = {task.name: task for task in list_tasks()}
    unknown = sorted(map(str, set(accuracies) - set(known)))
    if unknown or not accuracies:
        raise InputError(f"accuracies: expected tasks of {', '.join(known)}, got {', '.join(unknown) or 'none'}")
    fractions = {name: _fraction(name, value) for name, value in accuracies.items()}
    return AccuracyScores(fractions, {name: known[name] for name in fractions})


def _fraction(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, str | bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= 1:
        raise InputError(f"accuracies: expected fractions from 0 to 1, got {value!r} for {name}")
    return number


def check_baselines(version: Any) -> Baselines:
    """Return a version of the baselines. Raises InputError for an unknown one."""
    if version not in get_args(Baselines):
        raise InputError(f"baselines: expected one of {', '.join(get_args(Baselines))}, got {version!r}")
    return cast("Baselines", version)


def core_score(accuracies: Mapping[str, float], baselines: Baselines) -> float:
    """Return the mean centered accuracy of accuracies by task, as fractions: CORE if the tasks are its 22.

    baselines: v1 as in DCLM's paper (arXiv:2406.11794), v2 as in its repository since September 2025.
    Raises InputError for unknown tasks, no tasks, and accuracies that are not fractions.
    """
    return score_accuracies(accuracies).core_by(baselines)
