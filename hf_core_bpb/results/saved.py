"""A finished run as it lies on the disk."""

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
    """results.json, the rows of every task's items, of every text's documents, and of what surprised most."""

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
        """The suite as papers print it; "" for a run without."""
        suite = str((self.results.get("core") or {}).get("suite", ""))
        return "CORE" if suite == "core-22" else suite

    @property
    def recipes(self) -> dict[str, dict[str, str]]:
        """What each number depends on beside the model: by `core`, and by `bpb` with each text's name."""
        names = [*(["core"] if self.items else []), *(f"bpb {text}" for text in self.documents)]
        lines = zip(names, self.signatures, strict=True)
        return {name: dict(_field(part) for part in line.split("|")[1:]) for name, line in lines}

    @property
    def signatures(self) -> list[str]:
        """The line of each number."""
        kept = self.results.get("signatures")
        return (
            [str(line) for line in kept]
            if kept is not None
            else re.split(r" (?=(?:core|bpb)\|)", str(self.results["signature"]))
        )


def _field(part: str) -> tuple[str, str]:
    name, _, value = part.partition(":")
    return name, value


def read_run(folder: Path) -> SavedRun:
    """Return the run in an output folder. Raises InputError for a folder that holds no finished run."""
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
        raise InputError(f"{folder}: expected the output folder of a finished run, got: {reason(error)}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{folder}: expected results and samples as they were written, got: {reason(error)}") from None
    return run


def _check_sums(run: SavedRun) -> None:
    """Raise ValueError for samples that results.json was not made of."""
    for name, rows in run.documents.items():
        said = run.results["bpb"][name]
        for key in ("nats", "bytes"):
            if key in said and not math.isclose(sum(row[key] for row in rows), said[key], rel_tol=1e-9):
                raise ValueError(f"{name}: samples whose {key} are not those of results.json")
    for name, rows in run.items.items():
        said = run.results["core"]["tasks"][name]
        if len(rows) != said.get("n", len(rows)) or not all(isinstance(row["correct"], bool) for row in rows):
            raise ValueError(f"{name}: samples of other items than those of results.json")


def _read_rows(path: Path, wanted: tuple[str, ...]) -> Rows:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            for name in wanted:
                row[name]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError(f"{path}, line {number}: expected a row with {', '.join(wanted)}") from None
        rows.append(row)
    return rows
