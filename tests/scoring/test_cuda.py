"""On a CUDA device: verdicts, losses, budgets and memory that runs out."""

import subprocess
import sys
import warnings

import pytest
import torch
from support.architectures import CORRECT, SILENTLY_WRONG
from support.naive import nats_of
from support.requests import sharing_requests
from support.tiny_models import build_tiny_model
from support.workloads import workload

from hf_core_bpb.scoring.engine import FAST_PATHS, Engine
from hf_core_bpb.scoring.memory import auto_batch_tokens
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.training.token_counter import TokenCounter

pytestmark = [pytest.mark.cuda, pytest.mark.slow]
DTYPES = [torch.float32, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("architecture", sorted(CORRECT))
def test_fast_paths_on_cuda_are_those_of_the_cpu(architecture, dtype):
    engine = Engine(build_tiny_model(architecture).to("cuda", dtype))
    kept = {mode for mode, failure in engine.verify(FAST_PATHS, 70).items() if failure is None}
    assert kept == CORRECT[architecture]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("architecture", "mode"), SILENTLY_WRONG)
def test_wrong_fast_paths_on_cuda_are_refused_for_their_losses(architecture, mode, dtype):
    engine = Engine(build_tiny_model(architecture).to("cuda", dtype))
    assert engine.verify([mode], 70)[mode].startswith("it failed the accuracy check")


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2", "mixtral"])
def test_losses_on_cuda_are_those_of_the_cpu(architecture):
    requests = sharing_requests()
    scored = Scorer(build_tiny_model(architecture).to("cuda")).score(workload(requests)).sums
    model = build_tiny_model(architecture)
    expected = [sum(nats_of(model, r.ids.tolist(), r.start, r.end)) for r in requests]
    assert [s.total_nats for s in scored["first"] + scored["second"]] == pytest.approx(expected, rel=1e-4, abs=0.01)


def test_the_budget_fits_in_the_memory():
    tokens = auto_batch_tokens(build_tiny_model("llama").to("cuda"), "replayed", 500)
    assert tokens in {2**power for power in range(10, 17)}


def test_memory_that_runs_out_halves_the_budget():
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    model = build_tiny_model("gpt2").to("cuda")
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 2**25) / total)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scored = Scorer(model, 2**16).score(workload(sharing_requests() * 40))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()
    assert scored.batch_tokens < 2**16
    assert any("ran out of memory" in str(warning.message) for warning in caught)


LOST = """
import torch
from hf_core_bpb.scoring.device_errors import is_device_lost
try:
    torch.zeros(3, device="cuda")[torch.tensor([7], device="cuda")].sum().item()
except Exception as error:
    print(is_device_lost(error))
"""


def test_a_failed_assertion_on_cuda_is_known_to_lose_the_device():
    """In a process of its own, as the device is lost to it."""
    finished = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=120)
    assert finished.stdout.strip() == "True", finished.stderr


def test_counting_tokens_does_not_wait_for_cuda():
    model = build_tiny_model("llama").to("cuda").train()
    counter = TokenCounter()
    ids_BxT = torch.zeros((2, 9), dtype=torch.long, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        counter.attach(torch.nn.Identity())
        counter._on_forward(model, (), {"input_ids": ids_BxT, "labels": ids_BxT})
    finally:
        torch.cuda.set_sync_debug_mode("default")
        counter.detach()
    assert counter.take() == [16, 18, 18, 162]
