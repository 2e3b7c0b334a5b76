"""Workloads on several processes, with too little memory, and on models with disabled fast paths."""

import json
import textwrap
import time
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command import run_script
from support.naive import nats_of
from support.requests import request, sharing_requests
from support.tiny_models import build_tiny_model
from support.workloads import NarrowMemory, workload

from hf_core_bpb.errors import RunError
from hf_core_bpb.evaluation.bpb import prepare_texts, run_texts, score_texts
from hf_core_bpb.evaluation.core import prepare_core, run_core, score_core
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.evaluation.resolve import TextSource, resolve_core
from hf_core_bpb.models.language_model import wrap
from hf_core_bpb.scoring.engine import Engine
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.scoring.workload import build_workload
from hf_core_bpb.tokenization.windows import choose_windows
from hf_core_bpb.types import Document

TWO = ("torchrun", "--nproc_per_node", "2")


def check(requests, scored):
    model = build_tiny_model()
    for current, sums in zip(requests, scored["first"] + scored["second"], strict=True):
        expected = nats_of(model, current.ids.tolist(), current.start, current.end)
        assert sums.total_nats == pytest.approx(sum(expected), rel=2e-5, abs=2e-4)


@pytest.mark.filterwarnings("ignore:Fast path .* disabled for NarrowMemory")
def test_the_budget_is_halved_when_memory_runs_out_and_nothing_is_scored_twice(tokenizer):
    requests = sharing_requests()
    narrow = Scorer(NarrowMemory(build_tiny_model(), 100), 400)
    with pytest.warns(UserWarning, match="a forward pass ran out of memory: continuing with `batch_tokens`") as caught:
        scored = narrow.score(workload(requests))
    messages = [str(w.message) for w in caught if "continuing" in str(w.message)]
    assert [message.rsplit(" ", 1)[1] for message in messages] == ["200", "100"]
    check(requests, scored.sums)
    assert scored.batch_tokens == narrow.budget(0) == 100
    # Apart from padding, every path is forwarded once.
    assert scored.work.forward_tokens < 1.2 * sum(len(p) for t in workload(requests).tries.values() for p in t.paths)


@pytest.mark.filterwarnings("ignore:Fast path .* disabled for NarrowMemory")
def test_a_single_row_that_exceeds_memory_raises_a_clear_error(tokenizer):
    with (
        pytest.warns(UserWarning, match="out of memory"),
        pytest.raises(RunError, match="out of memory in a forward pass of 6[0-9] tokens: CUDA out of memory"),
    ):
        Scorer(NarrowMemory(build_tiny_model(), 50), 400).score(workload(sharing_requests()))


def test_each_disabled_fast_path_is_reported_once_with_the_reason(tokenizer):
    lm = Scorer(build_tiny_model("rwkv"))
    with pytest.warns(UserWarning, match="disabled for RwkvForCausalLM") as caught:
        lm.score(workload(sharing_requests()))
    assert lm.score(workload(sharing_requests())).work.forwards > 0
    messages = [str(w.message) for w in caught if "Fast path" in str(w.message)]
    assert len(messages) == len(lm.engine.disabled) == len(set(messages)) >= 1
    assert all(m.startswith("Fast path '") for m in messages)
    assert any("failed the accuracy check" in m for m in messages)
    assert lm.engine.describe() == "full; head replayed"


def test_a_prepared_run_scores_another_checkpoint_without_tokenizing_again(tokenizer):
    class Counting:
        def __init__(self):
            self.calls = 0

        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __call__(self, *args, **options):
            self.calls += 1
            return tokenizer(*args, **options)

    counting = Counting()
    first, second = build_tiny_model("llama"), build_tiny_model("gpt2")
    core = resolve_core(CoreOptions(tasks=["piqa", "winogrande"], source="demo"))
    texts = [TextSource("text", [Document("The river ran to the sea.")], "r")]
    windows = choose_windows(512, None)
    core_prepared = prepare_core(wrap(first, counting), core)
    texts_prepared = prepare_texts(wrap(first, counting), texts, windows)
    calls = counting.calls
    for model in (first, second):
        lm, scorer = wrap(model, counting), Scorer(model)
        plain = wrap(model, tokenizer)
        assert score_core(lm, scorer, core_prepared)[0] == run_core(plain, Scorer(model), core)[0]
        assert score_texts(lm, scorer, texts_prepared)[0] == run_texts(plain, Scorer(model), texts, windows)[0]
    assert calls > 0
    assert counting.calls == calls


SCRIPT = """
import json, os, sys, warnings
sys.path.insert(0, {tests!r})
import torch
from support.requests import sharing_requests
from support.workloads import NarrowMemory, workload
from support.tiny_models import build_tiny_model
from hf_core_bpb.distributed import leave, process_group
from hf_core_bpb.scoring.scorer import Scorer

rank = process_group().process_index
{model}
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as caught:
    scored = Scorer(model, 400).score(workload(sharing_requests()))
with open(f"{{rank}}.json", "w") as file:
    json.dump({{
        "nats": [s.total_nats for name in ("first", "second") for s in scored.sums[name]],
        "warnings": [str(w.message) for w in caught if "memory" in str(w.message)],
        "tokens": scored.work.forward_tokens,
    }}, file)
leave()
# Threads of torch can abort the interpreter's shutdown.
os._exit(0)
"""


