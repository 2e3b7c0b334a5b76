"""What a run has scored so far, on disk, so that the same command goes on where a crash ended it."""

import json
import os
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from hf_core_bpb.errors import InputError, RunError, reason
from hf_core_bpb.types import Scored, Work

FOLDER = "partial"
_RUN = "run.json"
_SECONDS_A_SYNC = 1.0


@dataclass(slots=True)
class Journal:
    """Sums by the digest of a stage's requests and the request's number; every process writes a file of its own.

    Every line is a checksum and what one forward scored, or one prefix with all that continues it.
    batch_tokens: what the run was planned with, so that what is left is planned alike.
    """

    folder: Path
    attempt: int
    scored: dict[str, dict[int, Scored]] = field(default_factory=dict)
    work: dict[str, Work] = field(default_factory=dict)
    batch_tokens: int | None = None
    _file: TextIO | None = None
    _synced: float = 0.0

    def record(self, process: int, stage: str, sums: Mapping[int, Scored], work: Work) -> None:
        """Append what was scored. Raises RunError where it cannot be written."""
        row = {
            "stage": stage,
            "sums": {n: [s.total_nats, s.num_tokens, s.num_bytes, s.num_characters, s.greedy] for n, s in sums.items()},
            "work": [work.forwards, work.forward_tokens, work.head_rows],
        }
        self._append(process, row)

    def plan(self, process: int, batch_tokens: int) -> None:
        """Take note of the budget that forwards are planned with."""
        self.batch_tokens = batch_tokens
        self._append(process, {"batch_tokens": batch_tokens})

    def _append(self, process: int, row: Mapping[str, Any]) -> None:
        try:
            if self._file is None:
                # Another machine may not see the folder that the main process has made.
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"{self.attempt:04d}-{process:04d}.jsonl"
                self._file = path.open("a", encoding="utf-8", newline="\n")
            self._file.write(_seal(row))
            # What is flushed outlives this process; that it outlives the machine costs more, on a shared disk most.
            self._file.flush()
            if time.monotonic() - self._synced > _SECONDS_A_SYNC:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise RunError(f"--output: expected to write to {self.folder}, got: {error}") from None


def open_journal(output: Path, run: Mapping[str, Any]) -> Journal:
    """Return the journal of a run in its output folder: a new one, or what an earlier attempt at the same run left.

    run: all that the scores depend on. Raises InputError for the folder of another run and for files that are
    not as they were written; a last line that was cut off is dropped.
    """
    folder = output / FOLDER
    said = json.loads(json.dumps(run))
    try:
        paths = _journals(folder)
        if not (folder / _RUN).exists():
            if paths:
                # Of which run they are, nobody can know.
                raise InputError(f"{folder}: expected {_RUN} beside {paths[0].name}, got none; --overwrite starts over")
            folder.mkdir(parents=True, exist_ok=True)
            begun = folder / (_RUN + ".new")
            begun.write_text(_seal(said), encoding="utf-8")
            begun.replace(folder / _RUN)
        _check_same(output, _read_run(folder / _RUN), said)
        journal = Journal(folder, 1 + max((int(path.stem.split("-")[0]) for path in paths), default=0))
        for path in paths:
            for row in _read_rows(path):
                _take(journal, row, path)
    except OSError as error:
        raise InputError(f"--output: expected a folder that can be read and written, got: {error}") from None
    return journal


def _journals(folder: Path) -> list[Path]:
    """Return the files of all attempts; raises InputError for what no attempt has written."""
    paths = sorted(folder.glob("*.jsonl"))
    for path in paths:
        if not re.fullmatch(r"\d{4,}-\d{4,}", path.stem):
            raise InputError(f"{path}: expected a folder of this run's alone, got this file; --overwrite starts over")
    return paths


def _take(journal: Journal, row: Any, path: Path) -> None:
    try:
        if "batch_tokens" in row:
            journal.batch_tokens = int(row["batch_tokens"])
            return
        scored = journal.scored.setdefault(row["stage"], {})
        for number, (nats, tokens, num_bytes, characters, greedy) in row["sums"].items():
            # What was scored twice, because memory ran out in between, counts as it came first.
            scored.setdefault(int(number), Scored(nats, tokens, num_bytes, characters, greedy))
        journal.work[row["stage"]] = journal.work.get(row["stage"], Work()) + Work(*row["work"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: expected rows as this version writes them, got: {reason(error)}") from None


def _check_same(output: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if different:
        said = "; ".join(f"{name} {str(before.get(name))[:60]}, now {str(now.get(name))[:60]}" for name in different)
        raise InputError(
            f"--output: expected the run that was begun in {output}, or --overwrite to start over, got another: {said}"
        )


def _read_run(path: Path) -> Any:
    row = _unseal(path.read_bytes().rstrip(b"\n"))
    if not isinstance(row, dict):
        raise InputError(f"{path}: expected it as it was written, got other content; --overwrite starts over")
    return row


def _read_rows(path: Path) -> Iterator[Any]:
    lines = path.read_bytes().split(b"\n")
    # What follows the last line break is a line that was cut off, or nothing.
    for number, line in enumerate(lines[:-1], 1):
        row = _unseal(line)
        if row is None:
            raise InputError(
                f"{path}, line {number}: expected it as it was written, got other content; --overwrite starts over"
            )
        yield row


def _seal(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _unseal(line: bytes) -> Any:
    """Return the row of a line, None where it is not as it was written."""
    checksum, _, text = line.partition(b" ")
    if not text or f"{zlib.crc32(text):08x}".encode() != checksum:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
