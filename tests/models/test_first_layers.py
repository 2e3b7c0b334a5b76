"""The first layers of a model: one of every kind, and all of them again afterwards."""

import pytest
import torch
from support.tiny_models import build_tiny_model

from hf_core_bpb.models.first_layers import first_layers

IDS = torch.arange(7)[None]


@pytest.mark.parametrize(
    ("architecture", "num_layers"),
    [
        ("gpt2", 1),
        ("llama", 1),
        ("gemma2", 2),  # sliding, full
        ("gemma3_text", 6),  # five sliding, one full
        ("jamba", 2),  # recurrent, attention
        ("qwen3_next", 4),  # three linear, one full
        ("lfm2", 2),  # convolution, attention
    ],
)
def test_layers_are_left_out_after_one_of_every_kind(architecture, num_layers):
    model = build_tiny_model(architecture, repeats=3)
    called = set()
    for index, layer in enumerate(next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))):
        layer.register_forward_hook(lambda *_, index=index: called.add(index))
    with torch.inference_mode():
        with first_layers(model):
            model(input_ids=IDS, use_cache=False)
        assert called == set(range(num_layers))
        model(input_ids=IDS, use_cache=False)
    assert called == set(range(model.config.num_hidden_layers))


def test_a_compiled_model_keeps_all_layers(monkeypatch):
    model = build_tiny_model()
    model.transformer.forward = torch.compile(model.transformer.forward, backend="eager")
    with first_layers(model):
        assert len(model.transformer.h) == 2


def test_a_model_without_a_list_of_layers_is_left_as_it_is():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    with first_layers(model):
        assert len(model) == 2
