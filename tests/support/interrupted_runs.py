"""Start and watch runs of the command to interrupt them, and read their files."""

import json
import os
import subprocess
import time

from support.command import program_of

# About thirty forwards, with a fixed token budget so that every attempt plans the same.
OPTIONS = ("--tasks", "piqa,boolq,squad", "--batch-tokens", "128", "--max-length", "128", "--quiet")


def rows_of(folder):
    """Return the requests in all complete lines of all attempts, and the number of lines."""
    lines = [
        line
        for path in sorted((folder / "partial").glob("*.jsonl"))
        for line in path.read_text().split("\n")[:-1]
        if '"sums"' in line
    ]
    rows = [json.loads(line.partition(" ")[2]) for line in lines]
    return [(row["requests"], index) for row in rows for index in row["sums"]], len(rows)


ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def results_of(folder):
    """Return results.json without the costs, which depend on interruptions, and the sample files."""
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
    """Wait until `count` forwards are on disk, and return whether the run was still in progress then."""
    until = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < until:
        if (folder / "partial").is_dir() and rows_of(folder)[1] >= count:
            return True
        time.sleep(0.002)
    return False
