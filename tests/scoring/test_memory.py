"""Token budgets from memory, by made-up figures, and errors of devices."""

import pytest
import torch
from support.naive import nats_of
from support.requests import sharing_requests
from support.tiny_models import build_tiny_model
from support.workloads import workload
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from hf_core_bpb.errors import RunError
from hf_core_bpb.scoring import memory
from hf_core_bpb.scoring.device_errors import is_device_lost, is_out_of_memory
from hf_core_bpb.scoring.engine import Engine
from hf_core_bpb.scoring.forward import Forward
from hf_core_bpb.scoring.memory import Footprint, auto_batch_tokens, cache_bytes, fitting_tokens
from hf_core_bpb.scoring.scorer import Scorer

GIB = 2**30


def test_the_budget_is_the_power_of_two_that_fits_half_of_the_free_memory():
    # 16 GiB free, 1 MiB per token: 8,192 tokens fit half of it. The limits are 1,024 and 65,536.
    assert fitting_tokens(2**34, 2**20) == 8192
    assert fitting_tokens(2**34 - 1, 2**20) == 4096
    assert fitting_tokens(2**20, 2**20) == 1024
    assert fitting_tokens(2**40, 2**10) == 65536


def test_the_budget_on_a_cpu_is_2048_tokens(tiny_model):
    assert auto_batch_tokens(tiny_model, "replayed", 100) == 2048


def test_cached_prefixes_their_copies_and_masks_count_by_hand():
    # 4 cached tokens, each twice and repeated for the heads of one layer; a boolean and two bytes, for two masks.
    footprint = Footprint(activations=1000.0, cache=50.0, expanded=7.0, mask=2)
    assert footprint.bytes_per_token(longest=100) == 1000 + 4 * (2 * 50 + 7) + 2 * (2 + 1) * 100


def test_seven_billion_parameters_with_cached_prefixes_fit_eighty_gib():
    """66 GiB are free beside the weights. 0.5 MiB of keys and values per token, 0.64 MB of activations."""
    footprint = Footprint(activations=640e3, cache=2 * 32 * 4096 * 2, expanded=2 * 4096 * 2, mask=2)
    tokens = fitting_tokens(66 * GIB, footprint.bytes_per_token(2048))
    assert tokens == 4096
    assert tokens * (640e3 + 4 * 2 * 2 * 32 * 4096 * 2) < 66 * GIB


@pytest.mark.parametrize(("architecture", "bytes_per_token"), [("gpt2", 2 * 2 * 32 * 4), ("llama", 2 * 2 * 16 * 4)])
def test_the_bytes_of_a_cache_by_hand(architecture, bytes_per_token):
    """Keys and values of 2 layers: 2 heads of 16 in GPT-2, 2 heads of 8 in the Llama."""
    model = build_tiny_model(architecture)
    with torch.inference_mode():
        output = model(input_ids=torch.zeros((3, 20), dtype=torch.long), use_cache=True)
    assert cache_bytes(output) == (60 * bytes_per_token, 30 * bytes_per_token)


@pytest.mark.parametrize("device_type", ["cuda", "xpu"])
def test_the_budget_of_an_accelerator_follows_from_its_figures(monkeypatch, device_type):
    figures = {"mem_get_info": (12 * GIB, 80 * GIB), "memory_reserved": 10 * GIB, "memory_allocated": 5 * GIB}
    for name, figure in figures.items():
        monkeypatch.setattr(getattr(torch, device_type), name, lambda _device, figure=figure: figure)
    monkeypatch.setattr(memory, "device_of", lambda _model: torch.device(device_type))
    monkeypatch.setattr(memory, "_measure", lambda *_: Footprint(2.0**20, 0.0, 0.0, 1))
    # 12 GiB are free, and 5 that torch holds without use. 8,192 tokens of 1 MiB are half of 16.
    assert auto_batch_tokens(build_tiny_model(), "replayed", 100) == 8192


@pytest.mark.parametrize(
    "message",
    ["CUDA out of memory. Tried to allocate 2 GiB", "CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"],
)
def test_failures_to_allocate_are_out_of_memory(message):
    assert is_out_of_memory(RuntimeError(message))
    assert not is_device_lost(RuntimeError(message))


def test_a_failed_assertion_on_a_device_ends_the_run_instead_of_a_fast_path(monkeypatch):
    model = build_tiny_model()
    engine = Engine(model)
    run = Forward.run

    def fail(self, job, trie, requests):
        if job.mode == "tree":
            raise RuntimeError("CUDA error: device-side assert triggered")
        return run(self, job, trie, requests)

    monkeypatch.setattr(Forward, "run", fail)
    with pytest.raises(RunError, match="the device is lost: CUDA error: device-side assert triggered"):
        engine.verify(["tree"], 70)


def attend_as_flash_attention(module, query, key, value, attention_mask, **options):
    """Attention that fails as FlashAttention does on CUDA if it is given a mask of trees."""
    if attention_mask is not None and attention_mask.is_floating_point():
        raise RuntimeError("CUDA error: device-side assert triggered")
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)


@pytest.fixture
def flash_model():
    AttentionInterface.register("stand_in", attend_as_flash_attention)
    AttentionMaskInterface.register("stand_in", sdpa_mask)
    model = build_tiny_model("llama")
    model.set_attn_implementation("stand_in")
    return model


def test_attention_that_takes_no_mask_of_trees_is_never_given_one(flash_model):
    requests = sharing_requests()
    scorer = Scorer(flash_model)
    scored = scorer.score(workload(requests)).sums
    assert scorer.engine.used_modes == {"full", "prefix"}
    expected = [sum(nats_of(flash_model, r.ids.tolist(), r.start, r.end)) for r in requests]
    assert [s.total_nats for s in scored["first"] + scored["second"]] == pytest.approx(expected, abs=1e-3)


def test_a_head_that_runs_at_every_position_is_reported(monkeypatch):
    monkeypatch.setattr("hf_core_bpb.scoring.verdicts.choose_head", lambda *_args, **_options: "full")
    with pytest.warns(UserWarning, match="GPT2LMHeadModel computes logits at every position"):
        Scorer(build_tiny_model()).score(workload(sharing_requests()))
