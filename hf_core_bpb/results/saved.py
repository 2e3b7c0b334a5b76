"""A finished run, read back from its folder."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.results.folder import SURPRISING, samples_path

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SavedRun:
    """results.json with the sample rows of tasks, of texts, and of the most surprising items and documents."""

    folder: Path
    results: Mapping[str, Any]
    items: Mapping[str, Rows]
    documents: Mapping[str, Rows]
    surprises: Rows

    @property
    def name(self) -> str:
        """The model's id."""
        return str(self.results["model"]["id"])

    @property
    def suite(self) -> str:
        """The suite's name in papers; empty for a run without."""
        suite = str((self.results.get("core") or {}).get("suite", ""))
        return "CORE" if suite == "core-22" else suite

    @property
    def recipes(self) -> dict[str, dict[str, str]]:
        """The fields of each signature, by `core`, and by `bpb` with each text's name."""
        names = [*(["core"] if self.items else []), *(f"bpb {text}" for text in self.documents)]
        lines = zip(names, self.signatures, strict=True)
        return {name: dict(_field(part) for part in line.split("|")[1:]) for name, line in lines}

    @property
    def signatures(self) -> list[str]:
        """The signature of each result."""
        signatures = self.results.get("signatures")
        return (
            [str(line) for line in signatures]
            if signatures is not None
            else re.split(r" (?=(?:core|bpb)\|)", str(self.results["signature"]))
        )


def _field(part: str) -> tuple[str, str]:
    name, _, value = part.partition(":")
    return name, value


def read_run(folder: Path) -> SavedRun:
    """Return the run in an output folder; raises InputError if it holds no finished run."""
    path = folder / "results.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        tasks = list(results.get("core", {}).get("tasks", {}))
        texts = list(results.get("bpb", {}))
        surprising = samples_path(folder, SURPRISING)
        run = SavedRun(
            folder,
            results,
            {name: _read_rows(samples_path(folder, name), ("index", "correct")) for name in tasks},
            {name: _read_rows(samples_path(folder, f"bpb-{name}"), ("index", "nats", "bytes")) for name in texts},
            _read_rows(surprising, ("index",)) if surprising.exists() else [],
        )
        _ = run.name, run.recipes
        _check_sums(run)
    except OSError as error:
        raise InputError(f"{folder}: not the output folder of a finished run: {reason(error)}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{folder}: results or samples are damaged: {reason(error)}") from None
    return run


def _check_sums(run: SavedRun) -> None:
    """Raise ValueError for samples that do not add up to results.json."""
    for name, rows in run.documents.items():
        totals = run.results["bpb"][name]
        for key in ("nats", "bytes"):
            if key in totals and not math.isclose(sum(row[key] for row in rows), totals[key], rel_tol=1e-9):
                raise ValueError(f"{name}: the {key} of the samples do not add up to those of results.json")
    for name, rows in run.items.items():
        num_items = run.results["core"]["tasks"][name].get("n", len(rows))
        if len(rows) != num_items or not all(isinstance(row["correct"], bool) for row in rows):
            raise ValueError(f"{name}: the samples are not the items of results.json")


def _read_rows(path: Path, keys: tuple[str, ...]) -> Rows:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            for key in keys:
                row[key]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"{path}, line {number}: expected a row with {', '.join(keys)}") from None
        rows.append(row)
    return rows
