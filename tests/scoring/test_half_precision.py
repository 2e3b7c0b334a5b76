"""Half precision and autocast: the verdicts on fast paths are those of float32."""

from contextlib import nullcontext

import pytest
import torch
from support.architectures import CORRECT, SILENTLY_WRONG
from support.naive import nats_of
from support.requests import sharing_requests
from support.tiny_models import build_tiny_model
from support.workloads import workload

from hf_core_bpb.scoring.engine import FAST_PATHS, Engine
from hf_core_bpb.scoring.scorer import Scorer

pytestmark = pytest.mark.slow

ARCHITECTURES = sorted(CORRECT)
SETTINGS = ("bfloat16", "float16", "autocast")


def build(architecture, setting, repeats=1):
    """Return a model in the dtype of a setting, and the context in which it is called."""
    model = build_tiny_model(architecture, repeats=repeats)
    if setting == "autocast":
        return model, torch.autocast("cpu", torch.bfloat16)
    return model.to(getattr(torch, setting)), nullcontext()


def shift_logits(model, shift):
    """Give the head a bias, which changes no loss and leaves fewer digits for what does."""
    head = model.get_output_embeddings()
    shifted = torch.nn.Linear(head.in_features, head.out_features, dtype=head.weight.dtype)
    with torch.no_grad():
        shifted.weight.copy_(head.weight)
        shifted.bias.fill_(shift)
    model.set_output_embeddings(shifted)
    return model


def kept(model):
    verdicts = Engine(model).verify(FAST_PATHS, 70)
    return {mode for mode, failure in verdicts.items() if failure is None}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_precision_keeps_the_fast_paths_of_float32(architecture, setting):
    model, context = build(architecture, setting)
    with context:
        assert kept(model) == CORRECT[architecture]


@pytest.mark.parametrize("setting", ["bfloat16", "autocast"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shifted_logits_in_half_precision_keep_the_fast_paths_of_float32(architecture, setting):
    model, context = build(architecture, setting)
    shift_logits(model, -40.0)
    with context:
        assert kept(model) == CORRECT[architecture]


@pytest.mark.parametrize("setting", ["bfloat16", "autocast"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_thirty_two_layers_in_half_precision_keep_the_fast_paths_of_float32(architecture, setting):
    layers = build_tiny_model(architecture).config.num_hidden_layers
    model, context = build(architecture, setting, repeats=-(-32 // layers))
    assert model.config.num_hidden_layers >= 32
    with context:
        assert kept(model) == CORRECT[architecture]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("architecture", "mode"), SILENTLY_WRONG)
def test_wrong_fast_paths_are_refused_for_their_losses_in_half_precision(architecture, mode, setting):
    model, context = build(architecture, setting)
    with context:
        assert Engine(model).verify([mode], 70)[mode].startswith("it failed the accuracy check")


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "mistral", "mixtral"])
def test_losses_in_bfloat16_are_those_of_plain_forwards_up_to_rounding(architecture):
    model, _ = build(architecture, "bfloat16")
    requests = sharing_requests()
    scored = Scorer(model, 300).score(workload(requests)).sums
    errors, noise = [], []
    exact = build_tiny_model(architecture)
    for current, sums in zip(requests, scored["first"] + scored["second"], strict=True):
        ids, start, end = current.ids.tolist(), current.start, current.end
        expected = sum(nats_of(model, ids, start, end))
        errors.append(abs(sums.total_nats - expected) / (end - start))
        noise.append(abs(sum(nats_of(exact, ids, start, end)) - expected) / (end - start))
    # Batches round differently from single rows, by about as much as bfloat16 rounds.
    assert sum(errors) < 3 * sum(noise)
