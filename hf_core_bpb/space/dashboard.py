"""The CORE dashboard: centers given accuracies and compares their CORE with published models (pure)."""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_core_bpb.data.task_files import list_tasks, suite_tasks
from hf_core_bpb.errors import InputError
from hf_core_bpb.metrics.core import AccuracyScores, score_accuracies


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """CORE as published by its authors, by version of the baselines; v2 is None where it is unpublished."""

    model: str
    v1: float
    v2: float | None
    source: str


def read_published() -> list[PublishedModel]:
    """Return the published models, lowest CORE first."""
    with (Path(__file__).parent / "published.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            PublishedModel(row["model"], float(row["v1"]), float(row["v2"]) if row["v2"] else None, row["source"])
            for row in csv.DictReader(file)
        ]
    return sorted(rows, key=lambda row: row.v1)


def baseline_lines(suite: str) -> str:
    """Return one line per task of a suite with its random baseline, as a form to overwrite."""
    return "\n".join(f"{task.name}, {task.baselines['v1']:g}" for task in suite_tasks(list_tasks(), suite))


def read_lines(text: str) -> AccuracyScores:
    """Parse lines of a task name and its accuracy, a fraction or a percentage with its sign.

    Raises InputError with the number of the invalid line.
    """
    accuracies: dict[str, float] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = re.sub(r"[,;:\t\"']", " ", line).replace(" %", "%").split()
        if not words:
            continue
        if len(words) != 2:
            raise InputError(f"line {number}: expected a task and its accuracy, got {line.strip()[:60]!r}")
        name, accuracy = words
        if name in accuracies:
            raise InputError(f"line {number}: expected each task once, got {name} again")
        try:
            accuracies[name] = float(accuracy.removesuffix("%")) / (100 if accuracy.endswith("%") else 1)
        except ValueError:
            raise InputError(f"line {number}: expected a number for {name}, got {accuracy[:40]!r}") from None
    return score_accuracies(accuracies)


def lines_from_results(content: str) -> str:
    """Return the task lines of a results.json. Raises InputError for any other content."""
    try:
        tasks: Any = json.loads(content)["core"]["tasks"]
        lines = [f"{name}, {float(task['accuracy']):.6f}" for name, task in tasks.items()]
        read_lines("\n".join(lines))
        return "\n".join(lines)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise InputError("results.json: expected the accuracies of CORE tasks, got something else") from None


def score_table(scores: AccuracyScores) -> list[list[str]]:
    """Return one row per task: accuracy, and the centered score with its baseline by both versions."""
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
    """Return the mean centered accuracies as a heading, called CORE only for all of its tasks."""
    v1, v2 = scores.core_by("v1"), scores.core_by("v2")
    if scores.suite == "core-22":
        return f"## CORE {v1:.4f} (v1), {v2:.4f} (v2)"
    tasks = scores.suite or f"{len(scores.accuracies)} tasks"
    return f"## {v1:.4f} (v1), {v2:.4f} (v2)\nThis is the mean of {tasks}, not CORE, the mean of all 22 tasks of DCLM."


def compare_with_published(scores: AccuracyScores) -> Mapping[str, float]:
    """Return CORE (v1) by model, for these accuracies and the published models; empty for other tasks than CORE's."""
    if scores.suite != "core-22":
        return {}
    published = {row.model: row.v1 for row in read_published()}
    return dict(sorted({**published, "yours": scores.core_by("v1")}.items(), key=lambda item: item[1]))
