"""A real Trainer on a CPU: what it says of tokens, FLOPs, bits per byte and trouble, against counts by hand."""

import json
import math
from pathlib import Path

import pytest
import torch
from support.command import run_script
from support.naive import nats_of
from support.tiny_models import build_tiny_model
from support.trainers import LENGTHS, TEXTS, logged, make_trainer, rows
from transformers import DataCollatorForLanguageModeling, DataCollatorWithFlattening, Trainer

from hf_core_bpb import CoreBpbCallback, bits_per_byte
from hf_core_bpb.errors import InputError


class Recorder(DataCollatorForLanguageModeling):
    """Collates, and keeps the lengths of the rows it was given."""

    def __call__(self, features, return_tensors=None):
        self.seen = [*getattr(self, "seen", []), [len(f["input_ids"]) for f in features]]
        return super().__call__(features, return_tensors)


def test_tokens_are_counted_under_padding_and_accumulation(tmp_path, tokenizer):
    tokenizer.pad_token = tokenizer.eos_token
    collator = Recorder(tokenizer, mlm=False)
    callback = CoreBpbCallback()
    trainer = make_trainer(tmp_path, tokenizer, callback, collator=collator, gradient_accumulation_steps=3, max_steps=2)
    trainer.train()
    used = collator.seen[: 2 * 3]
    lengths = [length for batch in used for length in batch]
    assert logged(trainer, "scale/input_tokens")[-1] == sum(lengths)
    assert logged(trainer, "scale/target_tokens")[-1] == sum(length - 1 for length in lengths)
    assert callback.meter.counts["forward_tokens"] == sum(len(batch) * max(batch) for batch in used)
    first = [length for batch in used[:3] for length in batch]
    assert logged(trainer, "scale/target_tokens")[0] == sum(first) - len(first)


def test_tokens_of_packed_rows_are_counted_without_their_seams(tmp_path, tokenizer):
    data = rows(4)
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(), data=data, collator=DataCollatorWithFlattening(),
        model=build_tiny_model("llama"), per_device_train_batch_size=4, max_steps=3,
    )  # fmt: skip
    trainer.train()
    assert logged(trainer, "scale/input_tokens") == [33, 66, 99]
    assert logged(trainer, "scale/target_tokens") == [29, 58, 87]


def test_parameters_ratios_and_flops_are_named_and_follow_from_each_other(tmp_path, tokenizer):
    callback = CoreBpbCallback(convention="total", device_flops=1e9)
    data = [{"input_ids": list(range(1, 33))}] * 8
    trainer = make_trainer(tmp_path, tokenizer, callback, data=data, max_steps=2)
    trainer.train()
    first, entry = (e for e in trainer.state.log_history if "scale/flops" in e and "loss" in e)
    # 2 layers of 12 x 32^2 + 13 x 32, 400 + 512 embeddings of 32, a last norm; the tied head is one of the matrices.
    layers = 2 * (12 * 32**2 + 13 * 32)
    total, matmul = layers + 912 * 32 + 64, 2 * 12 * 32**2 + 400 * 32
    assert (first["scale/parameters_total"], first["scale/parameters_active"]) == (total, total)
    assert first["scale/parameters_non_embedding"] == total - 912 * 32
    assert first["scale/parameters_matmul"] == matmul
    tokens = 2 * 2 * 31
    assert entry["scale/target_tokens"] == tokens
    assert entry["scale/tokens_per_parameter_matmul"] == pytest.approx(tokens / matmul)
    assert entry["scale/tokens_per_parameter_total"] == pytest.approx(tokens / total)
    assert entry["scale/flops_6nd"] == 6 * matmul * tokens
    # 6 a weight and token, and 12 x layers x length x width of attention, for the 4 rows of 32.
    assert entry["scale/flops"] == pytest.approx(4 * 32 * (6 * matmul + 12 * 2 * 32 * 32))
    assert entry["scale/mfu"] == pytest.approx(entry["scale/flops"] / (callback.meter.train_seconds * 1e9))
    assert entry["scale/unique_tokens"] == tokens


