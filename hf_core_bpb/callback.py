"""A callback for transformers' Trainer: tokens per parameter, FLOPs, bits per byte and CORE while a model trains."""

import dataclasses
import logging
import math
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, cast, get_args

import numpy as np
import torch
from torch.utils.data import ConcatDataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from hf_core_bpb.distributed import process_group, sum_over_processes
from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.model import LanguageModel, wrap
from hf_core_bpb.runner import CoreRun, PreparedCore, prepare_core, score_core
from hf_core_bpb.scaling.alerts import Alert, Watch, standard_error
from hf_core_bpb.scaling.flops import peak_flops, six_n_d, training_flops_a_token
from hf_core_bpb.scaling.forecast import FEWEST_POINTS, forecast_loss
from hf_core_bpb.scaling.laws import Convention, find_rule
from hf_core_bpb.scaling.parameters import ParameterCounts, count_parameters
from hf_core_bpb.scaling.tokens import TokenCounter
from hf_core_bpb.scorer import Scorer
from hf_core_bpb.scoring.engine import processes_a_copy
from hf_core_bpb.sources import plan_core
from hf_core_bpb.types import CoreResult, Scored
from hf_core_bpb.validation import Validation, of_rows, of_texts

_LOG = logging.getLogger("hf_core_bpb")
# Rows of two lengths give the constant and the linear part of a token's FLOPs, attention being the latter.
_FLOP_LENGTHS = (64, 128)
_COUNTS = ("target_tokens", "input_tokens", "forward_tokens", "length_sum")


