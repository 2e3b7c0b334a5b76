"""How the callback attaches to a Trainer, which Trainers it rejects, and how it leaves them."""

from types import SimpleNamespace

import pytest
import torch
from support.tiny_models import build_tiny_model
from support.trainers import TEXTS, logged, make_trainer, rows, text_row
from transformers import DataCollatorForLanguageModeling, EarlyStoppingCallback

from hf_core_bpb import CoreBpbCallback
from hf_core_bpb.errors import InputError
from hf_core_bpb.training.trainer_hooks import check_sharding

pytestmark = pytest.mark.slow


class FailingCollator(DataCollatorForLanguageModeling):
    """Fails until `fails` is False."""

    fails = True

    def __call__(self, features, return_tensors=None):
        if self.fails:
            raise RuntimeError("no more rows")
        return super().__call__(features, return_tensors)


@pytest.fixture
def failed_trainer(tmp_path, tokenizer):
    """A Trainer whose training failed, and that can train now."""
    tokenizer.pad_token = tokenizer.eos_token
    collator = FailingCollator(tokenizer, mlm=False)
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), collator=collator)
    with pytest.raises(RuntimeError, match="no more rows"):
        trainer.train()
    collator.fails = False
    return trainer


def test_the_trainer_and_its_model_are_restored_after_training(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback())
    attributes = set(trainer.__dict__)
    log = trainer.log
    trainer.train()
    assert trainer.log == log
    assert not {"log", "compute_loss", "_maybe_log_save_evaluate"} & (set(trainer.__dict__) - attributes)
    assert not trainer.model._forward_pre_hooks


def test_a_method_that_the_user_replaced_is_used_and_restored(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback())
    lines = []
    trainer.log = lambda logs, *rest: lines.append(logs)
    users_log = trainer.log
    trainer.train()
    assert trainer.log is users_log
    assert "compute_loss" not in trainer.__dict__
    assert len([line["scale/target_tokens"] for line in lines if "loss" in line]) == 4


def test_training_can_be_repeated_after_a_failure(failed_trainer):
    failed_trainer.train()
    assert len(logged(failed_trainer, "scale/target_tokens")) == 4
    assert len(failed_trainer.model._forward_pre_hooks) == 0


def test_a_callback_removed_after_a_failure_leaves_the_trainer(failed_trainer):
    failed_trainer.remove_callback(CoreBpbCallback)
    failed_trainer.train()
    assert len(logged(failed_trainer, "loss")) == 4
    assert logged(failed_trainer, "scale/target_tokens") == []
    assert "log" not in failed_trainer.__dict__
    assert not failed_trainer.model._forward_pre_hooks


def test_early_stopping_reads_bits_per_byte_even_if_it_was_added_first(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(), eval_dataset=[text_row(tokenizer)], eval_strategy="steps",
        eval_steps=1, save_strategy="steps", save_steps=1, load_best_model_at_end=True,
        metric_for_best_model="eval_bpb", greater_is_better=False, learning_rate=0.0, max_steps=6,
    )  # fmt: skip
    trainer.callback_handler.callbacks.insert(1, EarlyStoppingCallback(2))
    trainer.train()
    assert trainer.state.global_step == 3


def test_the_evaluation_weights_of_an_optimizer_are_evaluated(tmp_path, tokenizer, monkeypatch):
    from hf_core_bpb.evaluation.bpb import PreparedDocuments

    calls = []

    class ScheduleFree(torch.optim.SGD):
        def train(self):
            calls.append("train")

        def eval(self):
            calls.append("eval")

    score = PreparedDocuments.score
    monkeypatch.setattr(PreparedDocuments, "score", lambda *args: calls.append("score") or score(*args))
    model = build_tiny_model()
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(TEXTS, bpb_every=2), model=model, max_steps=2)
    trainer.optimizer = ScheduleFree(model.parameters(), lr=1e-3)
    trainer.train()
    assert calls[-3:] == ["eval", "score", "train"]


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"bpb_every": 2}, {}, "`bpb_every`: expected `texts` or the Trainer's eval_dataset with it, got neither"),
        ({"texts": TEXTS}, {}, "`texts`: expected `bpb_every` or the Trainer's eval_strategy with it, got neither"),
        (
            {"texts": TEXTS, "bpb_every": 2},
            {"metric_for_best_model": "eval_bpb", "eval_strategy": "steps", "eval_dataset": rows(2)},
            "expected greater_is_better=False",
        ),
        (
            {},
            {"restore_callback_states_from_checkpoint": True},
            "expected restore_callback_states_from_checkpoint=False",
        ),
    ],
)
def test_a_trainer_that_contradicts_the_settings_is_rejected_before_the_first_step(
    tmp_path, tokenizer, settings, options, message
):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(**settings), **options)
    with pytest.raises(InputError, match=message):
        trainer.train()
    assert trainer.state.global_step == 0


def test_a_second_callback_in_a_trainer_is_rejected(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback())
    trainer.add_callback(CoreBpbCallback())
    with pytest.raises(InputError, match="expected one per Trainer, got 2"):
        trainer.train()


def test_weights_sharded_by_deepspeed_zero_3_are_rejected():
    state = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=3))
    with pytest.raises(InputError, match="got DeepSpeed ZeRO-3; train with ZeRO-2 or FSDP version 2"):
        check_sharding(SimpleNamespace(accelerator=SimpleNamespace(state=state)), torch.nn.Linear(2, 2))
