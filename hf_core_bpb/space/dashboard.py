"""The CORE dashboard: accuracies in, centered scores and CORE out, beside models that are published (pure)."""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_core_bpb.data.task_files import list_tasks, members
from hf_core_bpb.errors import InputError
from hf_core_bpb.metrics.core import AccuracyScores, score_accuracies


@dataclass(frozen=True, slots=True)
class Published:
    """CORE as its authors print it, by version of the baselines, None where they print none."""

    model: str
    v1: float
    v2: float | None
    source: str


def read_published() -> list[Published]:
    """Return the published models, lowest CORE first."""
    with (Path(__file__).parent / "published.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            Published(row["model"], float(row["v1"]), float(row["v2"]) if row["v2"] else None, row["source"])
            for row in csv.DictReader(file)
        ]
    return sorted(rows, key=lambda row: row.v1)


def guessing(suite: str) -> str:
    """Return the lines of a suite with what guessing gives, to be written over."""
    return "\n".join(f"{task.name}, {task.baselines['v1']:g}" for task in members(list_tasks(), suite))


def read_lines(text: str) -> AccuracyScores:
    """Return the scores of lines of a task's name and its accuracy, a fraction or a percentage with its sign.

    Raises InputError with the number of the line that does not fit.
    """
    accuracies: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = re.sub(r"[,;:\t\"']", " ", line).replace(" %", "%").split()
        if not words:
            continue
        if len(words) != 2:
            raise InputError(f"line {number}: expected a task and its accuracy, got {line.strip()[:60]!r}")
        name, written = words
        if name in accuracies:
            raise InputError(f"line {number}: expected each task once, got {name} again")
        try:
            accuracies[name] = float(written.removesuffix("%")) / (100 if written.endswith("%") else 1)
        except ValueError:
            raise InputError(f"line {number}: expected a number for {name}, got {written[:40]!r}") from None
    return score_accuracies(accuracies)


def lines_of_results(content: str) -> str:
    """Return the lines of a results.json. Raises InputError for a file that is none."""
    try:
        tasks: Any = json.loads(content)["core"]["tasks"]
        lines = [f"{name}, {float(task['accuracy']):.6f}" for name, task in tasks.items()]
        read_lines("\n".join(lines))
        return "\n".join(lines)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise InputError("results.json: expected one with the accuracies of CORE's tasks, got something else") from None


def table(scores: AccuracyScores) -> list[list[str]]:
    """Return a row for each task: accuracy, and centered score by both versions with the baseline behind it."""
    v1, v2 = scores.centered("v1"), scores.centered("v2")
    baselines = {name: task.baselines for name, task in scores.tasks.items()}
    return [
        [
            name,
            f"{accuracy:.4f}",
            f"{v1[name]:+.4f} ({baselines[name]['v1']:.3f})",
            f"{v2[name]:+.4f} ({baselines[name]['v2']:.3f})",
        ]
        for name, accuracy in scores.accuracies.items()
    ]


def headline(scores: AccuracyScores) -> str:
    """Return what the accuracies amount to, and what that may be called."""
    v1, v2 = scores.core_by("v1"), scores.core_by("v2")
    if scores.suite == "core-22":
        return f"## CORE {v1:.4f} (v1), {v2:.4f} (v2)"
    called = f"the mean of {scores.suite}" if scores.suite else f"the mean of {len(scores.accuracies)} tasks"
    return (
        f"## {v1:.4f} (v1), {v2:.4f} (v2)\n{called}, which is not CORE: that is the mean over all of DCLM's 22 tasks."
    )


def beside(scores: AccuracyScores) -> Mapping[str, float]:
    """Return CORE (v1) by model, these accuracies among the published; empty where they are not CORE's tasks."""
    if scores.suite != "core-22":
        return {}
    known = {row.model: row.v1 for row in read_published()}
    return dict(sorted({**known, "yours": scores.core_by("v1")}.items(), key=lambda item: item[1]))