def test_counting_goes_on_where_a_checkpoint_left_off(tmp_path, tokenizer):
    tokenizer.pad_token = tokenizer.eos_token
    options = {"save_strategy": "steps", "save_steps": 3, "logging_steps": 2, "max_steps": 7}
    whole = make_trainer(tmp_path / "whole", tokenizer, CoreBpbCallback(), **options)
    whole.train()
    resumed = make_trainer(tmp_path / "whole", tokenizer, CoreBpbCallback(), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "out" / "checkpoint-3"))
    for key in ("scale/target_tokens", "scale/input_tokens", "scale/flops"):
        assert logged(resumed, key)[-1] == logged(whole, key)[-1] > 0


def test_a_second_training_counts_anew(tmp_path, tokenizer):
    callback = CoreBpbCallback()
    trainer = make_trainer(tmp_path, tokenizer, callback, data=[rows()[0]] * 8)
    trainer.train()
    first = dict(callback.meter.counts)
    trainer.train()
    assert callback.meter.counts == first


def test_bits_per_byte_of_texts_are_those_of_the_function_and_choose_the_best_model(tmp_path, tokenizer):
    callback = CoreBpbCallback(TEXTS)
    trainer = make_trainer(
        tmp_path, tokenizer, callback, eval_dataset=rows(4, labelled=False), eval_strategy="steps", eval_steps=1,
        save_strategy="best", metric_for_best_model="eval_bpb", greater_is_better=False, load_best_model_at_end=True,
        learning_rate=0.05,
    )  # fmt: skip
    trainer.train()
    measured = logged(trainer, "eval_bpb")
    assert len(measured) == 4
    assert trainer.state.best_metric == min(measured)
    assert bits_per_byte(trainer.model, tokenizer, TEXTS).bpb == pytest.approx(min(measured), rel=1e-6)


def test_bits_per_byte_of_the_eval_dataset_are_those_of_its_tokens(tmp_path, tokenizer):
    callback = CoreBpbCallback(bpb_every=2)
    data = [{"input_ids": [0, *tokenizer.encode(text)]} for text in TEXTS]
    trainer = make_trainer(tmp_path, tokenizer, callback, eval_dataset=data, learning_rate=0.0)
    trainer.train()
    model = build_tiny_model()
    nats = sum(sum(nats_of(model, row["input_ids"], 1, len(row["input_ids"]))) for row in data)
    expected = nats / math.log(2) / sum(len(text.encode()) for text in TEXTS)
    assert logged(trainer, "eval_bpb") == pytest.approx([expected, expected], rel=1e-5)
    assert [entry["step"] for entry in trainer.state.log_history if "eval_bpb" in entry] == [2, 4]


def test_evaluating_changes_nothing_of_the_training(tmp_path, tokenizer):
    """Dropout draws from torch's generator, so a single number drawn by an evaluation would show."""

    def train(folder, callback):
        torch.manual_seed(3)
        model = build_tiny_model()
        for layer in model.transformer.h:
            layer.mlp.dropout.p = 0.3
        trainer = make_trainer(folder, tokenizer, callback, model=model, max_steps=5)
        trainer.train()
        return logged(trainer, "loss"), [p.detach().clone() for p in trainer.model.parameters()]

    plain, weights = train(tmp_path / "a", CoreBpbCallback())
    watched, same = train(
        tmp_path / "b", CoreBpbCallback(TEXTS, bpb_every=1, core_every=2, core_limit=2, tasks=["piqa"], source="demo")
    )
    assert plain == watched
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))


def test_core_is_taken_on_schedule_and_at_the_end(tmp_path, tokenizer):
    callback = CoreBpbCallback(core_every=2, core_limit=3, tasks=["piqa", "winogrande"], source="demo")
    trainer = make_trainer(tmp_path, tokenizer, callback, max_steps=5)
    trainer.train()
    assert [e["step"] for e in trainer.state.log_history if "eval_core" in e] == [2, 4, 5]
    assert [step for step, _ in callback.core_results] == [2, 4, 5]
    assert logged(trainer, "eval_core")[-1] == callback.core_results[-1][1].core
    assert logged(trainer, "eval_core/piqa")[-1] == callback.core_results[-1][1].tasks["piqa"].accuracy


