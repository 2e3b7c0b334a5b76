"""Evaluations of a Trainer with mixed precision: the losses and fast paths of its autocast."""

import warnings

import pytest
import torch
from support.tiny_models import build_tiny_model
from support.trainers import TEXTS, make_trainer

from hf_core_bpb import CoreBpbCallback, bits_per_byte
from hf_core_bpb.scoring.engine import Engine

pytestmark = pytest.mark.slow


@pytest.fixture
def engines(monkeypatch):
    """The engines that are made from now on."""
    made = []
    initialize = Engine.__init__

    def record(self, *args, **options):
        initialize(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(Engine, "__init__", record)
    return made


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "mixtral"])
def test_mixed_precision_keeps_the_fast_paths_of_float32(tmp_path, tokenizer, engines, architecture):
    used = []
    for bf16 in (False, True):
        core = {"tasks": ["piqa", "mmlu"], "source": "demo", "core_limit": 4, "core_every": 4}
        trainer = make_trainer(
            tmp_path, tokenizer, CoreBpbCallback(**core), model=build_tiny_model(architecture), bf16=bf16
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Fast path")
            trainer.train()
        engine = engines[-1]
        used.append((engine.used_modes, engine.forward.headed.head, engine.disabled))
    assert used[0] == used[1]
    assert used[1][0] & {"tree", "prefix"}
    assert used[1][1:] == ("replayed", {})


def test_bits_per_byte_under_mixed_precision_are_those_of_autocast(tmp_path, tokenizer):
    callback = CoreBpbCallback(TEXTS, bpb_every=4)
    model = build_tiny_model()
    make_trainer(tmp_path, tokenizer, callback, model=model, bf16=True, learning_rate=0.0).train()
    ((_, bpb),) = callback.curve
    plain = build_tiny_model()
    in_float32 = bits_per_byte(plain, tokenizer, TEXTS).bpb
    with torch.autocast("cpu", torch.bfloat16):
        in_autocast = bits_per_byte(plain, tokenizer, TEXTS).bpb
    assert bpb == pytest.approx(in_autocast, rel=1e-4)
    assert abs(in_autocast - in_float32) > 2e-4 * in_float32
