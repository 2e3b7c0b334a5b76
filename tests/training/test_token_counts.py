"""Tokens, parameters and FLOPs that a real training logs, against counts by hand."""

import pytest
import torch
from support.tiny_models import build_tiny_model
from support.trainers import logged, make_trainer, rows
from transformers import (
    DataCollatorForLanguageModeling,
    DataCollatorWithFlattening,
    TrainerCallback,
    default_data_collator,
)

from hf_core_bpb import CoreBpbCallback
from hf_core_bpb.scaling.laws import find_rule
from hf_core_bpb.training.meter import Meter
from hf_core_bpb.training.token_counter import TokenCounter


class LengthRecorder(DataCollatorForLanguageModeling):
    """Records the lengths of the rows in every batch."""

    def __call__(self, features, return_tensors=None):
        self.lengths = [*getattr(self, "lengths", []), [len(f["input_ids"]) for f in features]]
        return super().__call__(features, return_tensors)


@pytest.mark.slow
def test_tokens_are_counted_with_padding_and_gradient_accumulation(tmp_path, tokenizer):
    tokenizer.pad_token = tokenizer.eos_token
    collator = LengthRecorder(tokenizer, mlm=False)
    callback = CoreBpbCallback()
    trainer = make_trainer(tmp_path, tokenizer, callback, collator=collator, gradient_accumulation_steps=3, max_steps=2)
    trainer.train()
    batches = collator.lengths[: 2 * 3]
    lengths = [length for batch in batches for length in batch]
    assert logged(trainer, "scale/input_tokens")[-1] == sum(lengths)
    assert logged(trainer, "scale/target_tokens")[-1] == sum(length - 1 for length in lengths)
    assert callback.meter.counts["forward_tokens"] == sum(len(batch) * max(batch) for batch in batches)
    first_step = [length for batch in batches[:3] for length in batch]
    assert logged(trainer, "scale/target_tokens")[0] == sum(first_step) - len(first_step)


@pytest.mark.slow
def test_the_first_tokens_of_packed_texts_are_not_targets(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(), data=rows(4), collator=DataCollatorWithFlattening(),
        model=build_tiny_model("llama"), per_device_train_batch_size=4, max_steps=3,
    )  # fmt: skip
    trainer.train()
    assert logged(trainer, "scale/input_tokens") == [33, 66, 99]
    assert logged(trainer, "scale/target_tokens") == [29, 58, 87]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"label_smoothing_factor": 0.1}], ids=["in the model", "label smoothing"])
def test_ignored_labels_are_not_targets_even_if_trainer_does_not_pass_them_to_the_model(tmp_path, tokenizer, options):
    data = [{"input_ids": list(range(1, 11)), "labels": [-100] * 7 + [8, 9, 10]}] * 8
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(), data=data, collator=default_data_collator, max_steps=1, **options
    )
    trainer.train()
    assert logged(trainer, "scale/target_tokens") == [2 * 3]


def count_forward(noted_labels=None, **inputs):
    """Return the counts of one training forward pass of 2 rows of 6 tokens, with these labels noted beforehand."""
    model = build_tiny_model("llama").train()
    counter = TokenCounter()
    counter.attach(model)
    counter.labels = noted_labels
    model(input_ids=torch.arange(1, 13).reshape(2, 6), **inputs)
    return counter.take()


def test_labels_that_are_not_passed_to_the_model_match_counts_by_hand():
    labels = torch.where(torch.arange(6) < 4, -100, torch.arange(1, 13).reshape(2, 6))
    assert count_forward(labels) == [2 * 2, 12, 12, 12 * 6]


def test_positions_shared_by_all_rows_apply_to_each_row():
    """Each row has two texts, whose positions are passed once for both rows."""
    assert count_forward(position_ids=torch.tensor([[0, 1, 2, 0, 1, 2]])) == [2 * (6 - 2), 12, 12, 12 * 6]


@pytest.mark.slow
def test_parameters_ratios_and_flops_match_counts_by_hand(tmp_path, tokenizer):
    callback = CoreBpbCallback(convention="total", device_flops=1e9)
    data = [{"input_ids": list(range(1, 33))}] * 8
    trainer = make_trainer(tmp_path, tokenizer, callback, data=data, max_steps=2)
    trainer.train()
    first, last = (e for e in trainer.state.log_history if "scale/flops" in e and "loss" in e)
    # 2 layers of 12 x 32^2 + 13 x 32, 400 + 512 embeddings of 32, a last norm; the tied head is one of the matrices.
    layers = 2 * (12 * 32**2 + 13 * 32)
    total, matmul = layers + 912 * 32 + 64, 2 * 12 * 32**2 + 400 * 32
    assert (first["scale/parameters_total"], first["scale/parameters_active"]) == (total, total)
    assert first["scale/parameters_non_embedding"] == total - 912 * 32
    assert first["scale/parameters_matmul"] == matmul
    tokens = 2 * 2 * 31
    assert last["scale/target_tokens"] == tokens
    assert last["scale/tokens_per_parameter_matmul"] == pytest.approx(tokens / matmul)
    assert last["scale/tokens_per_parameter_total"] == pytest.approx(tokens / total)
    assert last["scale/flops_6nd"] == 6 * matmul * tokens
    # 6 per weight and token, and 12 x layers x length x width of attention, for the 4 rows of 32.
    assert last["scale/flops"] == pytest.approx(4 * 32 * (6 * matmul + 12 * 2 * 32 * 32))
    assert last["scale/mfu"] == pytest.approx(last["scale/flops"] / (callback.meter.train_seconds * 1e9))
    assert last["scale/unique_tokens"] == tokens