def test_tensorboard_gets_what_is_logged(tmp_path, tokenizer, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(TEXTS, bpb_every=2), report_to="tensorboard")
    trainer.train()
    (folder,) = {path.parent for path in tmp_path.rglob("events.out.tfevents*")}
    board = EventAccumulator(str(folder))
    board.Reload()
    for tag, key in (("train/scale/target_tokens", "scale/target_tokens"), ("eval/bpb", "eval_bpb")):
        seen = {event.step: event.value for event in board.Scalars(tag)}
        assert list(seen.values()) == pytest.approx(logged(trainer, key))


def break_weights(model):
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(float("nan"))


def test_a_loss_of_nan_is_said_where_trainer_prints_zero(tmp_path, tokenizer, caplog):
    callback = CoreBpbCallback()
    model = build_tiny_model()
    break_weights(model)
    trainer = make_trainer(tmp_path, tokenizer, callback, model=model)
    trainer.train()
    assert logged(trainer, "loss")[0] == 0.0 or math.isnan(logged(trainer, "loss")[0])
    assert [(alert.kind, alert.step) for alert in callback.alerts] == [("non_finite", 1)]
    assert "what Trainer prints for NaN" in caplog.text
    assert logged(trainer, "alert/non_finite") == [1.0]


def test_a_spike_is_said(tmp_path, tokenizer):
    callback = CoreBpbCallback()

    class Spiking(Trainer):
        def compute_loss(self, model, inputs, *args, **options):
            loss = super().compute_loss(model, inputs, *args, **options)
            return loss * 10 if self.state.global_step == 8 else loss

    plain = make_trainer(tmp_path, tokenizer, callback)
    trainer = Spiking(
        model=plain.model, args=plain.args, train_dataset=[rows()[2]] * 32, data_collator=plain.data_collator,
        processing_class=tokenizer, callbacks=[callback],
    )  # fmt: skip
    trainer.args.max_steps = 12
    trainer.train()
    assert [(alert.kind, alert.step) for alert in callback.alerts] == [("spike", 9)]


