"""What scoring costs here, in plain batches, and by the published way: one item a forward.

    python benchmarks/engine.py --bundle BUNDLE --tokenizer gpt2 > table.md

A GPT-2-small-shaped model of random weights with 2,048 positions. Tokens, forwards, head rows and FLOPs are counts
and do not vary; FLOPs are those of torch's FlopCounterMode with eager attention, on the meta device. Seconds are
medians of interleaved runs, and only their ratios mean anything.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from hf_core_bpb.data.task_files import list_tasks, members
from hf_core_bpb.evaluation.core import PreparedCore, prepare_core
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.evaluation.resolve import resolve_core
from hf_core_bpb.models.language_model import LanguageModel, wrap
from hf_core_bpb.progress import SilentProgress
from hf_core_bpb.scoring.engine import FAST_PATHS, Engine
from hf_core_bpb.scoring.jobs import Job, Mode
from hf_core_bpb.scoring.layout import lay_out
from hf_core_bpb.scoring.trie import Trie, build_trie
from hf_core_bpb.types import Request

POSITIONS = 2048
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class Count:
    """What scoring some requests takes."""

    forwards: int = 0
    tokens: int = 0
    head_rows: int = 0
    flops: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.forwards + other.forwards,
            self.tokens + other.tokens,
            self.head_rows + other.head_rows,
            self.flops + other.flops,
        )


def build_model(device: str = "cpu") -> GPT2LMHeadModel:
    torch.manual_seed(0)
    with torch.device(device):
        return GPT2LMHeadModel(GPT2Config(n_positions=POSITIONS, attn_implementation="eager")).eval()


# --- counting, on the meta device ---------------------------------------------------------------------------


class Counter:
    """Counts the FLOPs of forwards by their shapes."""

    def __init__(self) -> None:
        self.model = build_model("meta")
        self.base_flops = cache(self._base_flops)

    def _base_flops(self, rows: int, length: int, prefixes: int, depth: int) -> int:
        past = None
        with torch.no_grad():
            if depth:
                ids = torch.zeros((prefixes, depth), dtype=torch.long, device="meta")
                # A mask spares the model a look at the values of positions, which meta tensors have none of.
                mask = torch.zeros((prefixes, 1, depth, depth), device="meta")
                past = self.model.transformer(input_ids=ids, attention_mask=mask, use_cache=True).past_key_values
                past.reorder_cache(torch.zeros(rows, dtype=torch.long, device="meta"))
            ids = torch.zeros((rows, length), dtype=torch.long, device="meta")
            mask = torch.zeros((rows, 1, length, depth + length), device="meta")
            with FlopCounterMode(display=False) as counter:
                self.model.transformer(
                    input_ids=ids, attention_mask=mask, past_key_values=past, use_cache=past is not None
                )
        return counter.get_total_flops()

    def forward(self, rows: int, length: int, head_rows: int, prefixes: int = 0, depth: int = 0) -> Count:
        head = 2 * head_rows * self.model.config.n_embd * self.model.config.vocab_size
        return Count(1, rows * length, head_rows, self.base_flops(rows, length, prefixes, depth) + head)

    def item(self, options: Sequence[Request]) -> Count:
        """The published way: all options padded into one batch, the head everywhere."""
        length = max(len(request.ids) for request in options)
        return self.forward(len(options), length, len(options) * length)

    def job(self, job: Job, trie: Trie, requests: Sequence[Request]) -> Count:
        layout = lay_out(job, trie, requests)
        total = Count()
        if layout.prefixes is not None:
            total += self.forward(*layout.prefixes.ids_BxT.shape, num_read(layout.prefixes))
        for block in layout.steps:
            total += self.forward(*block.ids_BxT.shape, num_read(block), len(job.prefixes), job.depth)
        return total


def num_read(block: Any) -> int:
    reads = zip(block.reads.rows, block.reads.columns, strict=True)
    return len({(int(r), int(c)) for rows, columns in reads for r, c in zip(rows, columns, strict=True)})


# --- the ways of scoring ------------------------------------------------------------------------------------


def score_by_item(model: GPT2LMHeadModel, items: Sequence[Sequence[Request]]) -> list[list[float]]:
    """Mean nats of every option, one item a forward, as nanochat's core_eval.py does it."""
    means = []
    with torch.inference_mode():
        for options in items:
            ids = torch.zeros((len(options), max(len(r.ids) for r in options)), dtype=torch.long)
            for row, request in enumerate(options):
                ids[row, : len(request.ids)] = torch.from_numpy(request.ids.astype(np.int64))
            logits = model(input_ids=ids).logits
            targets = torch.roll(ids, shifts=-1, dims=1)
            losses = torch.nn.functional.cross_entropy(
                logits.view(-1, logits.shape[-1]), targets.view(-1), reduction="none"
            ).view(ids.shape)
            losses[:, -1] = float("nan")
            logits.argmax(dim=-1)
            means.append([losses[row, r.start - 1 : r.end - 1].mean().item() for row, r in enumerate(options)])
    return means


