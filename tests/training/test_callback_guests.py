"""The callback among what else people put into a Trainer: other callbacks, collators, models, optimizers, loggers."""

import json
import math
from pathlib import Path

import pytest
import torch
from support.command import run_script
from support.naive import nats_of
from support.tiny_models import build_tiny_model
from support.trainers import TEXTS, logged, make_trainer, rows
from transformers import DataCollatorForLanguageModeling, DataCollatorWithFlattening

from hf_core_bpb import CoreBpbCallback
from hf_core_bpb.errors import InputError


def test_core_alone_does_not_mind_an_eval_dataset_that_is_no_text(tmp_path, tokenizer, caplog):
    callback = CoreBpbCallback(core_every=1000, core_limit=2, tasks=["piqa"], source="demo")
    trainer = make_trainer(
        tmp_path, tokenizer, callback, data=rows(8), model=build_tiny_model("llama"), eval_strategy="steps",
        eval_dataset=[{"input_ids": [1, 2, 3, 4], "labels": [9, 9, 9, 9]}], eval_steps=2,
        collator=DataCollatorWithFlattening(),
    )  # fmt: skip
    trainer.train()
    assert [step for step, _ in callback.core_results] == [4]
    assert "eval_bpb is not measured" in caplog.text


def test_a_collator_is_given_whole_rows_and_what_it_masks_is_not_scored(tmp_path, tokenizer):
    tokenizer.pad_token = tokenizer.eos_token

    class Masking(DataCollatorForLanguageModeling):
        def __call__(self, features, return_tensors=None):
            features = [dict(feature) for feature in features]
            answers = [feature.pop("answer_mask") for feature in features]
            batch = super().__call__(features)
            for row, mask in enumerate(answers):
                batch["labels"][row, : len(mask)][~torch.tensor(mask)] = -100
            return batch

    ids = [0, *tokenizer.encode(TEXTS[0])]
    mask = [False] * 4 + [True] * (len(ids) - 4)
    callback = CoreBpbCallback()
    trainer = make_trainer(
        tmp_path, tokenizer, callback, eval_dataset=[{"input_ids": ids, "answer_mask": mask}] * 2,
        data=[{"input_ids": ids, "answer_mask": mask}] * 8, collator=Masking(tokenizer, mlm=False),
        remove_unused_columns=False, eval_strategy="steps", eval_steps=4, learning_rate=0.0,
    )  # fmt: skip
    trainer.train()
    nats = nats_of(trainer.model.eval(), ids, 4, len(ids))
    num_bytes = len(tokenizer.decode(ids[4:]).encode())
    assert logged(trainer, "eval_bpb")[-1] == pytest.approx(sum(nats) / math.log(2) / num_bytes, rel=1e-5)
    assert logged(trainer, "scale/target_tokens")[-1] == 4 * 2 * (len(ids) - 4)


def test_what_bits_per_byte_are_asked_of_is_looked_at_before_the_first_step(tmp_path, tokenizer):
    for number, (callback, options) in enumerate(
        (
            (CoreBpbCallback(bpb_every=3), {}),
            (CoreBpbCallback(), {"metric_for_best_model": "eval_bpb", "greater_is_better": False, "eval_steps": 4}),
        )
    ):
        if options:
            options = {**options, "eval_strategy": "steps"}
        trainer = make_trainer(
            tmp_path / str(number), tokenizer, callback, data=rows(8), collator=DataCollatorWithFlattening(),
            model=build_tiny_model("llama"), eval_dataset=[{"input_ids": [1, 2, 3], "labels": [9, 9, 9]}], **options,
        )  # fmt: skip
        with pytest.raises(InputError, match="row 0: expected labels that are the inputs"):
            trainer.train()
        assert trainer.state.global_step == 0


def test_a_plain_module_is_counted_and_not_evaluated(tmp_path, tokenizer, caplog):
    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = torch.nn.Embedding(400, 8)
            self.head = torch.nn.Linear(8, 400, bias=False)

        def forward(self, input_ids, labels=None, **kwargs):
            logits = self.head(self.embedding(input_ids))
            loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            return {"loss": loss, "logits": logits}

    data = [{"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]}] * 8
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(), data=data, model=Plain(), eval_dataset=data[:2],
        eval_strategy="steps", eval_steps=2,
    )  # fmt: skip
    trainer.train()
    assert logged(trainer, "scale/target_tokens") == [6, 12, 18, 24]
    assert "eval_bpb is not measured: model: expected one of transformers, with a config, got Plain" in caplog.text
    with pytest.raises(InputError, match="expected one of transformers, with a config, got Plain"):
        make_trainer(tmp_path / "b", tokenizer, CoreBpbCallback(TEXTS, bpb_every=1), data=data, model=Plain()).train()


def test_a_checkpoint_that_a_later_callback_asks_for_has_all_counts(tmp_path, tokenizer):
    from transformers import TrainerCallback

    class Saving(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_save = state.global_step == 3

    data = [{"input_ids": list(range(1, 12))}] * 16
    options = {"data": data, "max_steps": 6, "logging_steps": 2}
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), **options)
    trainer.add_callback(Saving())
    trainer.train()
    resumed = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
    # Two rows of ten targets a step.
    assert logged(resumed, "scale/target_tokens")[-1] == 6 * 2 * 10