def test_training_stops_at_the_ratio_asked_for(tmp_path, tokenizer):
    data = [{"input_ids": list(range(1, 42))}] * 32
    # 80 targets a step over 37,376 weights of matrices and head: 0.01 is reached with 374 tokens, at step 5.
    callback = CoreBpbCallback(target_ratio=0.01, stop_at_target=True)
    trainer = make_trainer(tmp_path, tokenizer, callback, data=data, max_steps=20)
    trainer.train()
    assert trainer.state.global_step == 5
    assert [alert.kind for alert in callback.alerts] == ["ratio_reached"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bpb_every": 0}, "expected bpb_every to be a number of steps above 0, got 0"),
        ({"stop_at_target": True}, "expected target_ratio with stop_at_target, got none"),
        ({"law": "mine"}, "law: expected one of besiroglu-2024"),
        ({"core_every": 5, "tasks": ["nope"]}, "nope"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_words(options, message):
    with pytest.raises(InputError) as caught:
        CoreBpbCallback(**options)
    assert message in str(caught.value)


def test_a_schedule_without_anything_to_validate_on_is_refused(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(bpb_every=2))
    with pytest.raises(InputError, match="expected texts or an eval_dataset with bpb_every, got neither"):
        trainer.train()


def test_the_trainer_is_left_as_it_was(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback())
    before = trainer.log
    trainer.train()
    assert trainer.log == before
    assert not trainer.model._forward_pre_hooks


TWO = """
import json, os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from hf_core_bpb.distributed import leave
from support.trainers import make_trainer, rows, logged, TEXTS
from transformers import PreTrainedTokenizerFast
from hf_core_bpb import CoreBpbCallback

tokenizer = PreTrainedTokenizerFast.from_pretrained("tokenizer")
data = [{{"input_ids": row["input_ids"]}} for row in rows(16)]
callback = CoreBpbCallback(TEXTS, bpb_every=1)
options = {{"per_device_train_batch_size": 8 // {processes}, "max_steps": 2, "learning_rate": 0.0}}
trainer = make_trainer(Path("."), tokenizer, callback, data=data, **options)
trainer.train()
if trainer.args.process_index == {rank}:
    Path("{processes}-{rank}.json").write_text(json.dumps(trainer.state.log_history))
leave()
# Threads of torch's own can abort the interpreter's shutdown.
os._exit(0)
"""


def test_two_processes_count_all_tokens_and_agree(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    tests = str(Path(__file__).parents[1])
    histories = []
    for processes, rank in ((1, 0), (2, 0), (2, 1)):
        path = tmp_path / "script.py"
        path.write_text(TWO.format(tests=tests, processes=processes, rank=rank))
        launcher = ("torchrun", "--nproc_per_node", "2") if processes == 2 else ()
        finished = run_script(path, launcher=launcher)
        assert finished.returncode == 0, finished.stderr
        histories.append(json.loads((tmp_path / f"{processes}-{rank}.json").read_text()))
    # Two epochs' halves: all 16 rows, 4 of each length, are seen in two steps of eight.
    for history in histories:
        entry = [e for e in history if "scale/target_tokens" in e][-1]
        assert entry["scale/input_tokens"] == 4 * sum(LENGTHS)
        assert entry["scale/target_tokens"] == 4 * sum(LENGTHS) - 16
    bpb = [[e["eval_bpb"] for e in history if "eval_bpb" in e] for history in histories]
    assert bpb[1] == bpb[2]
    assert bpb[1] == pytest.approx(bpb[0], rel=1e-9)


def test_repeated_epochs_leave_the_unique_tokens_as_they_are(tmp_path, tokenizer):
    data = [{"input_ids": list(range(1, 12))}] * 4
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), data=data, max_steps=6)
    trainer.train()
    # Two steps an epoch, of two rows with ten targets.
    assert logged(trainer, "scale/target_tokens") == [20, 40, 60, 80, 100, 120]
    assert logged(trainer, "scale/unique_tokens") == pytest.approx([20, 40, 40, 40, 40, 40])


def test_a_training_that_failed_can_be_started_again(tmp_path, tokenizer):
    class Failing(DataCollatorForLanguageModeling):
        fails = True

        def __call__(self, features, return_tensors=None):
            if self.fails:
                raise RuntimeError("no more rows")
            return super().__call__(features, return_tensors)

    tokenizer.pad_token = tokenizer.eos_token
    collator = Failing(tokenizer, mlm=False)
    callback = CoreBpbCallback()
    trainer = make_trainer(tmp_path, tokenizer, callback, collator=collator)
    with pytest.raises(RuntimeError, match="no more rows"):
        trainer.train()
    collator.fails = False
    trainer.train()
    assert len(logged(trainer, "scale/target_tokens")) == 4
    assert len(trainer.model._forward_pre_hooks) == 0


def test_an_eval_dataset_that_is_no_text_is_left_to_the_trainer(tmp_path, tokenizer, caplog):
    data = [{"input_ids": [1, 2, 3, 4], "labels": [9, 9, 9, 9]}]
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(), eval_dataset=data, eval_strategy="steps", eval_steps=2,
        collator=DataCollatorWithFlattening(), model=build_tiny_model("llama"), data=rows(8),
    )  # fmt: skip
    trainer.train()
    assert len(logged(trainer, "eval_loss")) == 2
    assert logged(trainer, "eval_bpb") == []
    assert caplog.text.count("eval_bpb is not measured: eval_dataset, row 0: expected labels that are the inputs") == 1


