"""FLOPs of training against counts by hand: dense models, mixtures of experts, frozen weights."""

import pytest
import torch
from support.tiny_models import build_tiny_model

from hf_core_bpb.scaling.flops import peak_flops, six_n_d, training_flops_per_token

LENGTH = 48


def test_the_flops_of_gpt2_by_hand():
    """6 per weight of the matrices and the head, and 12 x layers x length x width for attention."""
    matrices = 2 * 12 * 32**2 + 400 * 32
    expected = 6 * matrices + 12 * 2 * LENGTH * 32
    assert training_flops_per_token(build_tiny_model(), LENGTH) == expected


@pytest.mark.parametrize("architecture", ["mixtral", "qwen3_moe"])
def test_only_the_experts_that_a_token_visits_count(architecture):
    """The router, two experts of four (three matrices each), grouped-query attention, and the head."""
    width = {"mixtral": 48, "qwen3_moe": 24}[architecture]
    attention = 2 * 32 * 32 + 2 * 32 * 16
    layer = attention + 32 * 4 + 2 * 3 * 32 * width
    expected = 6 * (2 * layer + 400 * 32) + 12 * 2 * LENGTH * 32
    assert training_flops_per_token(build_tiny_model(architecture), LENGTH) == expected


def test_the_count_without_weights_equals_that_of_a_real_step():
    """The same counter over a real forward and backward pass with eager attention."""
    from torch.utils.flop_counter import FlopCounterMode

    model = build_tiny_model("llama")
    model.set_attn_implementation("eager")
    model.train()
    ids = torch.arange(LENGTH)[None]
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, use_cache=False).logits.sum().backward()
    assert training_flops_per_token(build_tiny_model("llama"), LENGTH) == counter.get_total_flops() / LENGTH


def test_frozen_weights_have_no_gradients_to_count():
    """With all but the last norm frozen: a forward pass, and a backward pass through the head alone."""
    model = build_tiny_model()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name == "transformer.ln_f.weight")
    layers, head = 2 * 12 * 32**2, 400 * 32
    assert training_flops_per_token(model, LENGTH) == 2 * layers + 4 * 2 * LENGTH * 32 + 4 * head


def test_counting_leaves_the_model_unchanged():
    model = build_tiny_model("mixtral")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    config = model.config.to_dict()
    training_flops_per_token(model, LENGTH)
    assert model.config.to_dict() == config
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_flops_of_other_models_are_unknown():
    assert training_flops_per_token(torch.nn.Linear(2, 2), LENGTH) is None


def test_the_peak_of_a_cpu_is_unknown():
    assert peak_flops(torch.device("cpu")) is None


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", None),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
    ],
)
def test_peaks_are_found_by_whole_words_of_the_devices_name(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: name)
    assert peak_flops(torch.device("cuda")) == peak


def test_six_n_d_by_hand():
    assert six_n_d(30e6, 600e6) == pytest.approx(1.08e17)