def test_a_hyperparameter_search_goes_by_the_loss_unless_bits_per_byte_were_asked_for(tmp_path, tokenizer):
    from transformers.trainer_utils import default_compute_objective

    seen = []

    def search(callback):
        trainer = make_trainer(
            tmp_path, tokenizer, callback, eval_dataset=[{"input_ids": [0, *tokenizer.encode(TEXTS[0])]}] * 2
        )
        evaluate = trainer.evaluate

        def begin(*_, **__):
            trainer.state.is_hyper_param_search = True
            trainer.state.global_step = 1
            seen.append(default_compute_objective(dict(evaluate())))

        trainer.state.is_hyper_param_search = True
        callback_begin = callback.on_step_end

        def on_step_end(args, state, control, **kwargs):
            callback_begin(args, state, control, **kwargs)
            begin()

        callback.on_step_end = on_step_end
        trainer.train()
        return trainer

    trainer = search(CoreBpbCallback())
    losses = logged(trainer, "eval_loss")
    assert seen == pytest.approx(losses)


def test_a_run_shorter_than_its_first_log_still_says_what_it_was(tmp_path, tokenizer):
    data = [{"input_ids": list(range(1, 12))}] * 8
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), data=data, logging_steps=500)
    trainer.train()
    (entry,) = [e for e in trainer.state.log_history if "scale/target_tokens" in e]
    assert entry["scale/target_tokens"] == 4 * 2 * 10
    assert "train_loss" in entry


def test_settings_that_a_checkpoint_would_take_are_refused(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), restore_callback_states_from_checkpoint=True)
    with pytest.raises(InputError, match="expected restore_callback_states_from_checkpoint=False"):
        trainer.train()


def test_labels_kept_from_the_model_and_shared_positions_are_counted_by_hand(tokenizer):
    from hf_core_bpb.training.token_counter import TokenCounter

    model = build_tiny_model("llama").train()
    ids = torch.arange(1, 13).reshape(2, 6)
    counter = TokenCounter()
    counter.attach(model)
    counter.labels = torch.where(torch.arange(6) < 4, -100, ids)
    model(input_ids=ids, labels=None)
    assert counter.take() == [2 * 2, 12, 12, 12 * 6]
    counter.labels = None
    # Two texts in each row, whose positions are given once for both rows.
    model(input_ids=ids, position_ids=torch.tensor([[0, 1, 2, 0, 1, 2]]))
    assert counter.take() == [2 * (6 - 2), 12, 12, 12 * 6]


def test_weights_that_an_optimizer_keeps_for_evaluation_are_those_evaluated(tmp_path, tokenizer):
    modes, seen = [], []

    class TwoFaced(torch.optim.SGD):
        def train(self):
            modes.append("train")

        def eval(self):
            modes.append("eval")

    class Watching(CoreBpbCallback):
        def _bpb(self, step):
            found = super()._bpb(step)
            seen.append((step, list(modes)))
            return found

    model = build_tiny_model()
    trainer = make_trainer(tmp_path, tokenizer, Watching(TEXTS, bpb_every=2), model=model, max_steps=2)
    trainer.optimizer = TwoFaced(model.parameters(), lr=1e-3)
    trainer.train()
    ((step, order),) = seen
    assert step == 2
    assert order[-2:] == ["eval", "train"]


def test_what_a_user_put_in_the_place_of_a_method_is_there_again_after_training(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback())
    lines = []
    trainer.log = lambda logs, *rest: lines.append(logs)
    mine = trainer.log
    trainer.train()
    assert trainer.log is mine
    assert "compute_loss" not in trainer.__dict__
    assert [line["scale/target_tokens"] for line in lines if "loss" in line]


def test_the_state_of_a_training_that_has_not_begun_is_refused_in_words():
    with pytest.raises(InputError, match="expected a training that has begun, got none yet"):
        CoreBpbCallback().scale()


ONE_LOGS = """
import json, os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from hf_core_bpb.distributed import leave
from support.trainers import make_trainer, rows
from transformers import PreTrainedTokenizerFast, Trainer
from hf_core_bpb import CoreBpbCallback

compute_loss = Trainer.compute_loss

def logging(self, *args, **kwargs):
    if self.is_world_process_zero():
        self.log({{"loss": 1.0, "mine": 2.0}})
    return compute_loss(self, *args, **kwargs)

Trainer.compute_loss = logging
tokenizer = PreTrainedTokenizerFast.from_pretrained("tokenizer")
data = [{{"input_ids": row["input_ids"]}} for row in rows(16)]
trainer = make_trainer(Path("."), tokenizer, CoreBpbCallback(), data=data, max_steps=2)
trainer.train()
if trainer.is_world_process_zero():
    Path("log.json").write_text(json.dumps(trainer.state.log_history))
leave()
os._exit(0)
"""


def test_a_loss_that_one_process_logs_does_not_make_it_wait_for_the_others(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    path = tmp_path / "script.py"
    path.write_text(ONE_LOGS.format(tests=str(Path(__file__).parents[1])))
    finished = run_script(path, launcher=("torchrun", "--nproc_per_node", "2"))
    assert finished.returncode == 0, finished.stderr
    history = json.loads((tmp_path / "log.json").read_text())
    assert [entry["mine"] for entry in history if "mine" in entry] == [2.0, 2.0]
