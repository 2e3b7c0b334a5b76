"""What a device does with the engine: verdicts, the cost of a call, the device's share of the time, heads, memory.

    python benchmarks/gpu.py --bundle BUNDLE --tokenizer gpt2 > table.md
    python benchmarks/gpu.py --bundle BUNDLE --tokenizer gpt2 --small      # on a CPU, in a minute

Each part takes at most ten minutes on a GPU. benchmarks/README.md describes the parts.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from shapes import VOCABULARY, build_shape
from suite import load_bundle
from transformers import AutoTokenizer

from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.scoring.engine import FAST_PATHS, Engine
from hf_core_bpb.scoring.forward import Forward
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.scoring.workload import Workload, build_workload
from hf_core_bpb.types import Request

SIZES = ("gpt2-0.1b", "llama-1b", "llama-8b")
KINDS = ("gpt2-0.1b", "llama-1b", "qwen3-0.6b", "gemma3-1b", "neox-1b")
TASKS = (("arc_easy", 500), ("hellaswag", 500), ("squad", 300))


@dataclass(frozen=True)
class Bench:
    """The device, the size of everything, and the items to score."""

    device: torch.device
    small: bool
    bundle: Path
    tokenizer: Any

    def model(self, name: str, dtype: torch.dtype = torch.bfloat16) -> Any:
        return build_shape(name, self.device, dtype, self.small)

    def tasks(self) -> dict[str, Workload]:
        """Return the requests of each task, and of random text in windows of 1,024 tokens, or 128."""
        workloads = {}
        for name, limit in TASKS:
            (benchmark,) = load_bundle(self.bundle, [name], self.tokenizer, 3 if self.small else limit)
            workloads[name] = build_workload({name: lambda benchmark=benchmark: benchmark.requests})
        ids = (
            np.random.default_rng(0)
            .integers(0, VOCABULARY - 400, (2, 129) if self.small else (256, 1025))
            .astype(np.int32)
        )
        workloads["text"] = build_workload({"text": lambda: [Request(row, 1, len(row), 4) for row in ids]})
        return workloads

    def seconds(self, run: Callable[[], Any], repetitions: int) -> float:
        """Return the median time of a run, after one that warms up."""
        run()
        times = []
        for _ in range(repetitions):
            self.wait()
            begin = time.perf_counter()
            run()
            self.wait()
            times.append(time.perf_counter() - begin)
        return statistics.median(times)

    def wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16)


def show_verdicts(bench: Bench) -> None:
    """Fast paths and heads by shape, in float32, bfloat16, and float32 under autocast."""
    print("| shape | precision | head | kept | disabled |\n|---|---|---|---|---|")
    for name in KINDS:
        for precision in ("float32", "bfloat16", "autocast"):
            dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
            with bench.autocast() if precision == "autocast" else nullcontext():
                engine = Engine(bench.model(name, dtype))
                verdicts = engine.verify(sorted(FAST_PATHS), 1200)
            kept = [mode for mode, failure in verdicts.items() if failure is None]
            failures = "; ".join(f"{mode}: {failure}" for mode, failure in verdicts.items() if failure is not None)
            print(
                f"| {name} | {precision} | {engine.forward.headed.head} | {', '.join(kept)} | {failures} |", flush=True
            )


def show_calls(bench: Bench) -> None:
    """The cost of a call in tokens, and of masks and odd widths against causal attention."""
    print("| shape | ms a call | tokens/s | a call in tokens | masked / causal | odd width / causal |")
    print("|---|---|---|---|---|---|")
    rows, length = (2, 128) if bench.small else (32, 1024)
    for name in SIZES:
        model = bench.model(name)
        base = model.base_model
        causal_TxT = torch.ones(length, length, dtype=torch.bool, device=bench.device).tril()
        mask = torch.full(
            (rows, 1, length, length), torch.finfo(model.dtype).min, dtype=model.dtype, device=bench.device
        )
        mask.masked_fill_(causal_TxT, 0.0)

        def call(shape: tuple[int, int], mask: torch.Tensor | None = None, base: Any = base) -> Callable[[], Any]:
            ids_BxT = torch.zeros(shape, dtype=torch.long, device=bench.device)
            return lambda: base(input_ids=ids_BxT, attention_mask=mask, use_cache=False)

        with torch.inference_mode():
            one = bench.seconds(call((1, 16)), 20)
            causal = bench.seconds(call((rows, length)), 3)
            masked = bench.seconds(call((rows, length), mask), 3)
            odd = bench.seconds(call((rows, length - 3), mask[:, :, :-3, :-3].contiguous()), 3)
        rate = rows * length / causal
        shares = f"{masked / causal:.2f} | {odd / causal:.2f}"
        print(f"| {name} | {one * 1e3:.2f} | {rate:,.0f} | {one * rate:,.0f} | {shares} |", flush=True)


def show_busy(bench: Bench) -> None:
    """Seconds of the device against wall clock, scoring tasks and a text."""
    print("| shape | work | seconds | device busy | tokens/s | forwards | budget |\n|---|---|---|---|---|---|---|")
    workloads = bench.tasks()
    activity = torch.profiler.ProfilerActivity
    for name in SIZES:
        model = bench.model(name)
        for work_name, workload in workloads.items():
            budget = Scorer(model).score(workload).batch_tokens
            bench.wait()
            activities = [activity.CPU if bench.device.type == "cpu" else activity.CUDA]
            with torch.profiler.profile(activities=activities) as profile:
                begin = time.perf_counter()
                scored = Scorer(model, budget).score(workload)
                bench.wait()
                seconds = time.perf_counter() - begin
            busy = sum(getattr(event, "self_device_time_total", 0) for event in profile.key_averages()) / 1e6
            print(
                f"| {name} | {work_name} | {seconds:.2f} | {busy / seconds:.0%} | "
                f"{scored.work.forward_tokens / seconds:,.0f} | {scored.work.forwards} | {budget} |",
                flush=True,
            )


def show_heads(bench: Bench) -> None:
    """Seconds of all losses of a batch by the size of the head's chunks."""
    print("| shape | logits in a chunk | seconds |\n|---|---|---|")
    shape = (2, 65) if bench.small else (64, 513)
    ids_BxT = np.random.default_rng(0).integers(0, VOCABULARY - 400, shape)
    for name in ("gpt2-0.1b", "llama-8b"):
        forward = Forward(bench.model(name), "replayed")
        for power in (22, 24, 26, 27, 28):
            forward.headed.chunk_elements = 2**power
            keep_BxT = np.ones((shape[0], shape[1] - 1), dtype=bool)
            losses = partial(forward.losses, ids_BxT[:, :-1], ids_BxT[:, 1:], keep_BxT)
            try:
                with evaluation_mode(forward.headed.model):
                    measured = f"{bench.seconds(losses, 3):.3f}"
            except torch.OutOfMemoryError:
                measured = "out of memory"
            print(f"| {name} | 2^{power} | {measured} |", flush=True)


