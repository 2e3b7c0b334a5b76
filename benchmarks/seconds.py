"""Seconds of each strategy, as medians of interleaved runs: only their ratios are comparable."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from strategies import EngineStrategy, score_by_item
from suite import Benchmark
from transformers import GPT2LMHeadModel

HEADER = """\
| task | items | by item | plain batches | engine | by item / engine | plain / engine |
|---|---|---|---|---|---|---|"""


def time_task(
    benchmark: Benchmark, model: GPT2LMHeadModel, engine: EngineStrategy, plain: EngineStrategy, repetitions: int
) -> str:
    """Return a line of the table; exits where the strategies' scores differ."""
    strategies: dict[str, Callable[[], list[float]]] = {
        "item": lambda: score_by_item(model, benchmark.items),
        "plain": lambda: plain.score(benchmark.requests),
        "engine": lambda: engine.score(benchmark.requests),
    }
    seconds: dict[str, list[float]] = {name: [] for name in strategies}
    scores: dict[str, list[float]] = {}
    for _ in range(repetitions):
        for name, score in strategies.items():
            started = time.perf_counter()
            scores[name] = score()
            seconds[name].append(time.perf_counter() - started)
        for name in ("plain", "engine"):
            difference = np.abs(np.subtract(scores[name], scores["item"])).max()
            if difference > 2e-5:
                raise SystemExit(f"{benchmark.task.name}: scores of {name} differ by {difference}")
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = [one / other for one, other in zip(seconds["item"], seconds["engine"], strict=True)]
    return (
        f"| {benchmark.task.name} | {len(benchmark.items)} "
        f"| {median['item']:.1f} s | {median['plain']:.1f} s | {median['engine']:.1f} s "
        f"| {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
        f"| {median['plain'] / median['engine']:.2f} |"
    )


def time_help() -> str:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "hf_core_bpb", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    return f"`python -m hf_core_bpb --help`: {statistics.median(seconds):.2f} s."
