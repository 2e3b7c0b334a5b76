"""The output folder of a run: results.json, samples by task and text, report.html, and the journal while it runs."""

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hf_core_bpb.errors import InputError, RunError, reason
from hf_core_bpb.scoring import journal
from hf_core_bpb.signature import digest

_LOCK = ".lock"
_RESULTS = "results.json"
# The most surprising items and documents, beside the samples of tasks and texts, which have no such name.
SURPRISING = "_surprising"
_TEXT_PREFIX = "bpb-"


class RunFolder:
    """The folder that one run writes to; while it runs, a lock keeps other runs out."""

    def __init__(self, path: Path, overwrite: bool) -> None:
        """Take the folder of a run; nothing is written before `begin`."""
        self.path = path
        self.overwrite = overwrite
        self._lock = FileLock(path / _LOCK)

    def check(self) -> None:
        """Raise InputError for a folder with other files in it, or with results that would be lost.

        An unfinished run does not count as results: the same command resumes it, also if it was to overwrite results
        that are still there.
        """
        try:
            nearest = next(path for path in [self.path, *self.path.absolute().parents] if path.exists())
        except OSError as error:
            raise InputError(f"`output`: expected a writable folder, got: {reason(error)}") from None
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            raise InputError(f"`output`: expected a writable folder, got {self.path}")
        if (self.path / _RESULTS).exists():
            if not self.overwrite and not (self.path / journal.FOLDER).is_dir():
                raise InputError(f"`output`: {self.path} holds results; choose another folder, or set `overwrite`")
            return
        names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        # Samples without results are those of a run that was ended while it wrote them.
        known = {journal.FOLDER, _LOCK, "samples"} if journal.FOLDER in names else {_LOCK}
        if names - known:
            raise InputError(f"`output`: expected a new or empty folder, or that of an earlier run, got {self.path}")

    def begin(self, identity: Mapping[str, Any]) -> journal.Journal:
        """Lock the folder and return the journal of a run, with what an earlier attempt scored.

        identity: everything that the scores depend on. Raises InputError if another run holds the folder, or has left
        its journal in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"`output`: another run is writing to {self.path}") from None
        except OSError as error:
            raise InputError(f"`output`: expected a writable folder, got: {error}") from None
        # Another run may have ended in it since.
        self.check()
        if self.overwrite:
            shutil.rmtree(self.path / journal.FOLDER, ignore_errors=True)
        return journal.open_journal(self.path, identity)

    def write(self, results: Mapping[str, Any], samples: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Write the samples, then results.json, each whole or not at all; samples of another run are removed."""
        names = {samples_path(self.path, name).name: rows for name, rows in samples.items()}
        try:
            folder = self.path / "samples"
            folder.mkdir(parents=True, exist_ok=True)
            for stale in folder.glob("*.jsonl"):
                if stale.name not in names:
                    stale.unlink()
            for name, rows in names.items():
                _write_whole(folder / name, "".join(json.dumps(row) + "\n" for row in rows))
            _write_whole(self.path / _RESULTS, json.dumps(results, indent=2, allow_nan=False) + "\n")
        except OSError as error:
            raise RunError(f"`output`: cannot write to {self.path}: {error}") from None

    def end(self) -> None:
        """Remove the journal, and release the folder."""
        shutil.rmtree(self.path / journal.FOLDER, ignore_errors=True)
        # Before it is released: the lock of another run would be removed.
        (self.path / _LOCK).unlink(missing_ok=True)
        self._lock.release()


def write_page(path: Path, page: str) -> None:
    """Write a page of HTML, whole or not at all."""
    try:
        _write_whole(path, page)
    except OSError as error:
        raise RunError(f"report: cannot write to {path}: {error}") from None


def samples_path(folder: Path, name: str) -> Path:
    """Return the file with the samples of a task, or of `bpb-` and a text."""
    return folder / "samples" / f"{file_name(name)}.jsonl"


def check_names(tasks: Iterable[str]) -> None:
    """Raise InputError for a task whose samples would have the name of other samples."""
    for name in tasks:
        if name == SURPRISING or name.startswith(_TEXT_PREFIX):
            raise InputError(f"`tasks`: expected a name other than {SURPRISING} and {_TEXT_PREFIX}..., got {name!r}")


def file_name(name: str) -> str:
    """Return a name that every file system accepts; a digest keeps shortened names apart."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[-100:]
    return plain if plain == name else f"{plain}-{digest(name)}"


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