def show_memory(bench: Bench) -> None:
    """The budgets with which runs end that begin with too much memory, in 3 GiB beside the weights."""
    print("| budget | ends with | seconds | warnings |\n|---|---|---|---|")
    model = bench.model("llama-1b")
    workload = bench.tasks()["hellaswag"]
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(bench.device).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 3 * 2**30) / total)
    for budget in (65536, None):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            begin = time.perf_counter()
            scored = Scorer(model, budget).score(workload)
        seconds = time.perf_counter() - begin
        print(f"| {budget or 'auto'} | {scored.batch_tokens} | {seconds:.1f} | {len(caught)} |", flush=True)


PARTS = {"verdicts": show_verdicts, "calls": show_calls, "busy": show_busy, "heads": show_heads, "memory": show_memory}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="a CORE bundle")
    parser.add_argument("--tokenizer", default="gpt2")
    parser.add_argument("--small", action="store_true", help="small models and few items, for a CPU")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"some of {','.join(PARTS)} (default: all)")
    args = parser.parse_args(arguments)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    bench = Bench(device, args.small, args.bundle, AutoTokenizer.from_pretrained(args.tokenizer))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}\n")
    for part in args.parts.split(","):
        print(f"## {part}: {PARTS[part].__doc__}\n")
        PARTS[part](bench)
        print(flush=True)


if __name__ == "__main__":
    main()