@pytest.mark.slow
def test_repeated_epochs_add_no_unique_tokens(tmp_path, tokenizer):
    data = [{"input_ids": list(range(1, 12))}] * 4
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), data=data, max_steps=6)
    trainer.train()
    # Two steps per epoch, each of two rows with ten targets.
    assert logged(trainer, "scale/target_tokens") == [20, 40, 60, 80, 100, 120]
    assert logged(trainer, "scale/unique_tokens") == pytest.approx([20, 40, 40, 40, 40, 40])


@pytest.mark.slow
def test_a_second_training_starts_counting_at_zero(tmp_path, tokenizer):
    callback = CoreBpbCallback()
    trainer = make_trainer(tmp_path, tokenizer, callback, data=[rows()[0]] * 8)
    trainer.train()
    first = dict(callback.meter.counts)
    trainer.train()
    assert callback.meter.counts == first


@pytest.mark.slow
def test_counts_are_complete_after_the_last_log(tmp_path, tokenizer):
    callback = CoreBpbCallback()
    data = [{"input_ids": list(range(1, 12))}] * 16
    trainer = make_trainer(tmp_path, tokenizer, callback, data=data, max_steps=7, logging_steps=4)
    trainer.train()
    assert callback.scale()["scale/target_tokens"] == 7 * 2 * 10


@pytest.mark.slow
def test_a_run_shorter_than_its_logging_interval_has_the_counts_in_its_summary(tmp_path, tokenizer):
    data = [{"input_ids": list(range(1, 12))}] * 8
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), data=data, logging_steps=500)
    trainer.train()
    (entry,) = [e for e in trainer.state.log_history if "scale/target_tokens" in e]
    assert entry["scale/target_tokens"] == 4 * 2 * 10
    assert "train_loss" in entry


def test_counts_continue_from_a_checkpoint(tmp_path, tokenizer):
    options = {"save_strategy": "steps", "save_steps": 3, "logging_steps": 2, "max_steps": 7}
    whole = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), **options)
    whole.train()
    resumed = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
    for key in ("scale/target_tokens", "scale/input_tokens", "scale/flops"):
        assert logged(resumed, key)[-1] == logged(whole, key)[-1] > 0


@pytest.mark.slow
def test_a_checkpoint_that_a_later_callback_requests_has_all_counts(tmp_path, tokenizer):
    class SaveAtStep3(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_save = state.global_step == 3

    options = {"data": [{"input_ids": list(range(1, 12))}] * 16, "max_steps": 6, "logging_steps": 2}
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), **options)
    trainer.add_callback(SaveAtStep3())
    trainer.train()
    resumed = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
    # Two rows of ten targets per step.
    assert logged(resumed, "scale/target_tokens")[-1] == 6 * 2 * 10


@pytest.mark.slow
def test_a_callback_added_to_a_resumed_run_warns_that_earlier_tokens_are_missing(tmp_path, tokenizer, caplog):
    options = {"save_strategy": "steps", "save_steps": 2, "max_steps": 6}

    class OtherName(CoreBpbCallback):
        """A callback whose state the checkpoint has under another name."""

    make_trainer(tmp_path, tokenizer, OtherName(), **options).train()
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), **options)
    trainer.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    assert "the checkpoint has no token counts: they start at step 2" in caplog.text
    assert len(logged(trainer, "scale/target_tokens")) == 2 + 4


def test_a_checkpoint_saves_counts_curve_and_alerts_under_fixed_keys():
    assert CoreBpbCallback().state() == {
        "args": {},
        "attributes": {
            "counts": {"target_tokens": 0, "input_tokens": 0, "forward_tokens": 0, "length_sum": 0},
            "train_seconds": 0.0,
            "curve": [],
            "standing": [],
            "sizes_logged": False,
        },
    }


def test_mfu_counts_every_device_of_a_process(tiny_model):
    """DataParallel runs one process on several devices."""
    meter = Meter("matmul", find_rule("besiroglu-2024"), device_flops=1e9)
    shares = []
    for num_devices in (1, 4):
        meter.begin(tiny_model, num_devices)
        meter.end()
        meter.counts["forward_tokens"], meter.train_seconds = 1000, 2.0
        shares.append(meter.scale(None)["scale/mfu"])
    assert shares[0] == pytest.approx(4 * shares[1])
    assert shares[0] > 0