class CoreBpbCallback(TrainerCallback, ExportableState):
    """Adds to a Trainer's logs what a model has been trained on, and evaluates it on a schedule.

    With every training log: target and input tokens, tokens per parameter, the share of compute-optimal,
    FLOPs, MFU, unique tokens; with the first one, the parameters by every convention. With every evaluation:
    `eval_bpb`, which metric_for_best_model can name, its standard error, and a forecast of the last one. What
    it finds wrong is logged as a warning and as `alert/<kind>`.
    """

    def __init__(
        self,
        texts: Sequence[str] | None = None,
        *,
        bpb_every: int | None = None,
        core_every: int | None = None,
        core_limit: int | None = 50,
        suite: str = "core-11",
        tasks: list[str] | None = None,
        source: str = "hub",
        bundle: str | Path | None = None,
        convention: Convention = "matmul",
        law: str = "besiroglu-2024",
        target_ratio: float | None = None,
        stop_at_target: bool = False,
        device_flops: float | None = None,
        tokenizer: Any = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        """Say what is to be evaluated and when; without arguments, everything that costs nothing is logged.

        texts: validation documents; the Trainer's eval dataset where None. bpb_every, core_every: steps
        between evaluations; bpb is also taken whenever the Trainer evaluates, CORE also at the end.
        core_limit: items a task; suite, tasks, source, bundle: as in evaluate_core. convention: what N counts
        in tokens per parameter; law: what the compute-optimal point is taken from, by its own N.
        target_ratio: tokens per parameter that are wanted; stop_at_target: end training there.
        device_flops: the peak of one device in FLOPs a second, for MFU, where it is not known by name.
        tokenizer: where the Trainer has no processing_class. Raises InputError for values that do not fit.
        """
        for name, steps in (("bpb_every", bpb_every), ("core_every", core_every)):
            if steps is not None and not (isinstance(steps, int) and steps > 0):
                raise InputError(f"CoreBpbCallback: expected {name} to be a number of steps above 0, got {steps!r}")
        for name, value in (("target_ratio", target_ratio), ("device_flops", device_flops)):
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise InputError(f"CoreBpbCallback: expected {name} above 0, got {value!r}")
        if convention not in get_args(Convention):
            known = ", ".join(get_args(Convention))
            raise InputError(f"CoreBpbCallback: expected convention to be one of {known}, got {convention!r}")
        if texts is not None and (isinstance(texts, str) or not texts):
            raise InputError("CoreBpbCallback: expected texts to be a list of one or more documents")
        if stop_at_target and target_ratio is None:
            raise InputError("CoreBpbCallback: expected target_ratio with stop_at_target, got none")
        self.texts = texts
        self.bpb_every = bpb_every
        self.core_every = core_every
        self.convention: Convention = convention
        self.rule = find_rule(law)
        self.stop_at_target = stop_at_target
        self.device_flops = device_flops
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.batch_tokens = batch_tokens
        self.core_run = plan_core(suite, tasks, source, bundle, limit=core_limit) if core_every is not None else None
        self.target_ratio = target_ratio
        self.counter = TokenCounter()
        self._reset()

    def _reset(self) -> None:
        self.counts = dict.fromkeys(_COUNTS, 0)
        self.train_seconds = 0.0
        self.curve: list[tuple[int, float]] = []
        self.alerts: list[Alert] = []
        self.core_results: list[tuple[int, CoreResult]] = []
        self.watch = Watch(self.target_ratio)
        self._pending: dict[str, float] = {}
        self._parameters_logged = False
        self._cannot_validate = False
        self._step_began: float | None = None
        self._evaluated: tuple[int, dict[str, float]] | None = None
        self._lm: LanguageModel | None = None
        self._validation: Validation | None = None
        self._core: PreparedCore | None = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "args": {},
            "attributes": {"counts": dict(self.counts), "train_seconds": self.train_seconds, "curve": list(self.curve)},
        }

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to count, or go on counting where a checkpoint left off."""
        self._reset()
        self.trainer = _find_trainer(sys._getframe())
        # Callbacks such as EarlyStopping read the metrics that this one adds.
        callbacks = self.trainer.callback_handler.callbacks
        if self in callbacks:
            callbacks.insert(1, callbacks.pop(callbacks.index(self)))
        if state.global_step > 0:
            kept: Any = state.stateful_callbacks or {}
            saved = kept.get(type(self).__name__, {})
            attributes = (saved[0] if isinstance(saved, list) else saved).get("attributes", {})
            self.counts |= attributes.get("counts", {})
            self.train_seconds = attributes.get("train_seconds", 0.0)
            self.curve = [(int(step), float(bpb)) for step, bpb in attributes.get("curve", [])]
            if not attributes and process_group().is_main_process:
                _LOG.warning("the checkpoint has no counts of tokens: they begin at step %d", state.global_step)
            # Trainer saves the states of those callbacks only that a checkpoint already knew.
            state.stateful_callbacks = cast("Any", {**kept, type(self).__name__: self.state()})
        model: Any = kwargs["model"]
        self.model = model
        self.parameters: ParameterCounts = count_parameters(model)
        self.flops_a_token = _flops_by_length(model)
        self.counter.attach(model)
        if isinstance(getattr(self.trainer.log, "__self__", None), CoreBpbCallback):
            # A training that ended in an error left it there.
            del self.trainer.log
            del self.trainer.compute_loss
        self._log = self.trainer.log
        self._compute_loss = self.trainer.compute_loss
        self.trainer.log = self._log_with_scale  # type: ignore[method-assign]
        self.trainer.compute_loss = self._compute_loss_of  # type: ignore[method-assign]
        self._check_arguments(args)
        if self._evaluates:
            _refuse_sharded_by_deepspeed(self.trainer)
            # Whatever is wrong with what is evaluated on is to be known now, and not hours later.
            self._lm = self._language_model()
            if self.texts is not None:
                self._validation = of_texts(self._lm, self.texts)
            if self.core_run is not None:
                self._core = prepare_core(self._lm, self.core_run)

    def _check_arguments(self, args: TrainingArguments) -> None:
        """Raise InputError for a Trainer that would not do what this callback was given for."""
        if self.bpb_every is not None and self.texts is None and self.trainer.eval_dataset is None:
            raise InputError("CoreBpbCallback: expected texts or an eval_dataset with bpb_every, got neither")
        if self.texts is not None and self.bpb_every is None and args.eval_strategy == "no":
            raise InputError("CoreBpbCallback: expected bpb_every, or a Trainer with an eval_strategy, with texts")
        if args.metric_for_best_model in ("eval_bpb", "bpb") and args.greater_is_better:
            raise InputError(
                "CoreBpbCallback: expected greater_is_better=False with metric_for_best_model='eval_bpb', "
                "of which less is better, got True (Trainer's default for names that do not end in loss)"
            )
        others = [c for c in self.trainer.callback_handler.callbacks if isinstance(c, CoreBpbCallback)]
        if len(others) > 1:
            raise InputError(f"CoreBpbCallback: expected one in a Trainer, got {len(others)}")

    @property
    def _evaluates(self) -> bool:
        return self.texts is not None or self.bpb_every is not None or self.core_every is not None

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._step_began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop the clock, and evaluate where it is time to."""
        if self._step_began is not None:
            self.train_seconds += time.perf_counter() - self._step_began
            self._step_began = None
        step = state.global_step
        if control.should_save or self.target_ratio is not None:
            self._count()
        for alert in self.watch.on_ratio(step, self._ratio, self.convention) if self.target_ratio is not None else ():
            self._raise_alert(alert)
            if self.stop_at_target:
                control.should_training_stop = True
        if self.bpb_every is not None and step % self.bpb_every == 0 and not control.should_evaluate:
            self._log_beside(self._bpb(step))
        # The last step's before Trainer loads the best checkpoint again.
        is_last = step >= state.max_steps or control.should_training_stop
        if self.core_every is not None and self.core_run is not None and (step % self.core_every == 0 or is_last):
            self._log_beside(self._core_metrics(step, self.core_run))

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Bring the counts up to date where a checkpoint follows."""
        if control.should_save:
            self._count()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add bits per byte to the metrics that the Trainer chooses its best model by."""
        if not self._is_training or metrics is None or self._cannot_validate:
            return
        if self.texts is None and self.trainer.eval_dataset is None:
            return
        self._count()
        is_new = self._evaluated is None or self._evaluated[0] != state.global_step
        try:
            measured = self._bpb(state.global_step)
        except InputError as error:
            if self._evaluates:
                raise
            # Nobody asked for bits per byte; a Trainer's eval dataset need not be text.
            self._cannot_validate = True
            _LOG.warning("eval_bpb is not measured: %s", error)
            return
        metrics.update(measured)
        if is_new:
            self._log_beside(measured)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count to the end, and leave the Trainer as it was."""
        self._count()
        done = bool(self.core_results) and self.core_results[-1][0] == state.global_step
        # Stopped early, after the last step's turn; the best checkpoint's weights would not be those of this step.
        if self.core_run is not None and not done and not args.load_best_model_at_end:
            self._log_beside(self._core_metrics(state.global_step, self.core_run))
        self.counter.detach()
        self.trainer.log = self._log  # type: ignore[method-assign]
        self.trainer.compute_loss = self._compute_loss  # type: ignore[method-assign]

    @property
    def _is_training(self) -> bool:
        return self.counter.hook is not None

    @property
    def _ratio(self) -> float:
        return self.counts["target_tokens"] / float(getattr(self.parameters, self.convention))

    def _compute_loss_of(self, model: torch.nn.Module, inputs: dict[str, Any], *rest: Any, **named: Any) -> Any:
        """Take note of a batch's labels, and compute its loss as the Trainer does."""
        self.counter.labels = inputs.get("labels")
        return self._compute_loss(model, inputs, *rest, **named)

    def _log_with_scale(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
        """Log what the Trainer logs, with the state of training in the same line."""
        if self not in self.trainer.callback_handler.callbacks:
            # Taken out of a Trainer after a training that ended in an error.
            self.counter.detach()
            self._log(logs, *rest, **named)
            return
        if "loss" in logs:
            step = self.trainer.state.global_step
            self._count()
            grad_norm = logs.get("grad_norm")
            for alert in self.watch.on_loss(step, float(logs["loss"]), None if grad_norm is None else float(grad_norm)):
                self._raise_alert(alert)
            scale = self.scale()
            if not self._parameters_logged:
                self._parameters_logged = True
                scale |= {f"scale/parameters_{name}": n for name, n in dataclasses.asdict(self.parameters).items()}
            logs.update(scale)
        logs.update(self._pending)
        self._pending = {}
        self._log(logs, *rest, **named)

    def _log_beside(self, logs: dict[str, float]) -> None:
        """Log something between the Trainer's own logs, which it must not take for one of these."""
        should_log = self.trainer.control.should_log
        self._log_with_scale(dict(logs))
        self.trainer.control.should_log = should_log

    def scale(self) -> dict[str, float]:
        """Return the state of training under the names it is logged by."""
        counts, parameters = self.counts, self.parameters
        tokens = counts["target_tokens"]
        logs: dict[str, float] = {
            "scale/target_tokens": tokens,
            "scale/input_tokens": counts["input_tokens"],
            "scale/tokens_per_parameter_total": tokens / parameters.total,
            "scale/tokens_per_parameter_matmul": tokens / parameters.matmul,
            "scale/share_of_optimal": tokens / self.rule.optimal_tokens(getattr(parameters, self.rule.convention)),
            "scale/flops_6nd": six_n_d(parameters.matmul, tokens),
        }
        logs[f"scale/tokens_per_parameter_{self.convention}"] = self._ratio
        # Before the first epoch is over, all tokens are unique.
        if hasattr(self.trainer.train_dataset, "__len__"):
            logs["scale/unique_tokens"] = tokens / max(1.0, self.trainer.state.epoch or 1.0)
        if self.flops_a_token is not None:
            constant, by_length = self.flops_a_token
            flops = constant * counts["forward_tokens"] + by_length * counts["length_sum"]
            logs["scale/flops"] = flops
            peak = self.device_flops if self.device_flops is not None else peak_flops(process_group().device)
            if peak is not None and self.train_seconds > 0:
                logs["scale/mfu"] = flops / (self.train_seconds * peak * process_group().num_processes)
        return logs

    def _count(self) -> None:
        """Add what all processes have counted since the last time."""
        # Processes that hold one copy of the model together have all seen the same batch.
        copies = processes_a_copy(self.model)
        for name, value in zip(_COUNTS, sum_over_processes(self.counter.take()), strict=True):
            self.counts[name] += value // copies

    def _raise_alert(self, alert: Alert) -> None:
        self.alerts.append(alert)
        self._pending[f"alert/{alert.kind}"] = 1.0
        if process_group().is_main_process:
            _LOG.warning("step %d: %s: %s. Try: %s.", alert.step, alert.kind, alert.reason, alert.suggestion)

    def _language_model(self) -> LanguageModel:
        tokenizer: Any = self.tokenizer if self.tokenizer is not None else self.trainer.processing_class
        if tokenizer is None:
            raise InputError(
                "CoreBpbCallback: expected a tokenizer (Trainer's processing_class, or tokenizer=), got none"
            )
        return wrap(self._callable_model(), tokenizer, self.max_length)

    def _callable_model(self) -> torch.nn.Module:
        """Return what gathers its own weights where they are sharded, else the bare model."""
        model: torch.nn.Module = self.trainer.model_wrapped if self.trainer.is_fsdp_enabled else self.model
        return model

    def _scoring(self) -> Scorer:
        """Return a scorer that knows nothing of the model yet: what held for its weights may no longer hold."""
        if self._lm is None:
            self._lm = self._language_model()
        return Scorer(self._lm, self.batch_tokens)

    def _bpb(self, step: int) -> dict[str, float]:
        """Return bits per byte of the validation documents, measured once a step."""
        if self._evaluated is not None and self._evaluated[0] == step:
            return self._evaluated[1]
        with _untouched_randomness():
            scorer = self._scoring()
            if self._validation is None:
                self._validation = (
                    of_texts(scorer.lm, self.texts)
                    if self.texts is not None
                    else of_rows(scorer.lm, _one_dataset(self.trainer.eval_dataset), self.trainer.data_collator)
                )
            try:
                documents = self._validation.score(scorer)
            except RunError as error:
                return self._say_non_finite(step, "eval_bpb", error)
        for alert in self.watch.on_validation(step, documents):
            self._raise_alert(alert)
        bpb = sum(documents, Scored()).bits_per_byte
        if step > (self.curve[-1][0] if self.curve else 0):
            self.curve.append((step, bpb))
        measured = {"eval_bpb": bpb}
        if len(documents) > 1:
            measured["eval_bpb_standard_error"] = standard_error(documents)
        measured |= self._forecast()
        self._evaluated = (step, measured)
        return measured

    def _say_non_finite(self, step: int, key: str, error: RunError) -> dict[str, float]:
        """Return a measure that is not a number, as the weights are: for the user to stop, not for this callback."""
        self._raise_alert(Alert("non_finite", step, str(error), "stop, and restart from a checkpoint before it"))
        return {key: math.nan}

    def _forecast(self) -> dict[str, float]:
        last = self.trainer.state.max_steps
        if len(self.curve) < FEWEST_POINTS or self.curve[-1][0] >= last:
            return {}
        steps, values = zip(*self.curve, strict=True)
        try:
            found = forecast_loss(steps, values, last, _learning_rates(self.trainer, last))
        except InputError:
            # Too few points since the rate rose above 0, or one that is not finite.
            return {}
        low, high = found.ci95
        return {"scale/forecast_bpb": found.loss, "scale/forecast_low": low, "scale/forecast_high": high}

    def _core_metrics(self, step: int, run: CoreRun) -> dict[str, float]:
        with _untouched_randomness():
            scorer = self._scoring()
            if self._core is None:
                self._core = prepare_core(scorer.lm, run)
            try:
                result, _ = score_core(scorer, self._core)
            except RunError as error:
                return self._say_non_finite(step, "eval_core", error)
        self.core_results.append((step, result))
        accuracies = {f"eval_core/{name}": task.accuracy for name, task in result.tasks.items()}
        return {"eval_core": result.core, **accuracies}


def _find_trainer(frame: FrameType | None) -> Trainer:
    """Return the Trainer that called, which callbacks are not given."""
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Trainer):
            return caller
        frame = frame.f_back
    raise InputError("CoreBpbCallback: expected to be called by a transformers Trainer")


