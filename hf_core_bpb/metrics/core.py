"""Accuracies that somebody else has measured, to centered scores and CORE (pure, but for reading the task files)."""

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
    """Accuracies by task, as fractions, with the task files that they are centered by."""

    accuracies: Mapping[str, float]
    tasks: Mapping[str, Task]

    def centered(self, version: Baselines) -> dict[str, float]:
        """Return (accuracy - baseline) / (1 - baseline) by task."""
        return {
            name: centered_accuracy(value, self.tasks[name].baselines[version])
            for name, value in self.accuracies.items()
        }

    def core_by(self, version: Baselines) -> float:
        """Return the unweighted mean of the centered accuracies: CORE where the tasks are its 22."""
        return mean_centered(self.accuracies, {name: task.baselines[version] for name, task in self.tasks.items()})

    @property
    def suite(self) -> str | None:
        """The suite whose tasks these are, all of them and no others."""
        known = list_tasks()
        for suite in SUITES:
            if {task.name for task in suite_tasks(known, suite)} == set(self.accuracies):
                return suite
        return None


def score_accuracies(accuracies: Mapping[str, float]) -> AccuracyScores:
    """Return the scores of accuracies by task. Raises InputError for unknown tasks, none, and what is no fraction."""
    known = {task.name: task for task in list_tasks()}
    unknown = sorted(map(str, set(accuracies) - set(known)))
    if unknown or not accuracies:
        raise InputError(f"accuracies: expected tasks of {', '.join(known)}, got {', '.join(unknown) or 'none'}")
    read = {name: _fraction(name, value) for name, value in accuracies.items()}
    return AccuracyScores(read, {name: known[name] for name in read})


def _fraction(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, str | bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= 1:
        raise InputError(f"accuracies: expected fractions from 0 to 1, got {value!r} for {name}")
    return number


def check_baselines(version: Any) -> Baselines:
    """Return a version of the baselines. Raises InputError for one that there is not."""
    if version not in get_args(Baselines):
        raise InputError(f"baselines: expected one of {', '.join(get_args(Baselines))}, got {version!r}")
    return cast("Baselines", version)


def core_score(accuracies: Mapping[str, float], baselines: Baselines) -> float:
    """Return the mean centered accuracy of tasks by name, accuracies as fractions: CORE, given its 22 tasks.

    v1 are the baselines of DCLM's paper, v2 those of its repository since September 2025 (arXiv:2406.11794).
    Raises InputError for a task without a file, no task at all, and accuracies that are no fractions.
    """
    return score_accuracies(accuracies).core_by(baselines)