def test_evaluation_at_the_start_and_several_eval_datasets_are_one_curve(tmp_path, tokenizer):
    data = {name: [{"input_ids": [0, *tokenizer.encode(text)]}] for name, text in zip("ab", TEXTS, strict=False)}
    callback = CoreBpbCallback()
    trainer = make_trainer(
        tmp_path, tokenizer, callback, eval_dataset=data, eval_strategy="steps", eval_steps=1, eval_on_start=True,
        max_steps=7, learning_rate=0.01,
    )  # fmt: skip
    trainer.train()
    assert [e["step"] for e in trainer.state.log_history if "eval_bpb" in e] == list(range(8))
    assert [step for step, _ in callback.curve] == list(range(1, 8))
    assert len(logged(trainer, "scale/forecast_bpb")) == 1


@pytest.mark.filterwarnings("ignore:.*is scored without the shortcut")
def test_weights_that_are_not_finite_end_in_an_alert_and_not_in_an_error(tmp_path, tokenizer):
    model = build_tiny_model()
    break_weights(model)
    callback = CoreBpbCallback(TEXTS, bpb_every=2, core_every=4, core_limit=2, tasks=["piqa"], source="demo")
    trainer = make_trainer(tmp_path, tokenizer, callback, model=model)
    trainer.train()
    assert all(math.isnan(value) for value in logged(trainer, "eval_bpb") + logged(trainer, "eval_core"))
    assert {alert.kind for alert in callback.alerts} == {"non_finite"}


def test_masked_labels_are_no_targets_where_trainer_keeps_them_from_the_model(tmp_path, tokenizer):
    from transformers import default_data_collator

    data = [{"input_ids": list(range(1, 11)), "labels": [-100] * 7 + [8, 9, 10]}] * 8
    for number, options in enumerate(({}, {"label_smoothing_factor": 0.1})):
        trainer = make_trainer(
            tmp_path / str(number), tokenizer, CoreBpbCallback(), data=data, collator=default_data_collator,
            max_steps=1, **options,
        )  # fmt: skip
        trainer.train()
        assert logged(trainer, "scale/target_tokens") == [2 * 3]


def test_a_warmup_from_a_rate_of_0_does_not_end_the_training(tmp_path, tokenizer):
    callback = CoreBpbCallback(TEXTS, bpb_every=1)
    trainer = make_trainer(tmp_path, tokenizer, callback, max_steps=9, warmup_steps=2)
    trainer.train()
    # The first step is taken at a rate of 0; from the second on six points are there at the seventh.
    assert [e["step"] for e in trainer.state.log_history if "scale/forecast_bpb" in e] == [7, 8]


def test_the_callback_can_join_a_run_that_is_under_way(tmp_path, tokenizer, caplog):
    options = {"save_strategy": "steps", "save_steps": 2, "max_steps": 6}

    class Silent(CoreBpbCallback):
        """Another name, so that the checkpoint knows nothing of ours."""

    make_trainer(tmp_path, tokenizer, Silent(), **options).train()
    callback = CoreBpbCallback()
    trainer = make_trainer(tmp_path, tokenizer, callback, **options)
    trainer.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    assert "the checkpoint has no counts of tokens: they begin at step 2" in caplog.text
    assert len(logged(trainer, "scale/target_tokens")) == 2 + 4


def test_counts_are_complete_after_the_last_log(tmp_path, tokenizer):
    callback = CoreBpbCallback()
    data = [{"input_ids": list(range(1, 12))}] * 16
    trainer = make_trainer(tmp_path, tokenizer, callback, data=data, max_steps=7, logging_steps=4)
    trainer.train()
    assert callback.scale()["scale/target_tokens"] == 7 * 2 * 10