def _one_dataset(dataset: Any) -> Any:
    """Return a Trainer's eval dataset, or several under names as one after another."""
    return ConcatDataset(list(dataset.values())) if isinstance(dataset, dict) else dataset


def _flops_by_length(model: torch.nn.Module) -> tuple[float, float] | None:
    """Return the constant part of a training token's FLOPs, and what each token of its row adds."""
    short, long = _FLOP_LENGTHS
    at_short, at_long = (training_flops_a_token(model, length) for length in _FLOP_LENGTHS)
    if at_short is None or at_long is None:
        return None
    by_length = (at_long - at_short) / (long - short)
    return at_short - by_length * short, by_length


def _learning_rates(trainer: Trainer, steps: int) -> list[float] | None:
    """Return the schedule's rate at steps 1 to `steps`, None where it depends on more than the step."""
    lambdas = getattr(trainer.lr_scheduler, "lr_lambdas", None)
    if not lambdas:
        return None
    rate: Callable[[int], float] = lambdas[0]
    return [float(rate(step)) for step in range(steps)]


def _refuse_sharded_by_deepspeed(trainer: Trainer) -> None:
    plugin = getattr(trainer.accelerator.state, "deepspeed_plugin", None)
    if plugin is not None and plugin.zero_stage == 3:
        raise InputError(
            "CoreBpbCallback: expected whole weights to evaluate during training, got DeepSpeed ZeRO-3; "
            "evaluate its checkpoints with the command, or train with ZeRO-2 or FSDP"
        )


@contextmanager
def _untouched_randomness() -> Iterator[None]:
    """Leave every random generator as it was, so that training goes on as it would have without."""
    python, arrays, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_device = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        torch.set_rng_state(tensors)
        if on_device:
            torch.cuda.set_rng_state_all(on_device)
