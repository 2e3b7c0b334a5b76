"""Differences between two runs of one recipe; runs of different recipes are rejected."""

from dataclasses import dataclass

import numpy as np

from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.metrics.centering import core_weight, unweighted_mean
from hf_core_bpb.metrics.grouping import group_by
from hf_core_bpb.metrics.paired import (
    Difference,
    PairedShare,
    compare_documents,
    compare_shares,
    correct_by_holm,
    pair_shares,
)
from hf_core_bpb.results.saved import Rows, SavedRun

# Recipe fields that belong to the model or change numbers only by rounding: noted, not rejected.
_MODEL_FIELDS = (
    "first", "dtype", "tokenizer", "version", "quantization", "adapter", "gguf", "attention", "compiled", "remote-code",
    "batch-tokens", "processes",
)  # fmt: skip
# Recipe fields of the sample: runs are compared on the items that both scored, drawn at random by each.
_SAMPLE_FIELDS = ("precision",)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences of a run from an earlier one: CORE, its tasks and bits per byte by text; notes on the recipes."""

    before: SavedRun
    after: SavedRun
    core: Difference | None
    tasks: list[Difference]
    texts: list[Difference]
    notes: list[str]


def compare_runs(before: SavedRun, after: SavedRun, only: str | None = None) -> Comparison:
    """Return the differences between two runs, second minus first.

    only: "core" or "bpb", None for both. Raises InputError if the runs are not comparable.
    """
    notes = check_recipes(before, after, only)
    try:
        return _compare(before, after, only, notes)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise InputError(
            f"compare: damaged results or samples in {before.folder} or {after.folder}: "
            f"{type(error).__name__} {reason(error)}"
        ) from None


def _compare(before: SavedRun, after: SavedRun, only: str | None, notes: list[str]) -> Comparison:
    core: Difference | None = None
    tasks: list[Difference] = []
    if only != "bpb" and before.items and after.items:
        core, tasks, sample_notes = _compare_core(before, after)
        notes += sample_notes
    texts = _compare_texts(before, after) if only != "core" else []
    return Comparison(before, after, core, tasks, texts, notes)


def check_recipes(before: SavedRun, after: SavedRun, only: str | None) -> list[str]:
    """Return notes on harmless differences between recipes. Raises InputError for differences that matter."""
    first, second = (
        {name: recipe for name, recipe in run.recipes.items() if only is None or name.split(" ")[0] == only}
        for run in (before, after)
    )
    if set(first) != set(second) or not first:
        raise InputError(
            f"compare: expected the same evaluations in {before.folder} and {after.folder}, "
            f"got {', '.join(first) or 'none'} and {', '.join(second) or 'none'}"
            + ("" if only is not None else "; `only` core or `only` bpb compares one of the two")
        )
    notes: list[str] = []
    wrong: list[str] = []
    for name, recipe in first.items():
        for field in {**recipe, **second[name]}:
            values = (recipe.get(field), second[name].get(field))
            if values[0] != values[1]:
                difference = f"{name} {field}: {values[0]} and {values[1]}"
                if field in _MODEL_FIELDS:
                    notes.append(f"Recipes differ in a property of the model: {difference}")
                elif field not in _SAMPLE_FIELDS:
                    wrong.append(difference)
    if wrong:
        raise InputError(
            f"compare: expected runs with the same recipe in {before.folder} and {after.folder}, got {'; '.join(wrong)}"
        )
    return notes


def _shared_items(before: SavedRun, after: SavedRun) -> dict[str, tuple[Rows, Rows]]:
    """Return each task's items in both runs; if a run is sampled, only the items that both drew."""
    is_sampled = any("sample" in run.results["core"] for run in (before, after))
    paired = {}
    for name in before.results["core"]["tasks"]:
        first, second = before.items[name], after.items[name]
        if is_sampled:
            drawn = [{row["index"] for row in rows} for rows in (first, second)]
            first, second = ([row for row in rows if row["index"] in drawn[0] & drawn[1]] for rows in (first, second))
        if [(r["index"], r.get("gold")) for r in first] != [(r["index"], r.get("gold")) for r in second]:
            raise InputError(f"compare: expected the same items of {name} in both runs, got different ones")
        paired[name] = first, second
    return paired


def _compare_core(before: SavedRun, after: SavedRun) -> tuple[Difference, list[Difference], list[str]]:
    tasks = before.results["core"]["tasks"]
    differences = []
    all_shares: list[PairedShare] = []
    cores = [0.0, 0.0]
    paired = _shared_items(before, after)
    for name, rows in paired.items():
        shares, won, lost = pair_shares(*rows, weight=1.0)
        first, second = accuracies = [_accuracy(run_rows) for run_rows in rows]
        differences.append(Difference(name, first, second, *compare_shares(shares), None, won, lost))
        baseline = tasks[name]["random_baseline"]
        weight = core_weight(len(tasks), baseline)
        all_shares += pair_shares(*rows, weight=weight)[0]
        cores = [core + weight * (accuracy - baseline) for core, accuracy in zip(cores, accuracies, strict=True)]
    first, second = cores
    core = Difference(before.results["core"]["suite"], first, second, *compare_shares(all_shares))
    compared = sum(len(rows) for rows, _ in paired.values())
    scored = [sum(map(len, run.items.values())) for run in (before, after)]
    notes = [f"Compared: the {compared:,} items that both runs scored, of {scored[0]:,} and {scored[1]:,}"]
    return core, correct_by_holm(differences), notes if {compared} != set(scored) else []


def _accuracy(rows: Rows) -> float:
    groups = group_by((row.get("category", "") for row in rows), (row["correct"] for row in rows))
    return unweighted_mean(map(unweighted_mean, groups.values()))


def _compare_texts(before: SavedRun, after: SavedRun) -> list[Difference]:
    differences = []
    for name in before.documents:
        rows = before.documents[name], after.documents[name]
        sizes = [[(row["index"], row["bytes"]) for row in run_rows] for run_rows in rows]
        if sizes[0] != sizes[1]:
            raise InputError(f"compare: expected the same documents of {name} in both runs, got other sizes in bytes")
        nats_before, nats_after = (np.array([row["nats"] for row in run_rows]) for run_rows in rows)
        num_bytes = np.array([row["bytes"] for row in rows[0]], dtype=float)
        first, second = (float(run.results["bpb"][name]["bpb"]) for run in (before, after))
        differences.append(Difference(name, first, second, *compare_documents(nats_before, nats_after, num_bytes)))
    return differences
