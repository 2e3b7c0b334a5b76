"""Runs and curves from CSV files, with the line and column of what does not fit."""

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.scaling.runs import Run


def read_runs(path: Path, repeated: bool = False) -> tuple[list[Run], str]:
    """Return the runs of a CSV file, and whether their losses came as `loss` or as `bpb`.

    Columns: parameters, tokens (or flops, of which tokens are flops / (6 parameters)), loss or bpb;
    optionally core and, with `repeated`, unique_tokens. Raises InputError with line and column.
    """
    rows = list(_rows(path))
    names = set(rows[0][1]) if rows else set()
    size = "tokens" if "tokens" in names else "flops"
    loss = "loss" if "loss" in names else "bpb"
    wanted = ["parameters", size, loss, *(["unique_tokens"] if repeated else [])]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InputError(
            f"{path}: expected columns parameters, tokens or flops, loss or bpb"
            f"{', unique_tokens' if repeated else ''}; got {', '.join(sorted(names)) or 'no rows'}"
        )
    runs = []
    for line, row in rows:
        parameters, value = _number(path, line, row, "parameters"), _number(path, line, row, size)
        tokens = value if size == "tokens" else value / (6 * parameters)
        core = _number(path, line, row, "core", any_sign=True) if row.get("core") else None
        unique = _number(path, line, row, "unique_tokens") if repeated else None
        runs.append(Run(parameters, tokens, _number(path, line, row, loss), core, unique))
    return runs, loss


def read_curve(path: Path) -> tuple[list[int], list[float]]:
    """Return the steps and losses of an evaluation curve.

    Columns: step, loss or bpb. Raises InputError with line and column.
    """
    rows = list(_rows(path))
    names = set(rows[0][1]) if rows else set()
    loss = "bpb" if "bpb" in names else "loss"
    if "step" not in names or loss not in names:
        raise InputError(f"{path}: expected columns step, loss or bpb; got {', '.join(sorted(names)) or 'no rows'}")
    steps = [_whole(path, line, row, "step") for line, row in rows]
    return steps, [_number(path, line, row, loss) for line, row in rows]


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for row in reader:
                yield reader.line_num, {(key or "").strip(): (value or "").strip() for key, value in row.items() if key}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV file, got: {reason(error)}") from None


def _whole(path: Path, line: int, row: Mapping[str, str], name: str) -> int:
    value = _number(path, line, row, name)
    if value != int(value):
        raise InputError(f"{path}, line {line}: expected a whole number in column {name}, got {row[name]!r}")
    return int(value)


def _number(path: Path, line: int, row: Mapping[str, str], name: str, any_sign: bool = False) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (value <= 0 and not any_sign):
        kind = "a number" if any_sign else "a number above 0"
        raise InputError(f"{path}, line {line}: expected {kind} in column {name}, got {row[name]!r}")
    return value
