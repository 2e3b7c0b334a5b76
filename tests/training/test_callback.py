"""What is measured when in a real training: bits per byte, CORE, forecasts and alerts."""

import math

import pytest
import torch
from support.tiny_models import build_tiny_model
from support.trainers import TEXTS, logged, make_trainer, rows, steps_with, text_row
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback
from transformers.trainer_utils import default_compute_objective

from hf_core_bpb import CoreBpbCallback, bits_per_byte
from hf_core_bpb.errors import InputError
from hf_core_bpb.training.evaluation import Evaluation

PIQA = {"tasks": ["piqa"], "source": "demo", "core_limit": 2}

pytestmark = pytest.mark.slow


def break_weights(model):
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(float("nan"))


def test_bits_per_byte_of_texts_match_the_function_and_select_the_best_model(tmp_path, tokenizer):
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(TEXTS), eval_dataset=rows(4, labelled=False), eval_strategy="steps",
        eval_steps=1, save_strategy="best", metric_for_best_model="eval_bpb", greater_is_better=False,
        load_best_model_at_end=True, learning_rate=0.05,
    )  # fmt: skip
    trainer.train()
    measured = logged(trainer, "eval_bpb")
    assert len(measured) == 4
    assert trainer.state.best_metric == min(measured)
    assert bits_per_byte(trainer.model, tokenizer, TEXTS).bpb == pytest.approx(min(measured), rel=1e-6)


def test_several_eval_datasets_and_an_evaluation_at_the_start_give_one_curve(tmp_path, tokenizer):
    data = {name: [text_row(tokenizer, text)] for name, text in zip("ab", TEXTS, strict=False)}
    callback = CoreBpbCallback()
    trainer = make_trainer(
        tmp_path, tokenizer, callback, eval_dataset=data, eval_strategy="steps", eval_steps=1, eval_on_start=True,
        max_steps=7, learning_rate=0.01,
    )  # fmt: skip
    trainer.train()
    assert steps_with(trainer, "eval_bpb") == list(range(8))
    assert [step for step, _ in callback.curve] == list(range(1, 8))
    assert len(logged(trainer, "scale/forecast_bpb")) == 1


def test_an_evaluation_of_another_dataset_gets_no_bits_per_byte(tmp_path, tokenizer):
    class EvaluateAtStep2(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 2:
                self.metrics = trainer.evaluate(rows(4, labelled=False), metric_key_prefix="test")

    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(TEXTS, bpb_every=3))
    other = EvaluateAtStep2()
    trainer.add_callback(other)
    trainer.train()
    assert "test_loss" in other.metrics
    assert "eval_bpb" not in other.metrics
    assert steps_with(trainer, "eval_bpb") == [3]


def test_a_hyperparameter_search_optimizes_the_loss_if_bits_per_byte_are_not_requested(tmp_path, tokenizer):
    objectives = []

    class EvaluateInSearch(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            state.is_hyper_param_search = True
            objectives.append(default_compute_objective(dict(trainer.evaluate())))

    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(), eval_dataset=[text_row(tokenizer)] * 2)
    trainer.add_callback(EvaluateInSearch())
    trainer.train()
    assert len(logged(trainer, "eval_bpb")) == 4
    assert objectives == pytest.approx(logged(trainer, "eval_loss"))


def test_a_learning_rate_of_0_at_the_first_step_delays_the_forecast(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(TEXTS, bpb_every=1), max_steps=9, warmup_steps=2)
    trainer.train()
    # Without the first step, six measurements are complete at the seventh.
    assert steps_with(trainer, "scale/forecast_bpb") == [7, 8]


def test_evaluation_leaves_training_unchanged(tmp_path, tokenizer):
    """Dropout draws from torch's generator, so any number drawn by an evaluation would change the losses."""

    def train(folder, callback):
        torch.manual_seed(3)
        model = build_tiny_model()
        for layer in model.transformer.h:
            layer.mlp.dropout.p = 0.3
        trainer = make_trainer(folder, tokenizer, callback, model=model, max_steps=5)
        trainer.train()
        return logged(trainer, "loss"), [p.detach().clone() for p in trainer.model.parameters()]

    losses, weights = train(tmp_path / "a", CoreBpbCallback())
    evaluated_losses, evaluated_weights = train(
        tmp_path / "b", CoreBpbCallback(TEXTS, bpb_every=1, core_every=2, **PIQA)
    )
    assert losses == evaluated_losses
    assert all(torch.equal(a, b) for a, b in zip(weights, evaluated_weights, strict=True))


def test_core_is_measured_on_schedule_and_at_the_end(tmp_path, tokenizer):
    callback = CoreBpbCallback(core_every=2, core_limit=3, tasks=["piqa", "winogrande"], source="demo")
    trainer = make_trainer(tmp_path, tokenizer, callback, max_steps=5)
    trainer.train()
    assert steps_with(trainer, "eval_core") == [2, 4, 5]
    assert [step for step, _ in callback.core_results] == [2, 4, 5]
    assert logged(trainer, "eval_core")[-1] == callback.core_results[-1][1].core
    assert logged(trainer, "eval_core/piqa")[-1] == callback.core_results[-1][1].tasks["piqa"].accuracy


