"""Tokens, forwards, head rows and FLOPs of each strategy, counted from shapes on the meta device."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from typing import Any

import torch
from model import build_model
from strategies import EngineStrategy
from suite import Benchmark
from torch.utils.flop_counter import FlopCounterMode

from hf_core_bpb.progress import SilentProgress
from hf_core_bpb.scoring.layout import lay_out
from hf_core_bpb.scoring.plan import Job
from hf_core_bpb.scoring.trie import Trie, build_trie
from hf_core_bpb.types import Request


@dataclass(frozen=True)
class Count:
    """The cost of scoring some requests."""

    forwards: int = 0
    tokens: int = 0
    head_rows: int = 0
    flops: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))


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
                # With a mask the model does not read the values of positions, which meta tensors do not have.
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
        """All options padded into one batch, the head at every position."""
        length = max(len(request.ids) for request in options)
        return self.forward(len(options), length, len(options) * length)

    def items(self, items: Iterable[Sequence[Request]]) -> Count:
        return sum((self.item(options) for options in items), Count())

    def job(self, job: Job, trie: Trie, requests: Sequence[Request]) -> Count:
        layout = lay_out(job, trie, requests)
        total = Count()
        if layout.prefixes is not None:
            total += self.forward(*layout.prefixes.ids_BxT.shape, _num_read(layout.prefixes))
        for block in layout.steps:
            total += self.forward(*block.ids_BxT.shape, _num_read(block), len(job.prefixes), job.depth)
        return total

    def jobs(self, jobs: Iterable[Job], trie: Trie, requests: Sequence[Request]) -> Count:
        return sum((self.job(job, trie, requests) for job in jobs), Count())


def _num_read(block: Any) -> int:
    rows, columns, _, _ = block.reads
    return len(set(zip(rows.tolist(), columns.tolist(), strict=True)))


HEADER = (
    "| task | kind | tokens / minimum | tokens, by item / engine | head rows | forwards "
    "| FLOPs, by item / engine | FLOPs, plain / engine |\n|---|---|---|---|---|---|---|---|"
)


def count_tasks(
    benchmarks: Sequence[Benchmark], engine: EngineStrategy, plain: EngineStrategy, counter: Counter
) -> Iterator[str]:
    """Yield the lines of the table of all tasks."""
    yield HEADER
    by_item, plainly, by_engine = Count(), Count(), Count()
    num_forwarded = num_minimum = 0
    for one in benchmarks:
        counts = (
            counter.items(one.items),
            counter.jobs(plain.plan(one.trie), one.trie, one.requests),
            counter.jobs(engine.plan(one.trie), one.trie, one.requests),
        )
        by_item, plainly, by_engine = by_item + counts[0], plainly + counts[1], by_engine + counts[2]
        if one.has_options:
            num_forwarded, num_minimum = num_forwarded + counts[2].tokens, num_minimum + one.trie.num_tokens
        yield _line(one.task.name, one.task.kind.replace("_", " "), one.trie.num_tokens, *counts)
    yield _line("**all**", "", sum(one.trie.num_tokens for one in benchmarks), by_item, plainly, by_engine)
    yield f"\nMultiple choice and schema together: {num_forwarded / num_minimum:.3f} times the minimum of tokens."


def _line(name: str, kind: str, minimum: int, by_item: Count, plain: Count, engine: Count) -> str:
    cells = (
        name,
        kind,
        f"{engine.tokens / minimum:.3f}",
        f"{by_item.tokens / engine.tokens:.2f}",
        f"{by_item.head_rows:,} → {engine.head_rows:,}",
        f"{by_item.forwards:,} → {engine.forwards:,}",
        f"{by_item.flops / engine.flops:.2f}",
        f"{plain.flops / engine.flops:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def count_tokens(benchmarks: Sequence[Benchmark], engine: EngineStrategy) -> str:
    """Return forwarded tokens over the minimum of each task with options, the largest first."""
    over = {
        one.task.name: sum(job.num_tokens for job in engine.plan(one.trie)) / one.trie.num_tokens
        for one in benchmarks
        if one.has_options
    }
    return ", ".join(f"{name} {ratio:.3f}" for name, ratio in sorted(over.items(), key=lambda pair: -pair[1]))


def count_mmlu(mmlu: Benchmark, engine: EngineStrategy, plain: EngineStrategy) -> str:
    by_engine, plainly = (sum(job.num_tokens for job in one.plan(mmlu.trie)) for one in (engine, plain))
    by_option = sum(len(request.ids) for request in mmlu.requests)
    return (
        f"MMLU, 5 shots from dev, {len(mmlu.items):,} items: {by_engine:,} tokens "
        f"({by_engine / mmlu.trie.num_tokens:.3f} times the minimum), {plainly:,} in plain batches with one row for "
        f"choices of one token ({plainly / by_engine:.2f} times), {by_option:,} with a row for each choice "
        f"({by_option / by_engine:.1f} times)."
    )


def check_counts(benchmark: Benchmark, engine: EngineStrategy, counter: Counter) -> str:
    """Return the FLOPs counted while three items are scored, beside those counted by shapes."""
    requests = [request for options in benchmark.items[:3] for request in options]
    trie = build_trie(requests)
    jobs = engine.plan(trie)
    with FlopCounterMode(display=False) as real:
        engine.engine.score(requests, trie, jobs, SilentProgress())
    by_shape = counter.jobs(jobs, trie, requests)
    return (
        f"3 items of {benchmark.task.name}, FLOPs counted while scoring: {real.get_total_flops():,}; "
        f"by shapes: {by_shape.flops:,}."
    )
