"""Fuzz targets: for any bytes, parsers return or raise InputError, and spans and windows are in order.

`PYTHONPATH=tests python tests/support/fuzz.py SECONDS` runs each target with atheris for SECONDS; test_fuzz.py runs
them with Hypothesis.
"""

import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from hf_core_bpb.data.bundle import list_bundle_tasks
from hf_core_bpb.data.jsonl import json_rows
from hf_core_bpb.data.rows import read_examples
from hf_core_bpb.data.task_files import list_tasks, parse_task
from hf_core_bpb.data.templates import compile_text, compile_value
from hf_core_bpb.errors import InputError
from hf_core_bpb.formatting import read_number
from hf_core_bpb.protocols.spans import option_requests
from hf_core_bpb.report.publish import front_matter
from hf_core_bpb.scoring.journal import open_journal
from hf_core_bpb.tokenization.windows import choose_windows, cut_windows
from hf_core_bpb.types import Example

TASKS = {task.name: task for task in list_tasks()}
ROW = {"text": "a_b", "options": ["x", "y"], "n": 3}
SCRATCH = Path(tempfile.mkdtemp(prefix="hf_core_bpb-fuzz-"))


def task_file(data: bytes) -> None:
    with suppress(InputError):
        parse_task(data.decode(errors="replace"), Path("mine.toml"))


def template(data: bytes) -> None:
    with suppress(InputError):
        compile_text(data.decode(errors="replace"), "prompt", list(ROW))(ROW)


def expression(data: bytes) -> None:
    with suppress(InputError):
        compile_value(data.decode(errors="replace"), "prompt", list(ROW))(ROW)


def rows(data: bytes) -> None:
    with suppress(InputError):
        parsed = [row for _, row in json_rows(data, Path("a.jsonl"))]
        if parsed:
            read_examples(TASKS["piqa"], parsed, sorted(set.intersection(*map(set, parsed))), "rows")


def bundle(data: bytes) -> None:
    config, _, table = data.partition(b"\0")
    (SCRATCH / "core.yaml").write_bytes(config)
    (SCRATCH / "eval_meta_data.csv").write_bytes(table)
    with suppress(InputError):
        list_bundle_tasks(SCRATCH, TASKS)


def journal(data: bytes) -> None:
    folder = SCRATCH / "run"
    run = {"model": "m"}
    path = folder / "partial" / "0001-0000.jsonl"
    open_journal(folder, run)
    try:
        path.write_bytes(data)
        with suppress(InputError):
            open_journal(folder, run)
    finally:
        path.unlink()


def card(data: bytes) -> None:
    with suppress(InputError, ValueError):
        front_matter(data.decode(errors="replace"))


def number(data: bytes) -> None:
    with suppress(InputError):
        value = read_number(data.decode(errors="replace"), "x")
        if value is not None and not np.isfinite(value):
            raise AssertionError(value)


def spans(data: bytes) -> None:
    """Check the spans of two to four options of any token ids: within bounds, on the last ids of each prompt."""
    if len(data) < 4:
        return
    count, max_length = 2 + data[0] % 3, 2 + data[1] % 12
    kind = ("multiple_choice", "schema")[data[2] % 2]
    parts = np.array_split(np.frombuffer(data[3:], dtype=np.uint8).astype(np.int32) % 4, count)
    shared, options = ("q",), tuple("abcd"[:count])
    item = Example(shared, options, 0) if kind == "multiple_choice" else Example(options, shared, 0)
    with suppress(InputError):
        for ids, request in zip(parts, option_requests(kind, item, list(parts), max_length, "here"), strict=True):
            if not 1 <= request.start < request.end <= len(request.ids) <= max(max_length, 2):
                raise AssertionError((kind, parts, request))
            if request.ids.tolist() != ids[len(ids) - len(request.ids) :].tolist():
                raise AssertionError((kind, parts, request))


def windows(data: bytes) -> None:
    """Check windows of any length and stride: every token but the first is scored once, in order."""
    if len(data) < 3:
        return
    length, size = 2 + data[0], 1 + data[1] % 40
    stride = 1 + data[2] % size
    scored_tokens: list[int] = []
    for begin, scored, end in cut_windows(np.arange(length), choose_windows(size, stride)):
        if not begin < scored < end <= begin + size + 1:
            raise AssertionError((begin, scored, end))
        scored_tokens += range(scored, end)
    if scored_tokens != list(range(1, length)):
        raise AssertionError(scored_tokens)


TARGETS = {
    target.__name__: target
    for target in (task_file, template, expression, rows, bundle, journal, card, number, spans, windows)
}


def main(arguments: list[str]) -> int:
    if arguments[1:2] and arguments[1] in TARGETS:
        import atheris

        atheris.instrument_all()
        atheris.Setup([arguments[0], *arguments[2:]], TARGETS[arguments[1]])
        atheris.Fuzz()
    seconds = arguments[1] if len(arguments) > 1 else "60"
    for name in TARGETS:
        print(f"{name}: {seconds} s", flush=True)
        finished = subprocess.run([sys.executable, __file__, name, f"-max_total_time={seconds}", "-timeout=20"])
        if finished.returncode:
            return finished.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