def run_together(tmp_path, model):
    path = tmp_path / "script.py"
    tests = str(Path(__file__).parents[1])
    path.write_text(SCRIPT.format(tests=tests, model=textwrap.dedent(model)))
    finished = run_script(path, launcher=TWO)
    assert finished.returncode == 0, finished.stderr
    return [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]


def check_nats(result):
    model = build_tiny_model()
    for current, nats in zip(sharing_requests(), result["nats"], strict=True):
        expected = nats_of(model, current.ids.tolist(), current.start, current.end)
        assert nats == pytest.approx(sum(expected), rel=2e-5, abs=2e-4)


@pytest.mark.slow
def test_all_processes_halve_the_budget_when_one_runs_out_of_memory(tmp_path):
    parts = run_together(tmp_path, "model = NarrowMemory(build_tiny_model(), 10_000 if rank == 0 else 150)")
    for part in parts:
        check_nats(part)
    assert parts[0]["nats"] == parts[1]["nats"]
    assert parts[0]["tokens"] == parts[1]["tokens"]
    assert [message.rsplit(" ", 1)[1] for message in parts[0]["warnings"]] in (["200"], ["200", "100"])
    assert parts[1]["warnings"] == []


@pytest.mark.slow
def test_all_processes_call_a_sharded_model_equally_often_and_score_as_unsharded(tmp_path):
    """Otherwise processes would wait for each other forever: every forward of FSDP gathers weights from all."""
    parts = run_together(
        tmp_path,
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        model = build_tiny_model()
        mesh = init_device_mesh("cpu", (2,))
        for layer in model.transformer.h:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        """,
    )
    for part in parts:
        check_nats(part)
    assert parts[0]["nats"] == parts[1]["nats"]


@pytest.mark.filterwarnings("ignore:.*ran out of memory")
def test_a_tree_that_exceeds_memory_is_split_into_paths(tokenizer):
    model = build_tiny_model()
    plain = model.forward

    @wraps(plain)
    def narrow(input_ids, **options):
        if input_ids.shape[1] > 120:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(input_ids=input_ids, **options)

    rng = np.random.default_rng(2)
    prompt = rng.integers(0, 400, 12).tolist()
    requests = [request(prompt + rng.integers(0, 400, 30).tolist(), 12) for _ in range(5)]
    lm = Scorer(model, 400)
    lm._engine = Engine(model, frozenset({"tree"}), "masked")
    model.forward = narrow
    scored = lm.score(build_workload({"a": lambda: requests}))
    assert "tree" in lm.engine.used_modes
    for current, sums in zip(requests, scored.sums["a"], strict=True):
        expected = nats_of(build_tiny_model(), current.ids.tolist(), current.start, current.end)
        assert sums.total_nats == pytest.approx(sum(expected), rel=2e-5)


UNEVEN = """
import os, sys
sys.path.insert(0, {tests!r})
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from support.tiny_models import build_tiny_model
from hf_core_bpb import evaluate_bpb
from hf_core_bpb.distributed import leave, process_group

rank = process_group().process_index
model, plain = build_tiny_model(), build_tiny_model()
fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
rows = [torch.arange(1 + n, 21 + n)[None] for n in range(4)]
batches = [dict(input_ids=row, labels=row) for row in rows]
ignored = dict(input_ids=rows[0], labels=torch.full_like(rows[0], -100))
share = [batches[0], ignored] if rank == 0 else batches[1:]
together = evaluate_bpb(model, share, [1] * 400)
with open(f"{{rank}}.txt", "w") as file:
    file.write(f"{{together}} {{evaluate_bpb(plain, share, [1] * 400)}}")
leave()
# Threads of torch can abort the interpreter's shutdown.
os._exit(0)
"""


@pytest.mark.slow
def test_a_sharded_model_is_evaluated_on_uneven_batches(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(UNEVEN.format(tests=str(Path(__file__).parents[1])))
    finished = run_script(path, launcher=TWO)
    assert finished.returncode == 0, finished.stderr
    for rank in range(2):
        together, plain = map(float, (tmp_path / f"{rank}.txt").read_text().split())
        assert together == pytest.approx(plain, rel=1e-6)


BREAKING = """
import sys
sys.path.insert(0, {tests!r})
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from support.requests import sharing_requests
from support.workloads import workload
from support.tiny_models import build_tiny_model
from hf_core_bpb.distributed import process_group
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.progress import SilentProgress

rank = process_group().process_index
model = build_tiny_model()
fully_shard(model, mesh=init_device_mesh("cpu", (2,)))


class Failing(SilentProgress):
    def advance(self, tokens):
        if rank == {failing}:
            raise ValueError("a disk that is full on this process alone")


scorer = Scorer(model, 100, Failing())
scorer.score(workload(sharing_requests()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_during_sharded_forwards_ends_the_job_within_a_minute(tmp_path, failing):
    path = tmp_path / "script.py"
    path.write_text(BREAKING.format(tests=str(Path(__file__).parents[1]), failing=failing))
    started = time.monotonic()
    finished = run_script(path, launcher=TWO)
    assert finished.returncode != 0
    assert time.monotonic() - started < 60
    assert "a disk that is full on this process alone" in finished.stderr