class Ours:
    """The engine with some of its fast paths."""

    def __init__(self, model: GPT2LMHeadModel, modes: frozenset[Mode]) -> None:
        self.engine = Engine(model, modes)

    def plan(self, requests: Sequence[Request]) -> tuple[Trie, list[Job]]:
        trie = build_trie(requests)
        return trie, self.engine.plan(trie, BATCH_TOKENS)

    def score(self, requests: Sequence[Request]) -> list[float]:
        trie, jobs = self.plan(requests)
        scored, _, _ = self.engine.score(requests, trie, jobs, SilentProgress())
        return [scored[number].mean_nats for number in range(len(requests))]


def items_of(prepared: PreparedCore, name: str) -> list[list[Request]]:
    requests = iter(prepared.workload.requests[name])
    return [[next(requests) for _ in range(n)] for n in prepared.stages[name].num_requests]


# --- tables -------------------------------------------------------------------------------------------------


def count_tasks(prepared: PreparedCore, ours: Ours, plain: Ours, counter: Counter) -> Iterator[str]:
    columns = ("task", "kind", "tokens / minimum", "tokens, by item / here", "head rows", "forwards")
    yield "| " + " | ".join([*columns, "FLOPs, by item / here", "FLOPs, plain / here"]) + " |"
    yield "|---|---|---|---|---|---|---|---|"
    sums = {"item": Count(), "plain": Count(), "here": Count()}
    choosing = [0, 0]
    for name, requests in prepared.workload.requests.items():
        trie, jobs = ours.plan(requests)
        _, plain_jobs = plain.plan(requests)
        by_item = sum((counter.item(options) for options in items_of(prepared, name)), Count())
        here = sum((counter.job(job, trie, requests) for job in jobs), Count())
        in_batches = sum((counter.job(job, trie, requests) for job in plain_jobs), Count())
        kind = prepared.stages[name].task.kind
        if kind != "language_modeling":
            choosing = [choosing[0] + here.tokens, choosing[1] + trie.num_tokens]
        for key, count in zip(sums, (by_item, in_batches, here), strict=True):
            sums[key] += count
        yield line(name, kind.replace("_", " "), here.tokens / trie.num_tokens, by_item, in_batches, here)
    minimum = prepared.workload.minimum_tokens
    yield line("**all**", "", sums["here"].tokens / minimum, sums["item"], sums["plain"], sums["here"])
    yield ""
    yield f"Multiple choice and schema together: {choosing[0] / choosing[1]:.3f} times the minimum of tokens."


def count_tokens(prepared: PreparedCore, ours: Ours) -> str:
    over = {}
    for name, requests in prepared.workload.requests.items():
        trie, jobs = ours.plan(requests)
        if prepared.stages[name].task.kind != "language_modeling":
            over[name] = sum(job.num_tokens for job in jobs) / trie.num_tokens
    return ", ".join(f"{name} {ratio:.3f}" for name, ratio in sorted(over.items(), key=lambda pair: -pair[1]))


