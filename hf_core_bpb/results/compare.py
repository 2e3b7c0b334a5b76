"""Two runs of one recipe, and how their numbers differ; runs of different recipes are refused."""

from dataclasses import dataclass

import numpy as np

from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.metrics.centering import unweighted_mean
from hf_core_bpb.metrics.paired import (
    Difference,
    PairedShare,
    compare_documents,
    compare_shares,
    correct_by_holm,
    pair_shares,
)
from hf_core_bpb.results.saved import Rows, SavedRun

# What is a model's own, or changes no number by more than rounding: said, and no reason to refuse.
_OF_THE_MODEL = (
    "first", "dtype", "tokenizer", "version", "quantization", "adapter", "gguf", "attention", "compiled", "remote-code",
    "batch-tokens", "processes",
)  # fmt: skip
# Only what both have scored is compared, and each drew it at random.
_OF_THE_SAMPLE = ("precision",)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a run differs from another: CORE, its tasks, bits per byte by text, and recipes that differ harmlessly."""

    before: SavedRun
    after: SavedRun
    core: Difference | None
    tasks: list[Difference]
    texts: list[Difference]
    notes: list[str]


def compare_runs(before: SavedRun, after: SavedRun, only: str | None = None) -> Comparison:
    """Return the differences of the second run from the first, of `core`, of `bpb` or of both.

    Raises InputError, with reasons, where the runs share nothing that can be compared.
    """
    notes = check_recipes(before, after, only)
    try:
        return _compare(before, after, only, notes)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise InputError(
            f"compare: expected results and samples as they were written in {before.folder} and {after.folder}, "
            f"got: {type(error).__name__} {reason(error)}"
        ) from None


def _compare(before: SavedRun, after: SavedRun, only: str | None, notes: list[str]) -> Comparison:
    core: Difference | None = None
    tasks: list[Difference] = []
    if only != "bpb" and before.items and after.items:
        core, tasks, said = _compare_core(before, after)
        notes += said
    texts = _compare_texts(before, after) if only != "core" else []
    return Comparison(before, after, core, tasks, texts, notes)


def check_recipes(before: SavedRun, after: SavedRun, only: str | None) -> list[str]:
    """Return what differs and does not matter. Raises InputError for what does."""
    first, second = (
        {name: recipe for name, recipe in run.recipes.items() if only is None or name.split(" ")[0] == only}
        for run in (before, after)
    )
    if set(first) != set(second) or not first:
        raise InputError(
            f"compare: expected runs of the same things in {before.folder} and {after.folder}, "
            f"got {', '.join(first) or 'none'} and {', '.join(second) or 'none'}"
            + ("" if only is not None else "; --only core or --only bpb compares one of the two")
        )
    notes: list[str] = []
    wrong: list[str] = []
    for name, recipe in first.items():
        for field in {**recipe, **second[name]}:
            values = (recipe.get(field), second[name].get(field))
            if values[0] != values[1]:
                said = f"{name} {field}: {values[0]} and {values[1]}"
                if field in _OF_THE_MODEL:
                    notes.append(f"Differs, and is the model's own: {said}")
                elif field not in _OF_THE_SAMPLE:
                    wrong.append(said)
    if wrong:
        raise InputError(
            f"compare: expected runs of one recipe in {before.folder} and {after.folder}, got {'; '.join(wrong)}"
        )
    return notes


def _in_both(before: SavedRun, after: SavedRun) -> dict[str, tuple[Rows, Rows]]:
    """Return the items of every task as both runs have them, of sampled runs those that both drew."""
    is_sampled = any("sample" in run.results["core"] for run in (before, after))
    paired = {}
    for name in before.results["core"]["tasks"]:
        first, second = before.items[name], after.items[name]
        if is_sampled:
            drawn = [{row["index"] for row in rows} for rows in (first, second)]
            first, second = ([row for row in rows if row["index"] in drawn[0] & drawn[1]] for rows in (first, second))
        if [(r["index"], r.get("gold")) for r in first] != [(r["index"], r.get("gold")) for r in second]:
            raise InputError(f"compare: expected the same items of {name} in both, got others")
        paired[name] = first, second
    return paired


def _compare_core(before: SavedRun, after: SavedRun) -> tuple[Difference, list[Difference], list[str]]:
    tasks = before.results["core"]["tasks"]
    differences = []
    all_shares: list[PairedShare] = []
    cores = [0.0, 0.0]
    paired = _in_both(before, after)
    for name, rows in paired.items():
        shares, won, lost = pair_shares(*rows, weight=1.0)
        first, second = accuracies = [_accuracy(held) for held in rows]
        differences.append(Difference(name, first, second, *compare_shares(shares), None, won, lost))
        baseline = tasks[name]["random_baseline"]
        weight = 1 / (len(tasks) * (1 - baseline))
        all_shares += pair_shares(*rows, weight=weight)[0]
        cores = [core + weight * (accuracy - baseline) for core, accuracy in zip(cores, accuracies, strict=True)]
    first, second = cores
    core = Difference(before.results["core"]["suite"], first, second, *compare_shares(all_shares))
    compared = sum(len(rows) for rows, _ in paired.values())
    scored = [sum(map(len, run.items.values())) for run in (before, after)]
    notes = [f"Compared: the {compared:,} items that both have scored, of {scored[0]:,} and {scored[1]:,}"]
    return core, correct_by_holm(differences), notes if {compared} != set(scored) else []


def _accuracy(rows: Rows) -> float:
    held: dict[str, list[bool]] = {}
    for row in rows:
        held.setdefault(row.get("category", ""), []).append(row["correct"])
    return unweighted_mean(sum(some) / len(some) for some in held.values())


def _compare_texts(before: SavedRun, after: SavedRun) -> list[Difference]:
    differences = []
    for name in before.documents:
        rows = before.documents[name], after.documents[name]
        sizes = [[(row["index"], row["bytes"]) for row in held] for held in rows]
        if sizes[0] != sizes[1]:
            raise InputError(f"compare: expected documents of the same bytes of {name} in both, got others")
        nats_before, nats_after = (np.array([row["nats"] for row in held]) for held in rows)
        num_bytes = np.array([row["bytes"] for row in rows[0]], dtype=float)
        first, second = (float(run.results["bpb"][name]["bpb"]) for run in (before, after))
        differences.append(Difference(name, first, second, *compare_documents(nats_before, nats_after, num_bytes)))
    return differences
