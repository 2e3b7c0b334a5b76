"""The sums of finished jobs on disk, so that the same command resumes after a crash."""

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
_SECONDS_PER_SYNC = 1.0


@dataclass(slots=True)
class Journal:
    """The sums of requests, by digest of their task or text and index. Each process writes one file per attempt.

    Each line is a checksum and the sums of one job. batch_tokens: the token budget of the run, reused when it resumes
    so that the same forwards are planned.
    """

    folder: Path
    attempt: int
    scored: dict[str, dict[int, Scored]] = field(default_factory=dict)
    work: dict[str, Work] = field(default_factory=dict)
    batch_tokens: int | None = None
    _file: TextIO | None = None
    _synced: float = 0.0

    def record(self, process: int, digest: str, sums: Mapping[int, Scored], work: Work) -> None:
        """Append the sums of a job; raises RunError if they cannot be written."""
        row = {
            "requests": digest,
            "sums": {i: [s.total_nats, s.num_tokens, s.num_bytes, s.num_characters, s.greedy] for i, s in sums.items()},
            "work": [work.forwards, work.forward_tokens, work.head_rows],
        }
        self._append(process, row)

    def record_batch_tokens(self, process: int, batch_tokens: int) -> None:
        """Append the token budget of the run; raises RunError if it cannot be written."""
        self.batch_tokens = batch_tokens
        self._append(process, {"batch_tokens": batch_tokens})

    def _append(self, process: int, row: Mapping[str, Any]) -> None:
        try:
            if self._file is None:
                # On another machine, the folder of the main process may not be visible.
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"{self.attempt:04d}-{process:04d}.jsonl"
                self._file = path.open("a", encoding="utf-8", newline="\n")
            self._file.write(_seal(row))
            # A flush survives a crash of the process. A sync also survives a crash of the machine, and is slower.
            self._file.flush()
            if time.monotonic() - self._synced > _SECONDS_PER_SYNC:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise RunError(f"`output`: cannot write to {self.folder}: {error}") from None


def open_journal(output: Path, identity: Mapping[str, Any]) -> Journal:
    """Return the journal of a run in its output folder, with the sums of earlier attempts.

    identity: everything that the scores depend on. Raises InputError for the folder of another run and for damaged
    files; an incomplete last line is dropped.
    """
    folder = output / FOLDER
    current = json.loads(json.dumps(identity))
    try:
        paths = _journals(folder)
        if not (folder / _RUN).exists():
            if paths:
                # Without it, the run of these files is unknown.
                raise InputError(f"{folder}: {_RUN} is missing beside {paths[0].name}; set `overwrite` to start over")
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / (_RUN + ".new")
            partial.write_text(_seal(current), encoding="utf-8")
            partial.replace(folder / _RUN)
        _check_same(output, _read_run(folder / _RUN), current)
        journal = Journal(folder, 1 + max((int(path.stem.split("-")[0]) for path in paths), default=0))
        for path in paths:
            for row in _read_rows(path):
                _add(journal, row, path)
    except OSError as error:
        raise InputError(f"`output`: expected a readable and writable folder, got: {error}") from None
    return journal


def _journals(folder: Path) -> list[Path]:
    """Return the files of all attempts; raises InputError for other files."""
    paths = sorted(folder.glob("*.jsonl"))
    for path in paths:
        if not re.fullmatch(r"\d{4,}-\d{4,}", path.stem):
            raise InputError(f"{path}: not a file of this run; set `overwrite` to start over")
    return paths


def _add(journal: Journal, row: Any, path: Path) -> None:
    try:
        if "batch_tokens" in row:
            journal.batch_tokens = int(row["batch_tokens"])
            return
        scored = journal.scored.setdefault(row["requests"], {})
        for index, (nats, tokens, num_bytes, characters, greedy) in row["sums"].items():
            # A request can be scored twice if memory ran out in between; its first sums count.
            scored.setdefault(int(index), Scored(nats, tokens, num_bytes, characters, greedy))
        journal.work[row["requests"]] = journal.work.get(row["requests"], Work()) + Work(*row["work"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path}: expected rows of this version, got: {reason(error)}; set `overwrite` to start over"
        ) from None


def _check_same(output: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    different = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if different:
        changes = "; ".join(f"{name} {str(before.get(name))[:60]}, now {str(now.get(name))[:60]}" for name in different)
        raise InputError(
            f"`output`: {output} holds another, unfinished run ({changes}); choose another folder, or set "
            "`overwrite` to start over"
        )


def _read_run(path: Path) -> Any:
    row = _unseal(path.read_bytes().rstrip(b"\n"))
    if not isinstance(row, dict):
        raise InputError(f"{path}: the file is damaged; set `overwrite` to start over")
    return row


def _read_rows(path: Path) -> Iterator[Any]:
    lines = path.read_bytes().split(b"\n")
    # Behind the last line break is an incomplete line, or nothing.
    for number, line in enumerate(lines[:-1], 1):
        row = _unseal(line)
        if row is None:
            raise InputError(f"{path}, line {number}: the line is damaged; set `overwrite` to start over")
        yield row


def _seal(row: Mapping[str, Any]) -> str:
    text = json.dumps(row, separators=(",", ":"))
    return f"{zlib.crc32(text.encode()):08x} {text}\n"


def _unseal(line: bytes) -> Any:
    """Return the row of a line, None if it is damaged."""
    checksum, _, text = line.partition(b" ")
    if not text or f"{zlib.crc32(text):08x}".encode() != checksum:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
