"""Start a run of the command, wait for its progress, and read its files."""

import json
import os
import subprocess
import time

from support.command import program_of

# About thirty forward passes; with a fixed token budget, every attempt plans the same ones.
OPTIONS = ("--tasks", "piqa,boolq,squad", "--batch-tokens", "128", "--max-length", "128", "--quiet")


def rows_of(folder):
    """Return the (stage, index) of every journaled request, and the number of complete rows."""
    lines = [
        line
        for path in sorted((folder / "partial").glob("*.jsonl"))
        for line in path.read_text().split("\n")[:-1]
        if '"sums"' in line
    ]
    rows = [json.loads(line.partition(" ")[2]) for line in lines]
    return [(row["stage"], index) for row in rows for index in row["sums"]], len(rows)


ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def results_of(folder):
    """Return results.json without the fields that differ between attempts, and the samples."""
    results = json.loads((folder / "results.json").read_text())
    for name in ("seconds", "peak_memory_bytes", "processes"):
        results["work"].pop(name)
    samples = {path.name: path.read_text() for path in (folder / "samples").iterdir()}
    return results, samples


def start(folder, *options, launcher=()):
    return subprocess.Popen(
        [*program_of(launcher), "-m", "hf_core_bpb", "--output", str(folder), *OPTIONS, *options],
        cwd=folder.parent, env=os.environ | ONE_THREAD, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_rows(folder, process, count):
    """Wait for `count` rows in the journal; return whether the run was still going at that time."""
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if (folder / "partial").is_dir() and rows_of(folder)[1] >= count:
            return True
        time.sleep(0.002)
    return False
