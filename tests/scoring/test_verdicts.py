"""Verdicts on a model are kept with it: nothing is checked twice, and what may have changed is checked again."""

import gc

import pytest
import torch
from support.requests import sharing_requests
from support.tiny_models import build_tiny_model
from support.workloads import workload
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from hf_core_bpb.evaluation.core import prepare_core
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.evaluation.resolve import resolve_core
from hf_core_bpb.models.language_model import wrap
from hf_core_bpb.scoring import verdicts
from hf_core_bpb.scoring.engine import FAST_PATHS, Engine
from hf_core_bpb.scoring.probe import Probe
from hf_core_bpb.scoring.scorer import Scorer


@pytest.fixture
def checks(monkeypatch):
    """The names of the checks that are made from now on."""
    made = []
    for name in ("structure_error", "rounding_error"):
        original = getattr(Probe, name)

        def record(self, head, mode, name=name, original=original):
            made.append(name)
            return original(self, head, mode)

        monkeypatch.setattr(Probe, name, record)
    return made


def test_a_second_evaluation_checks_nothing_again(checks):
    model = build_tiny_model()
    first = Scorer(model).score(workload(sharing_requests()))
    assert {"structure_error", "rounding_error"} == set(checks)
    checks.clear()
    again = Scorer(model).score(workload(sharing_requests()))
    assert checks == []
    assert again.sums == first.sums


def test_a_second_evaluation_forwards_only_what_it_scores():
    model = build_tiny_model()
    Scorer(model).score(workload(sharing_requests()))
    calls = []
    model.transformer.h[0].register_forward_hook(lambda *_: calls.append(1))
    again = Scorer(model).score(workload(sharing_requests()))
    assert len(calls) == again.work.forwards


def test_after_a_step_of_training_only_rounding_is_checked_again(checks):
    model = build_tiny_model()
    Scorer(model).score(workload(sharing_requests()))
    checks.clear()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(input_ids=torch.arange(9)[None], labels=torch.arange(9)[None]).loss.backward()
    optimizer.step()
    Scorer(model).score(workload(sharing_requests()))
    assert set(checks) == {"rounding_error"}


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.to(torch.bfloat16),
        lambda model: model.set_attn_implementation("eager"),
        lambda model: model.set_submodule("transformer.h.0.attn.attn_dropout", torch.nn.Identity()),
    ],
    ids=["dtype", "attention", "modules"],
)
def test_another_setting_is_checked_from_the_start(checks, change):
    model = build_tiny_model()
    Engine(model).verify(FAST_PATHS, 70)
    checks.clear()
    change(model)
    Engine(model).verify(FAST_PATHS, 70)
    assert "structure_error" in checks


def test_autocast_is_another_setting(checks):
    model = build_tiny_model()
    Engine(model).verify(FAST_PATHS, 70)
    checks.clear()
    with torch.autocast("cpu", torch.bfloat16):
        Engine(model).verify(FAST_PATHS, 70)
    assert "structure_error" in checks


def test_longer_requests_are_checked_beyond_the_window(checks):
    model = build_tiny_model("mistral", window=64)
    Engine(model).verify(["tree"], 60)
    checks.clear()
    Engine(model).verify(["tree"], 200)
    assert "structure_error" in checks


def test_another_adapter_is_another_setting(checks):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(build_tiny_model("llama"), LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    Engine(model).verify(["prefix"], 70)
    checks.clear()
    Engine(model).verify(["prefix"], 70)
    assert checks == []
    with model.disable_adapter():
        Engine(model).verify(["prefix"], 70)
    assert "structure_error" in checks


def test_what_could_not_be_tried_is_tried_again(checks):
    """With a head of zeros, losses depend on no context, as before the first step of some trainings."""
    model = build_tiny_model("jamba")
    weights = model.get_output_embeddings().weight.detach().clone()
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    assert all("cannot be verified" in failure for failure in Engine(model).verify(FAST_PATHS, 60).values())
    with torch.no_grad():
        model.get_output_embeddings().weight.copy_(weights)
    assert "failed the accuracy check" in Engine(model).verify(["prefix"], 60)["prefix"]


def test_a_verdict_on_layers_of_zeros_is_not_kept():
    """Some trainings begin with output matrices of zeros, which hide that a path is wrong for their layers."""
    model = build_tiny_model("jamba")
    matrices = [m.mamba.out_proj.weight for m in model.model.layers if hasattr(m, "mamba")]
    originals = [matrix.detach().clone() for matrix in matrices]
    with torch.no_grad():
        for matrix in matrices:
            matrix.zero_()
    assert Engine(model).verify(["prefix"], 60)["prefix"] is None
    with torch.no_grad():
        for matrix, original in zip(matrices, originals, strict=True):
            matrix.copy_(original)
    assert "failed the accuracy check" in Engine(model).verify(["prefix"], 60)["prefix"]


def test_verdicts_end_with_their_model():
    model = build_tiny_model()
    Engine(model).verify(FAST_PATHS, 70)
    gc.collect()
    before = len(verdicts._VERDICTS)
    del model
    gc.collect()
    assert len(verdicts._VERDICTS) == before - 1


@pytest.mark.slow
def test_checks_of_a_small_run_cost_at_most_a_tenth_of_its_scoring(shared):
    """FLOPs of 50 items of OpenBookQA on the shape of GPT-2; the second run checks nothing."""
    tokenizer = AutoTokenizer.from_pretrained(shared / "hub" / "models" / "gpt2-mini")
    lm = wrap(GPT2LMHeadModel(GPT2Config()).eval(), tokenizer, None)
    core = CoreOptions(tasks=["openbook_qa"], source="bundle", bundle=str(shared / "bundle"), limit=50)
    prepared = prepare_core(lm, resolve_core(core))
    flops = []
    for _ in range(2):
        with FlopCounterMode(display=False) as counter:
            Scorer(lm.model).score(prepared.workload)
        flops.append(counter.get_total_flops())
    assert flops[1] > 0
    assert flops[0] - flops[1] <= 0.1 * flops[1]