def test_core_at_the_end_is_of_the_last_weights_and_not_of_the_best(tmp_path, tokenizer):
    seen = []

    class Watching(CoreBpbCallback):
        def _core_metrics(self, step, run):
            seen.append((step, self.trainer.model.lm_head.weight.detach().clone()))
            return super()._core_metrics(step, run)

    callback = Watching(TEXTS, core_every=1000, core_limit=2, tasks=["piqa"], source="demo")
    trainer = make_trainer(
        tmp_path, tokenizer, callback, eval_dataset=rows(4, labelled=False), eval_strategy="steps", eval_steps=1,
        save_steps=1, save_strategy="steps", metric_for_best_model="eval_loss", greater_is_better=False,
        load_best_model_at_end=True, learning_rate=0.01,
    )  # fmt: skip
    trainer.train()
    ((step, weight),) = seen
    assert step == 4
    assert trainer.state.best_global_step < 4
    assert not torch.equal(weight, trainer.model.lm_head.weight)


@pytest.mark.parametrize(
    ("callback", "options", "message"),
    [
        (CoreBpbCallback(TEXTS), {}, "expected bpb_every, or a Trainer with an eval_strategy, with texts"),
        (
            CoreBpbCallback(TEXTS, bpb_every=2),
            {"metric_for_best_model": "eval_bpb", "eval_strategy": "steps", "eval_dataset": rows(2)},
            "expected greater_is_better=False",
        ),
        (CoreBpbCallback(["fine", ""], bpb_every=2), {}, "expected text"),
    ],
)
def test_what_would_fail_or_mislead_later_is_refused_before_the_first_step(
    tmp_path, tokenizer, callback, options, message
):
    trainer = make_trainer(tmp_path, tokenizer, callback, **options)
    with pytest.raises(InputError, match=message):
        trainer.train()
    assert trainer.state.global_step == 0


def test_early_stopping_sees_bits_per_byte_wherever_it_stands(tmp_path, tokenizer):
    from transformers import EarlyStoppingCallback

    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(), eval_dataset=[{"input_ids": [0, *tokenizer.encode(TEXTS[0])]}],
        eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1, load_best_model_at_end=True,
        metric_for_best_model="eval_bpb", greater_is_better=False, learning_rate=0.0, max_steps=6,
    )  # fmt: skip
    trainer.callback_handler.callbacks.insert(1, EarlyStoppingCallback(2))
    trainer.train()
    assert trainer.state.global_step == 3


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_core_of_a_run_that_is_stopped_early_is_of_its_last_weights(tmp_path, tokenizer, strategy):
    from transformers import EarlyStoppingCallback

    callback = CoreBpbCallback(core_every=1000, core_limit=2, tasks=["piqa"], source="demo")
    trainer = make_trainer(
        tmp_path, tokenizer, callback, eval_dataset=[{"input_ids": [0, *tokenizer.encode(TEXTS[0])]}],
        eval_strategy=strategy, eval_steps=2, save_strategy=strategy, save_steps=2, load_best_model_at_end=True,
        metric_for_best_model="eval_bpb", greater_is_better=False, learning_rate=0.0, max_steps=20,
        data=rows(4, labelled=False),
    )  # fmt: skip
    trainer.add_callback(EarlyStoppingCallback(2))
    trainer.train()
    # Two steps an epoch: evaluated at 2, 4 and 6, and no better at the last two.
    assert trainer.state.global_step == 6
    assert [step for step, _ in callback.core_results] == [6]
    assert [entry["step"] for entry in trainer.state.log_history if "eval_core" in entry] == [6]


def test_an_evaluation_of_something_else_gets_no_bits_per_byte_of_the_texts(tmp_path, tokenizer):
    from transformers import TrainerCallback

    class Testing(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                self.metrics = trainer.evaluate(rows(4, labelled=False), metric_key_prefix="test")

    callback = CoreBpbCallback(TEXTS, bpb_every=3)
    trainer = make_trainer(tmp_path, tokenizer, callback)
    testing = Testing()
    trainer.add_callback(testing)
    trainer.train()
    assert "test_loss" in testing.metrics
    assert "eval_bpb" not in testing.metrics
    assert [entry["step"] for entry in trainer.state.log_history if "eval_bpb" in entry] == [3]
