"""Bits per byte of the Trainer's eval dataset, and eval datasets that have none."""

import math

import pytest
import torch
from support.naive import nats_of
from support.tiny_models import build_tiny_model
from support.trainers import TEXTS, logged, make_trainer, rows, steps_with, text_row
from transformers import DataCollatorForLanguageModeling, DataCollatorWithFlattening

from hf_core_bpb import CoreBpbCallback
from hf_core_bpb.errors import InputError

pytestmark = pytest.mark.slow

NOT_TEXT = [{"input_ids": [1, 2, 3, 4], "labels": [9, 9, 9, 9]}]


def make_trainer_without_text(tmp_path, tokenizer, callback, **options):
    return make_trainer(
        tmp_path, tokenizer, callback, eval_dataset=NOT_TEXT, data=rows(8), model=build_tiny_model("llama"),
        collator=DataCollatorWithFlattening(), **options,
    )  # fmt: skip


def test_bits_per_byte_of_the_eval_dataset_match_a_naive_loop(tmp_path, tokenizer):
    data = [text_row(tokenizer, text) for text in TEXTS]
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(bpb_every=2), eval_dataset=data, learning_rate=0.0)
    trainer.train()
    model = build_tiny_model()
    nats = sum(sum(nats_of(model, row["input_ids"], 1, len(row["input_ids"]))) for row in data)
    expected = nats / math.log(2) / sum(len(text.encode()) for text in TEXTS)
    assert logged(trainer, "eval_bpb") == pytest.approx([expected, expected], rel=1e-5)
    assert steps_with(trainer, "eval_bpb") == [2, 4]


def test_the_collator_gets_whole_rows_and_the_labels_it_masks_are_not_scored(tmp_path, tokenizer):
    tokenizer.pad_token = tokenizer.eos_token

    class AnswersOnly(DataCollatorForLanguageModeling):
        def __call__(self, features, return_tensors=None):
            features = [dict(feature) for feature in features]
            masks = [feature.pop("answer_mask") for feature in features]
            batch = super().__call__(features)
            for row, mask in enumerate(masks):
                batch["labels"][row, : len(mask)][~torch.tensor(mask)] = -100
            return batch

    ids = text_row(tokenizer)["input_ids"]
    row = {"input_ids": ids, "answer_mask": [False] * 4 + [True] * (len(ids) - 4)}
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(), eval_dataset=[row] * 2, data=[row] * 8,
        collator=AnswersOnly(tokenizer, mlm=False), remove_unused_columns=False, eval_strategy="steps", eval_steps=4,
        learning_rate=0.0,
    )  # fmt: skip
    trainer.train()
    nats = nats_of(trainer.model.eval(), ids, 4, len(ids))
    num_bytes = len(tokenizer.decode(ids[4:]).encode())
    assert logged(trainer, "eval_bpb")[-1] == pytest.approx(sum(nats) / math.log(2) / num_bytes, rel=1e-5)
    assert logged(trainer, "scale/target_tokens")[-1] == 4 * 2 * (len(ids) - 4)


def test_an_eval_dataset_that_is_not_text_is_skipped_with_one_warning(tmp_path, tokenizer, caplog):
    trainer = make_trainer_without_text(tmp_path, tokenizer, CoreBpbCallback(), eval_strategy="steps", eval_steps=2)
    trainer.train()
    assert len(logged(trainer, "eval_loss")) == 2
    assert logged(trainer, "eval_bpb") == []
    assert caplog.text.count("eval_bpb is not measured: eval_dataset, row 0: expected labels equal to the inputs") == 1


def test_core_alone_accepts_an_eval_dataset_that_is_not_text(tmp_path, tokenizer, caplog):
    callback = CoreBpbCallback(core_every=1000, core_limit=2, tasks=["piqa"], source="demo")
    trainer = make_trainer_without_text(tmp_path, tokenizer, callback, eval_strategy="steps", eval_steps=2)
    trainer.train()
    assert [step for step, _ in callback.core_results] == [4]
    assert "eval_bpb is not measured" in caplog.text


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"bpb_every": 3}, {}),
        ({}, {"metric_for_best_model": "eval_bpb", "greater_is_better": False, "eval_strategy": "steps"}),
    ],
    ids=["scheduled", "metric for the best model"],
)
def test_requested_bits_per_byte_of_rows_that_are_not_text_are_rejected_before_the_first_step(
    tmp_path, tokenizer, settings, options
):
    trainer = make_trainer_without_text(tmp_path, tokenizer, CoreBpbCallback(**settings), **options)
    with pytest.raises(InputError, match="row 0: expected labels equal to the inputs"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_an_empty_text_is_rejected_before_the_first_step(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(["fine", ""], bpb_every=2))
    with pytest.raises(InputError, match="texts, document 1: expected text"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_a_streamed_eval_dataset_is_rejected(tmp_path, tokenizer):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([text_row(tokenizer)])

    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(bpb_every=2), eval_dataset=Stream())
    with pytest.raises(InputError, match="expected a dataset with a length, got a stream"):
        trainer.train()


class Plain(torch.nn.Module):
    """A language model that is not from transformers."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(400, 8)
        self.head = torch.nn.Linear(8, 400, bias=False)

    def forward(self, input_ids, labels=None, **kwargs):
        logits = self.head(self.embedding(input_ids))
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return {"loss": loss, "logits": logits}


def test_a_plain_module_is_counted_but_not_evaluated(tmp_path, tokenizer, caplog):
    data = [{"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]}] * 8
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(), data=data, model=Plain(), eval_dataset=data[:2],
        eval_strategy="steps", eval_steps=2,
    )  # fmt: skip
    trainer.train()
    assert logged(trainer, "scale/target_tokens") == [6, 12, 18, 24]
    assert "eval_bpb is not measured: `model`: expected a transformers model with a config, got Plain" in caplog.text


def test_requested_bits_per_byte_of_a_plain_module_are_rejected(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(TEXTS, bpb_every=1), model=Plain())
    with pytest.raises(InputError, match="expected a transformers model with a config, got Plain"):
        trainer.train()
