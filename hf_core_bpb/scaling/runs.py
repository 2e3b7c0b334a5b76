"""Finished training runs and loss curves: their CSV files, and the checks before a law is fitted to runs."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hf_core_bpb.errors import InputError, reason

FEWEST_RUNS = 6

_NumberedRow = tuple[int, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training run; loss in nats per token or bits per byte; unique_tokens where text was repeated."""

    parameters: float
    tokens: float
    loss: float
    core: float | None = None
    unique_tokens: float | None = None

    @property
    def flops(self) -> float:
        """6 N D."""
        return 6 * self.parameters * self.tokens


def check_runs(runs: Sequence[Run]) -> None:
    """Raise InputError for runs that no law can be fitted to."""
    for index, run in enumerate(runs):
        for name in ("parameters", "tokens", "loss"):
            value = getattr(run, name)
            if not 1e-9 < value < 1e40:
                raise InputError(f"runs[{index}]: expected {name} above 0 and below 1e40, got {value}")
    if len(runs) < FEWEST_RUNS:
        raise InputError(f"runs: expected {FEWEST_RUNS} or more, got {len(runs)}")
    for name in ("parameters", "tokens"):
        num_values = len({getattr(run, name) for run in runs})
        if num_values < 3:
            raise InputError(f"runs: expected 3 or more different values of {name}, got {num_values}")


def read_runs(path: Path, repeated: bool = False) -> tuple[list[Run], str]:
    """Return the runs of a CSV file, and the name of its loss column, `loss` or `bpb`.

    Columns: parameters, tokens (or flops, then tokens = flops / (6 parameters)), loss or bpb; optionally
    core and, with `repeated`, unique_tokens. Raises InputError with line and column.
    """
    rows, columns = _read_csv(path)
    amount = "tokens" if "tokens" in columns else "flops"
    loss = "loss" if "loss" in columns else "bpb"
    required = {"parameters", amount, loss} | ({"unique_tokens"} if repeated else set())
    if not required <= columns:
        expected = "parameters, tokens or flops, loss or bpb" + (", unique_tokens" if repeated else "")
        raise InputError(f"{path}: expected columns {expected}; got {_list(columns)}")
    runs = []
    for line, row in rows:
        parameters, value = _number(path, line, row, "parameters"), _number(path, line, row, amount)
        tokens = value if amount == "tokens" else value / (6 * parameters)
        core = _number(path, line, row, "core", any_sign=True) if row.get("core") else None
        unique_tokens = _number(path, line, row, "unique_tokens") if repeated else None
        runs.append(Run(parameters, tokens, _number(path, line, row, loss), core, unique_tokens))
    return runs, loss


def read_curve(path: Path) -> tuple[list[int], list[float]]:
    """Return the steps and losses of an evaluation curve.

    Columns: step, loss or bpb. Raises InputError with line and column.
    """
    rows, columns = _read_csv(path)
    loss = "bpb" if "bpb" in columns else "loss"
    if not {"step", loss} <= columns:
        raise InputError(f"{path}: expected columns step, loss or bpb; got {_list(columns)}")
    steps = [_whole_number(path, line, row, "step") for line, row in rows]
    return steps, [_number(path, line, row, loss) for line, row in rows]


def _read_csv(path: Path) -> tuple[list[_NumberedRow], set[str]]:
    """Return the rows with their line numbers, and the columns, none for a file without rows."""
    rows: list[_NumberedRow] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            for row in reader:
                values = {(key or "").strip(): (value or "").strip() for key, value in row.items() if key}
                rows.append((reader.line_num, values))
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot read it as CSV: {reason(error)}") from None
    return rows, set(rows[0][1]) if rows else set()


def _list(columns: set[str]) -> str:
    return ", ".join(sorted(columns)) or "no rows"


def _whole_number(path: Path, line: int, row: Mapping[str, str], name: str) -> int:
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
        expected = "a number" if any_sign else "a number above 0"
        raise InputError(f"{path}, line {line}: expected {expected} in column {name}, got {row[name]!r}")
    return value
