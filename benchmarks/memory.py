"""Peak memory of bits per byte over 4,096 tokens of a vocabulary of 50,257, above that of the model without its head.

    python benchmarks/memory.py STRATEGY       measures one strategy in this process and prints megabytes and seconds

Linux only: the resident memory of the process is sampled.
"""

import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from model import POSITIONS, build_model

from hf_core_bpb.progress import SilentProgress
from hf_core_bpb.scoring.engine import Engine
from hf_core_bpb.scoring.trie import build_trie
from hf_core_bpb.types import Request

TITLES = {"base": "the model without its head", "lean": "the engine", "full": "all logits at once"}


class PeakMemory:
    """The largest resident memory of this process while it is entered."""

    def __enter__(self) -> "PeakMemory":
        self.peak_bytes = 0
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._sample)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _sample(self) -> None:
        page = resource.getpagesize()
        while not self.done.wait(0.002):
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
            self.peak_bytes = max(self.peak_bytes, resident)


def measure(strategy: str) -> tuple[float, float]:
    """Return the megabytes above the peak of the model without its head, and the seconds."""
    model = build_model()
    model.set_attn_implementation("sdpa")
    ids = np.random.default_rng(0).integers(0, 50257, (2, POSITIONS + 1))
    requests = [Request(row.astype(np.int32), 1, len(row), 1) for row in ids]
    engine = Engine(model, frozenset(), "full" if strategy == "full" else None)
    trie = build_trie(requests)
    (job,) = engine.plan(trie, 2 * POSITIONS)
    with torch.inference_mode():
        inputs = torch.from_numpy(ids[:, :-1])
        model.transformer(input_ids=inputs, use_cache=False)
        with PeakMemory() as base:
            model.transformer(input_ids=inputs, use_cache=False)
        started = time.perf_counter()
        with PeakMemory() as memory:
            if strategy == "base":
                model.transformer(input_ids=inputs, use_cache=False)
            else:
                engine.score(requests, trie, [job], SilentProgress())
    return (memory.peak_bytes - base.peak_bytes) / 1e6, time.perf_counter() - started


def compare_memory(repetitions: int) -> Iterator[str]:
    """Yield the lines of a table of all strategies, each measured in processes of its own."""
    yield "| bpb of 4,096 tokens, 50,257 ids | extra peak memory | seconds |"
    yield "|---|---|---|"
    for strategy, title in TITLES.items():
        runs = []
        for _ in range(repetitions):
            command = [sys.executable, __file__, strategy]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            runs.append([float(value) for value in output.split()])
        megabytes, seconds = (statistics.median(values) for values in zip(*runs, strict=True))
        yield f"| {title} | {megabytes:.0f} MB | {seconds:.2f} |"


if __name__ == "__main__":
    print(*measure(sys.argv[1]))