def line(name: str, kind: str, over: float, by_item: Count, plain: Count, here: Count) -> str:
    cells = (
        name,
        kind,
        f"{over:.3f}",
        f"{by_item.tokens / here.tokens:.2f}",
        f"{by_item.head_rows:,} → {here.head_rows:,}",
        f"{by_item.forwards:,} → {here.forwards:,}",
        f"{by_item.flops / here.flops:.2f}",
        f"{plain.flops / here.flops:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def time_task(
    prepared: PreparedCore, name: str, model: GPT2LMHeadModel, ours: Ours, plain: Ours, repetitions: int
) -> str:
    items = items_of(prepared, name)
    requests = prepared.workload.requests[name]
    ways: dict[str, Callable[[], Any]] = {
        "item": lambda: score_by_item(model, items),
        "plain": lambda: plain.score(requests),
        "here": lambda: ours.score(requests),
    }
    seconds: dict[str, list[float]] = {key: [] for key in ways}
    for _ in range(repetitions):
        for key, way in ways.items():
            started = time.perf_counter()
            scores = way()
            seconds[key].append(time.perf_counter() - started)
            if key == "item":
                expected = np.concatenate(scores)
            elif not np.allclose(scores, expected, atol=2e-5):
                raise SystemExit(f"{name}: scores of {key} differ by {np.abs(scores - expected).max()}")
    median = {key: statistics.median(values) for key, values in seconds.items()}
    spread = [one / other for one, other in zip(seconds["item"], seconds["here"], strict=True)]
    return (
        f"| {name} | {len(items)} | {median['item']:.1f} s | {median['plain']:.1f} s | {median['here']:.1f} s "
        f"| {statistics.median(spread):.2f} ({min(spread):.2f} to {max(spread):.2f}) "
        f"| {median['plain'] / median['here']:.2f} |"
    )


def check_counts(prepared: PreparedCore, name: str, ours: Ours, counter: Counter) -> str:
    """FLOPs counted while really scoring, beside those by shapes."""
    requests = [request for options in items_of(prepared, name)[:3] for request in options]
    trie, jobs = ours.plan(requests)
    with FlopCounterMode(display=False) as real:
        ours.engine.score(requests, trie, jobs, SilentProgress())
    by_shape = sum((counter.job(job, trie, requests) for job in jobs), Count())
    return f"3 items of {name}, FLOPs counted while scoring: {real.get_total_flops():,}; by shapes: {by_shape.flops:,}."


def count_mmlu(lm: LanguageModel, limit: int | None, ours: Ours, plain: Ours) -> str:
    prepared = prepare_core(lm, resolve_core(CoreOptions(tasks=["mmlu"], limit=limit)))
    requests = prepared.workload.requests["mmlu"]
    trie, jobs = ours.plan(requests)
    _, plain_jobs = plain.plan(requests)
    here, in_batches = (sum(job.num_tokens for job in some) for some in (jobs, plain_jobs))
    by_option = sum(len(request.ids) for request in requests)
    return (
        f"MMLU, 5 shots from dev, {len(requests) // 4:,} items: {here:,} tokens ({here / trie.num_tokens:.3f} times "
        f"the minimum), {in_batches:,} in plain batches with one row for choices of one token ({in_batches / here:.2f} "
        f"times), {by_option:,} with a row for each choice ({by_option / here:.1f} times)."
    )


# --- memory -------------------------------------------------------------------------------------------------


class PeakMemory:
    """Samples this process's resident memory while it is entered; Linux only."""

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


