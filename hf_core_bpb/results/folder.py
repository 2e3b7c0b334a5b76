"""The output folder: results.json, a file of samples for each task and text, and the journal of a run under way."""

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
# What surprised a model most, beside the samples of tasks and texts, which have no such name.
SURPRISING = "_surprising"
_TEXT = "bpb-"


def check_output(folder: Path, overwrite: bool) -> None:
    """Raise InputError for a folder with anything of another's in it, or with results that would be lost.

    What a run left that did not end is no hindrance: the same command goes on with it, also where it was told
    to write over results that are still there.
    """
    try:
        nearest = next(place for place in [folder, *folder.absolute().parents] if place.exists())
    except OSError as error:
        raise InputError(f"--output: expected a folder that can be written, got: {reason(error)}") from None
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(f"--output: expected a folder that can be written, got {folder}")
    if (folder / "results.json").exists():
        if not overwrite and not (folder / journal.FOLDER).is_dir():
            raise InputError(f"--output: expected a folder without results (or --overwrite), got {folder}")
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    # Samples without results are those of a run that was ended while it wrote them.
    own = {journal.FOLDER, _LOCK, "samples"} if journal.FOLDER in names else {_LOCK}
    if names - own:
        raise InputError(f"--output: expected a new or empty folder, or one of an earlier run, got {folder}")


def lock_output(folder: Path) -> FileLock:
    """Return the lock of a folder, made if need be, held until this process ends or releases it.

    Raises InputError where another run holds it.
    """
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"--output: expected a folder that no other run writes to, got {folder}") from None
    except OSError as error:
        raise InputError(f"--output: expected a folder that can be written, got: {error}") from None
    return lock


def begin_run(folder: Path, run: Mapping[str, Any], overwrite: bool) -> journal.Journal:
    """Return the journal of a run in its folder, what an earlier attempt left in it or, to overwrite it, nothing."""
    if overwrite:
        shutil.rmtree(folder / journal.FOLDER, ignore_errors=True)
    return journal.open_journal(folder, run)


def end_run(folder: Path, lock: FileLock) -> None:
    """Remove what only a run under way needs."""
    shutil.rmtree(folder / journal.FOLDER, ignore_errors=True)
    # Before it is released: another run's lock of the same name would be taken away.
    (folder / _LOCK).unlink(missing_ok=True)
    lock.release()


def write_results(folder: Path, results: Mapping[str, Any], samples: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Write the samples, then results.json, each whole or not at all; samples of another run are removed."""
    names = {samples_path(folder, name).name: rows for name, rows in samples.items()}
    try:
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        for stale in (folder / "samples").glob("*.jsonl"):
            if stale.name not in names:
                stale.unlink()
        for name, rows in names.items():
            _write_whole(folder / "samples" / name, "".join(json.dumps(row) + "\n" for row in rows))
        _write_whole(folder / "results.json", json.dumps(results, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise RunError(f"--output: expected to write to {folder}, got: {error}") from None


def samples_path(folder: Path, name: str) -> Path:
    """Return the file of the samples of a task, or of `bpb-` and a text."""
    return folder / "samples" / f"{file_name(name)}.jsonl"


def check_names(tasks: Iterable[str]) -> None:
    """Raise InputError for a task whose samples would lie where others do."""
    for name in tasks:
        if name == SURPRISING or name.startswith(_TEXT):
            raise InputError(f"--tasks: expected a name other than {SURPRISING} and {_TEXT}..., got {name!r}")


def file_name(name: str) -> str:
    """Return a name that every file system takes; a digest keeps apart what would fall together."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[-100:]
    return plain if plain == name else f"{plain}-{digest(name)}"


def write_page(path: Path, page: str) -> None:
    """Write a page of HTML, whole or not at all."""
    try:
        _write_whole(path, page)
    except OSError as error:
        raise RunError(f"report: expected to write to {path}, got: {error}") from None


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
