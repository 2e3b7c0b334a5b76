"""Runs of the command that are started, watched and ended from outside, and what they leave."""

import json
import os
import subprocess
import time

from support.command import program_of

# Some thirty forwards, of one token budget so that every attempt plans the same.
OPTIONS = ("--tasks", "piqa,boolq,squad", "--batch-tokens", "128", "--max-length", "128", "--quiet")


def rows_of(folder):
    """Every whole line that attempts have written, with the requests in it."""
    lines = [
        line
        for path in sorted((folder / "partial").glob("*.jsonl"))
        for line in path.read_text().split("\n")[:-1]
        if '"sums"' in line
    ]
    rows = [json.loads(line.partition(" ")[2]) for line in lines]
    return [(row["stage"], number) for row in rows for number in row["sums"]], len(rows)


ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def results_of(folder):
    """What of results.json may not depend on how often a run was begun."""
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
    """Wait until so many forwards are on disk, and say whether the run was still going then."""
    until = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < until:
        if (folder / "partial").is_dir() and rows_of(folder)[1] >= count:
            return True
        time.sleep(0.002)
    return False