def measure_memory(way: str) -> None:
    """Print the megabytes that one way holds at its peak above the peak of the model without its head, and seconds."""
    model = build_model()
    model.set_attn_implementation("sdpa")
    ids = np.random.default_rng(0).integers(0, 50257, (2, POSITIONS + 1))
    requests = [Request(row.astype(np.int32), 1, len(row), 1) for row in ids]
    engine = Engine(model, frozenset(), "full" if way == "full" else None)
    trie = build_trie(requests)
    (job,) = engine.plan(trie, 2 * POSITIONS)
    with torch.inference_mode():
        inputs = torch.from_numpy(ids[:, :-1])
        model.transformer(input_ids=inputs, use_cache=False)
        with PeakMemory() as own:
            model.transformer(input_ids=inputs, use_cache=False)
        started = time.perf_counter()
        with PeakMemory() as memory:
            if way == "base":
                model.transformer(input_ids=inputs, use_cache=False)
            else:
                engine.score(requests, trie, [job], SilentProgress())
    print((memory.peak_bytes - own.peak_bytes) / 1e6, time.perf_counter() - started)


def compare_memory(repetitions: int) -> Iterator[str]:
    yield "| bpb of 4,096 tokens, 50,257 ids | extra peak memory | seconds |"
    yield "|---|---|---|"
    for way, title in (("base", "the model without its head"), ("lean", "here"), ("full", "all logits at once")):
        runs = []
        for _ in range(repetitions):
            command = [sys.executable, __file__, "--measure-memory", way]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            runs.append([float(value) for value in output.split()])
        megabytes, seconds = (statistics.median(values) for values in zip(*runs, strict=True))
        yield f"| {title} | {megabytes:.0f} MB | {seconds:.2f} |"


def time_help() -> str:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "hf_core_bpb", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    return f"`python -m hf_core_bpb --help`: {statistics.median(seconds):.2f} s."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", help="a CORE bundle")
    parser.add_argument("--tokenizer", default="gpt2")
    parser.add_argument("--limit", type=int, default=50, help="items a task for counts (default: 50)")
    parser.add_argument("--timed-items", type=int, default=16, help="items of arc_easy that are timed (default: 16)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--mmlu-limit", type=int, help="items of MMLU for counts (default: all)")
    parser.add_argument("--parts", default="tasks,tokens,mmlu,time,memory,help")
    parser.add_argument("--measure-memory", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure_memory:
        measure_memory(args.measure_memory)
        return
    parts = args.parts.split(",")
    model = build_model()
    lm = wrap(model, AutoTokenizer.from_pretrained(args.tokenizer), name="gpt2-small-shape")
    ours, plain, counter = Ours(model, FAST_PATHS), Ours(model, frozenset()), Counter()

    def prepare(limit: int, tasks: list[str]) -> PreparedCore:
        return prepare_core(
            lm, resolve_core(CoreOptions(tasks=tasks, source="bundle", bundle=args.bundle, limit=limit))
        )

    if "tasks" in parts:
        core = prepare(args.limit, [task.name for task in members(list_tasks(), "core-22")])
        print(f"{args.limit} items a task (repeat_copy_logic has 32):\n")
        print("\n".join(count_tasks(core, ours, plain, counter)) + "\n")
        print(check_counts(core, "arc_easy", ours, counter) + "\n", flush=True)
    if "tokens" in parts:
        core = prepare(10 * args.limit, [task.name for task in members(list_tasks(), "core-22")])
        print(f"{10 * args.limit} items a task, tokens over the minimum: {count_tokens(core, ours)}.\n", flush=True)
    if "mmlu" in parts:
        print(count_mmlu(lm, args.mmlu_limit, ours, plain) + "\n", flush=True)
    if "time" in parts:
        print("| task | items | by item | plain batches | here | by item / here | plain / here |")
        print("|---|---|---|---|---|---|---|")
        model.set_attn_implementation("sdpa")
        for name, count in (("arc_easy", args.timed_items), ("openbook_qa", 8 * args.timed_items)):
            # Items of the whole task, so that shots are drawn as they are in a full run.
            print(time_task(prepare(count, [name]), name, model, ours, plain, args.repetitions), flush=True)
        print()
    if "memory" in parts:
        print("\n".join(compare_memory(args.repetitions)) + "\n", flush=True)
    if "help" in parts:
        print(time_help())


if __name__ == "__main__":
    main()