def test_core_at_the_end_is_of_the_last_weights_and_not_of_the_best(tmp_path, tokenizer, monkeypatch):
    evaluated = []
    score_core = Evaluation.score_core

    def score_and_record(self, core):
        evaluated.append((trainer.state.global_step, trainer.model.lm_head.weight.detach().clone()))
        return score_core(self, core)

    monkeypatch.setattr(Evaluation, "score_core", score_and_record)
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(TEXTS, core_every=1000, **PIQA), eval_dataset=rows(4, labelled=False),
        eval_strategy="steps", eval_steps=1, save_steps=1, save_strategy="steps", metric_for_best_model="eval_loss",
        greater_is_better=False, load_best_model_at_end=True, learning_rate=0.01,
    )  # fmt: skip
    trainer.train()
    ((step, weight),) = evaluated
    assert step == 4
    assert trainer.state.best_global_step < 4
    assert not torch.equal(weight, trainer.model.lm_head.weight)


@pytest.mark.parametrize("strategy", ["steps", "epoch"])
def test_core_of_a_run_that_stops_early_is_announced_and_of_its_last_weights(tmp_path, tokenizer, strategy, capsys):
    callback = CoreBpbCallback(core_every=1000, **PIQA)
    trainer = make_trainer(
        tmp_path, tokenizer, callback, eval_dataset=[text_row(tokenizer)], eval_strategy=strategy, eval_steps=2,
        save_strategy=strategy, save_steps=2, load_best_model_at_end=True, metric_for_best_model="eval_bpb",
        greater_is_better=False, learning_rate=0.0, max_steps=20, data=rows(4, labelled=False), disable_tqdm=False,
    )  # fmt: skip
    trainer.add_callback(EarlyStoppingCallback(2))
    trainer.train()
    # Two steps per epoch: evaluated at 2, 4 and 6, and not better at the last two.
    assert trainer.state.global_step == 6
    assert [step for step, _ in callback.core_results] == [6]
    assert steps_with(trainer, "eval_core") == [6]
    assert capsys.readouterr().err.count("Measuring CORE at step 6.") == 1


def test_tensorboard_gets_the_logged_values(tmp_path, tokenizer, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = make_trainer(tmp_path, tokenizer, CoreBpbCallback(TEXTS, bpb_every=2), report_to="tensorboard")
    trainer.train()
    (folder,) = {path.parent for path in tmp_path.rglob("events.out.tfevents*")}
    board = EventAccumulator(str(folder))
    board.Reload()
    for tag, key in (("train/scale/target_tokens", "scale/target_tokens"), ("eval/bpb", "eval_bpb")):
        values = {event.step: event.value for event in board.Scalars(tag)}
        assert list(values.values()) == pytest.approx(logged(trainer, key))


def test_a_loss_of_nan_raises_one_alert_with_its_reason(tmp_path, tokenizer, caplog):
    callback = CoreBpbCallback()
    model = build_tiny_model()
    break_weights(model)
    trainer = make_trainer(tmp_path, tokenizer, callback, model=model)
    trainer.train()
    assert logged(trainer, "loss")[0] == 0.0 or math.isnan(logged(trainer, "loss")[0])
    assert [(alert.kind, alert.step) for alert in callback.alerts] == [("non_finite", 1)]
    assert "Trainer logs a loss of NaN as exactly 0" in caplog.text
    assert logged(trainer, "alert/non_finite") == [1.0]


def test_a_spike_in_the_loss_raises_an_alert(tmp_path, tokenizer):
    class SpikeAtStep9(Trainer):
        def compute_loss(self, model, inputs, *args, **options):
            loss = super().compute_loss(model, inputs, *args, **options)
            return loss * 10 if self.state.global_step == 8 else loss

    callback = CoreBpbCallback()
    plain = make_trainer(tmp_path, tokenizer, callback, max_steps=12)
    trainer = SpikeAtStep9(
        model=plain.model, args=plain.args, train_dataset=[rows()[2]] * 32, data_collator=plain.data_collator,
        processing_class=tokenizer, callbacks=[callback],
    )  # fmt: skip
    trainer.train()
    assert [(alert.kind, alert.step) for alert in callback.alerts] == [("spike", 9)]


@pytest.mark.filterwarnings("ignore:Fast path")
def test_an_evaluation_of_nan_raises_an_alert_instead_of_an_error(tmp_path, tokenizer):
    model = build_tiny_model()
    break_weights(model)
    callback = CoreBpbCallback(TEXTS, bpb_every=2, core_every=4, **PIQA)
    trainer = make_trainer(tmp_path, tokenizer, callback, model=model)
    trainer.train()
    assert all(math.isnan(value) for value in logged(trainer, "eval_bpb") + logged(trainer, "eval_core"))
    assert {alert.kind for alert in callback.alerts} == {"non_finite"}


def test_training_stops_at_the_target_ratio(tmp_path, tokenizer):
    data = [{"input_ids": list(range(1, 42))}] * 32
    # 80 targets per step over 37,376 weights of matrices and head: 0.01 is reached with 374 tokens, at step 5.
    callback = CoreBpbCallback(target_ratio=0.01, stop_at_target=True)
    trainer = make_trainer(tmp_path, tokenizer, callback, data=data, max_steps=20)
    trainer.train()
    assert trainer.state.global_step == 5
    assert [alert.kind for alert in callback.alerts] == ["ratio_reached"]


def test_the_state_of_training_is_rejected_before_training():
    with pytest.raises(InputError, match="training has not begun"):
        CoreBpbCallback().scale()
