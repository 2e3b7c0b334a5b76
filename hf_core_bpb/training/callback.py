"""A callback for transformers' Trainer: tokens per parameter, FLOPs, bits per byte and CORE while a model trains."""

import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Literal, cast, get_args

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from hf_core_bpb.distributed import process_group
from hf_core_bpb.errors import InputError, RunError, reason
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.evaluation.resolve import ResolvedCore, resolve_core
from hf_core_bpb.metrics.results import CoreResult
from hf_core_bpb.scaling.laws import Convention, find_rule
from hf_core_bpb.training.alerts import Alert, Watch, standard_error
from hf_core_bpb.training.evaluation import Evaluation, forecast, refuse_sharded
from hf_core_bpb.training.meter import Meter
from hf_core_bpb.training.trainer_hooks import Wrapping
from hf_core_bpb.types import Scored

_LOG = logging.getLogger("hf_core_bpb")


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
        core_limit: int | Literal["auto"] | None = "auto",
        core_precision: float | None = None,
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
        """Say what is to be evaluated and when; without arguments, bits per byte where the Trainer evaluates text.

        texts: validation documents; the Trainer's eval dataset where None. bpb_every, core_every: steps
        between evaluations; bpb is also taken whenever the Trainer evaluates, CORE also at the end.
        core_limit: items a task, None for all; "auto" is 50, or all where core_precision is given.
        core_precision: half the interval of 95 % that CORE is to be known to, from as few items as that takes,
        the same ones first every time. suite, tasks, source, bundle: as in evaluate_core. convention: what N counts
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
        if core_precision is not None and core_every is None:
            raise InputError("CoreBpbCallback: expected core_every with core_precision, got none")
        self.texts = texts
        self.bpb_every = bpb_every
        self.core_every = core_every
        self.core_run: ResolvedCore | None = None
        if core_every is not None:
            limit = (50 if core_precision is None else None) if core_limit == "auto" else core_limit
            self.core_run = resolve_core(
                CoreOptions(
                    suite=suite, tasks=tasks, source=source, bundle=None if bundle is None else str(bundle),
                    limit=limit, precision=core_precision, max_length=max_length, batch_tokens=batch_tokens,
                )
            )  # fmt: skip
        self.target_ratio = target_ratio
        self.stop_at_target = stop_at_target
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.batch_tokens = batch_tokens
        self.meter = Meter(convention, find_rule(law), device_flops)
        self._wrapping = Wrapping()
        self._reset()

    def _reset(self) -> None:
        self.meter.reset()
        self.curve: list[tuple[int, float]] = []
        self.alerts: list[Alert] = []
        self.core_results: list[tuple[int, CoreResult]] = []
        self.watch = Watch(self.target_ratio)
        self._pending: dict[str, float] = {}
        self._begun = False
        self._sizes_logged = False
        self._cannot_validate = False
        self._measured: tuple[int, dict[str, float]] | None = None
        self._core_step: int | None = None

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        said = {"standing": sorted(self.watch.standing), "sizes_logged": self._sizes_logged}
        return {"args": {}, "attributes": {**self.meter.state(), "curve": list(self.curve), **said}}

    def scale(self) -> dict[str, float]:
        """Return the state of training under the names it is logged by. Raises InputError before it has begun."""
        if not self._begun:
            raise InputError("CoreBpbCallback: expected a training that has begun, got none yet")
        has_end = hasattr(self.trainer.train_dataset, "__len__")
        return self.meter.scale((self.trainer.state.epoch or 0.0) if has_end else None)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to count, or go on counting where a checkpoint left off."""
        # What a training that ended in an error has left.
        self._wrapping.restore()
        self._reset()
        self.trainer = _find_trainer(sys._getframe())
        self.evaluation = Evaluation(
            self.trainer, self.texts, self.core_run, self.tokenizer, self.max_length, self.batch_tokens
        )
        self._check_arguments(args)
        refuse_sharded(self.trainer, kwargs["model"])
        # Callbacks such as EarlyStopping read the metrics that this one adds.
        callbacks = self.trainer.callback_handler.callbacks
        if self in callbacks[2:]:
            callbacks.insert(1, callbacks.pop(callbacks.index(self)))
        if state.global_step > 0:
            self._restore(state)
        if self._wants_bpb or self.core_run is not None:
            self.evaluation.prepare(self._wants_bpb)
        self.meter.begin(kwargs["model"])
        self._begun = True
        self._wrap_trainer()
        self.meter.start_clock()

    def _restore(self, state: TrainerState) -> None:
        kept: Any = state.stateful_callbacks or {}
        saved = kept.get(type(self).__name__, {})
        attributes = (saved[0] if isinstance(saved, list) else saved).get("attributes", {})
        self.meter.restore(attributes)
        self.curve = [(int(step), float(bpb)) for step, bpb in attributes.get("curve", [])]
        self.watch.standing = set(attributes.get("standing", ()))
        self._sizes_logged = attributes.get("sizes_logged", False)
        if not attributes and process_group().is_main_process:
            _LOG.warning("the checkpoint has no counts of tokens: they begin at step %d", state.global_step)
        # Trainer saves the states of those callbacks only that a checkpoint already knew.
        state.stateful_callbacks = cast("Any", {**kept, type(self).__name__: self.state()})

    def _check_arguments(self, args: TrainingArguments) -> None:
        """Raise InputError for a Trainer that would not do what this callback was given for."""
        if args.restore_callback_states_from_checkpoint:
            raise InputError(
                "CoreBpbCallback: expected restore_callback_states_from_checkpoint=False, with which the counts are "
                "taken from the checkpoint too, got True, with which its own settings are lost"
            )
        if self.bpb_every is not None and not self.evaluation.has_validation:
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
    def _wants_bpb(self) -> bool:
        """Whether bits per byte were asked for, and not only come with the Trainer's own evaluations."""
        chosen_by = self.trainer.args.metric_for_best_model in ("eval_bpb", "bpb")
        return self.texts is not None or self.bpb_every is not None or chosen_by

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop the clock, and evaluate where it is time to."""
        self.meter.stop_clock()
        step = state.global_step
        if self.target_ratio is not None:
            self.meter.count()
            self._raise_alerts(self.watch.on_ratio(step, self.meter.ratio, self.meter.convention))
            if self.stop_at_target and self.meter.ratio >= self.target_ratio:
                control.should_training_stop = True
        if self.bpb_every is not None and step % self.bpb_every == 0 and not control.should_evaluate:
            self._log_beside(self._bpb(step))
        if self.core_every is not None and step % self.core_every == 0:
            self._take_core(step)
        self.meter.start_clock()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add bits per byte to the metrics that the Trainer chooses its best model by."""
        if self.meter.is_counting:
            self.meter.count()
            if metrics is not None and self._is_of_own_dataset(metrics) and not self._cannot_validate:
                self._validate_beside_trainer(state, metrics)
            self.meter.start_clock()

    def _is_of_own_dataset(self, metrics: dict[str, float]) -> bool:
        """Say whether these metrics are of the Trainer's eval dataset, which goes by its own prefixes."""
        held = self.trainer.eval_dataset
        names = [f"eval_{name}" for name in held] if isinstance(held, dict) else []
        return self.evaluation.has_validation and any(f"{name}_runtime" in metrics for name in ("eval", *names))

    def _validate_beside_trainer(self, state: TrainerState, metrics: dict[str, float]) -> None:
        is_new = self._measured is None or self._measured[0] != state.global_step
        self.evaluation.is_trainers = True
        try:
            measured = self._bpb(state.global_step)
        except Exception as error:
            if self._wants_bpb:
                raise
            # Nobody asked for bits per byte; a Trainer's eval dataset need not be text.
            self._cannot_validate = True
            _LOG.warning("eval_bpb is not measured: %s", reason(error))
            return
        finally:
            self.evaluation.is_trainers = False
        if self._wants_bpb or not state.is_hyper_param_search:
            # In a search the sum of all metrics is what is searched by.
            metrics["eval_bpb"] = measured["eval_bpb"]
        if is_new:
            self._log_beside(measured)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Start the clock: saving is no training."""
        self.meter.start_clock()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count to the end, and leave the Trainer as it was."""
        self.meter.count()
        self.meter.end()
        self._wrapping.restore()

    def _wrap_trainer(self) -> None:
        trainer: Any = self.trainer
        self._log: Any = trainer.log
        self._compute_loss: Any = trainer.compute_loss
        methods: dict[str, Any] = {"log": self._log_with_scale, "compute_loss": self._compute_loss_of}
        # Private, and the one place that all processes pass before each log and each checkpoint.
        self._log_and_save: Any = getattr(trainer, "_maybe_log_save_evaluate", None)
        if self._log_and_save is not None:
            methods["_maybe_log_save_evaluate"] = self._count_and_log_and_save
        self._wrapping.replace(trainer, methods)

    def _count_and_log_and_save(self, *args: Any, **named: Any) -> Any:
        control = self.trainer.control
        if self.meter.is_counting and (control.should_log or control.should_save):
            self.meter.count()
        return self._log_and_save(*args, **named)

    def _compute_loss_of(self, model: torch.nn.Module, inputs: Any, *rest: Any, **named: Any) -> Any:
        """Take note of a batch's labels, and compute its loss as the Trainer does."""
        self.meter.counter.labels = inputs.get("labels") if isinstance(inputs, Mapping) else None
        return self._compute_loss(model, inputs, *rest, **named)

    def _log_with_scale(self, logs: dict[str, float], *rest: Any, **named: Any) -> None:
        """Log what the Trainer logs, with the state of training in the same line."""
        if self not in self.trainer.callback_handler.callbacks:
            # Taken out of a Trainer after a training that ended in an error.
            self.meter.end()
            self._wrapping.restore()
            self._log(logs, *rest, **named)
            return
        step = self.trainer.state.global_step
        if "loss" in logs:
            grad_norm = logs.get("grad_norm")
            self._raise_alerts(
                self.watch.on_loss(step, float(logs["loss"]), None if grad_norm is None else float(grad_norm))
            )
            logs.update(self.scale())
            if not self._sizes_logged:
                self._sizes_logged = True
                logs.update(self.meter.sizes())
        elif "train_loss" in logs and "train_runtime" in logs:
            # The summary of all processes, before the best checkpoint is loaded: the last weights are still there.
            self.meter.count()
            self._take_core(step)
            logs.update(self.scale())
        logs.update(self._pending)
        self._pending = {}
        self._log(logs, *rest, **named)

    def _log_beside(self, logs: dict[str, float]) -> None:
        """Log something between the Trainer's own logs, which it must not take for one of these."""
        should_log = self.trainer.control.should_log
        self._log_with_scale(dict(logs))
        self.trainer.control.should_log = should_log

    def _raise_alerts(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            self.alerts.append(alert)
            self._pending[f"alert/{alert.kind}"] = 1.0
            if process_group().is_main_process:
                _LOG.warning("step %d: %s: %s. Try: %s.", alert.step, alert.kind, alert.reason, alert.suggestion)

    def _bpb(self, step: int) -> dict[str, float]:
        """Return bits per byte of the validation documents, measured once a step."""
        if self._measured is not None and self._measured[0] == step:
            return self._measured[1]
        try:
            documents = self.evaluation.documents()
        except RunError as error:
            self._raise_alerts(self.watch.on_broken_evaluation(step, str(error)))
            self._measured = (step, {"eval_bpb": math.nan})
            return self._measured[1]
        self._raise_alerts(self.watch.on_broken_evaluation(step, None))
        self._raise_alerts(self.watch.on_validation(step, documents))
        bpb = sum(documents, Scored()).bits_per_byte
        if step > (self.curve[-1][0] if self.curve else 0):
            self.curve.append((step, bpb))
        measured = {"eval_bpb": bpb}
        if len(documents) > 1:
            measured["eval_bpb_standard_error"] = standard_error(documents)
        measured |= forecast(self.trainer, self.curve)
        self._measured = (step, measured)
        return measured

    def _take_core(self, step: int) -> None:
        """Log CORE, once a step, where it is wanted."""
        if self.core_run is None or self._core_step == step:
            return
        self._core_step = step
        self._log_beside(self._core_metrics(step, self.core_run))

    def _core_metrics(self, step: int, run: ResolvedCore) -> dict[str, float]:
        try:
            result = self.evaluation.core(run)
        except RunError as error:
            self._raise_alerts(self.watch.on_broken_evaluation(step, str(error)))
            return {"eval_core": math.nan}
        self.core_results.append((step, result))
        accuracies = {f"eval_core/{name}": task.accuracy for name, task in result.tasks.items()}
        reached = {} if result.sample is None else {"eval_core_half_width": result.sample.half_width}
        return {"eval_core": result.core, **reached, **accuracies}


def _find_trainer(frame: FrameType | None) -> Trainer:
    """Return the Trainer that called, which callbacks are not given."""
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Trainer):
            return caller
        frame = frame.f_back
    raise InputError("CoreBpbCallback: expected to be called by a transformers Trainer")
