"""A callback for transformers' Trainer: tokens per parameter, FLOPs, bits per byte and CORE while a model trains."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from hf_core_bpb.distributed import process_group
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.evaluation.resolve import resolve_core
from hf_core_bpb.metrics.results import CoreResult
from hf_core_bpb.scaling.laws import Convention, find_rule
from hf_core_bpb.training.alert_log import AlertLog
from hf_core_bpb.training.alerts import Alert, RunMonitor
from hf_core_bpb.training.evaluation import Evaluation
from hf_core_bpb.training.measurements import Measured, Measurements
from hf_core_bpb.training.meter import Meter
from hf_core_bpb.training.settings import CallbackSettings, CoreLimit
from hf_core_bpb.training.trainer_hooks import (
    TrainerHooks,
    add_to_checkpoints,
    check_sharding,
    check_trainer,
    checkpoint_attributes,
    epochs_trained,
    evaluates_own_dataset,
    find_trainer,
    move_to_front,
    selects_by_bpb,
)

_LOG = logging.getLogger("hf_core_bpb")


class CoreBpbCallback(TrainerCallback, ExportableState):
    """Adds to a Trainer's logs what its model has been trained on, and evaluates the model on a schedule.

    Every training log gets target and input tokens, tokens per parameter, the share of the compute-optimal tokens,
    FLOPs, MFU and unique tokens; the first one also the parameters by every convention. Every evaluation gets
    `eval_bpb`, which metric_for_best_model can name, its standard error, and a forecast of its last value. Problems are
    logged as warnings and as `alert/<kind>`.
    """

    def __init__(
        self,
        texts: Sequence[str] | None = None,
        *,
        bpb_every: int | None = None,
        core_every: int | None = None,
        core_limit: CoreLimit = "auto",
        core_precision: float | None = None,
        suite: str = "core-11",
        tasks: Sequence[str] | None = None,
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
        """Choose what to measure and when; by default bits per byte whenever the Trainer evaluates text.

        Args:
            texts: Validation documents; by default the rows of the Trainer's eval dataset.
            bpb_every: Steps between measurements of bits per byte, in addition to the Trainer's evaluations.
            core_every: Steps between evaluations of CORE, which is also evaluated after the last step.
            core_limit: Items per task, None for all; "auto" is 50, or all with `core_precision`.
            core_precision: Half-width of the 95% interval of CORE at which enough items are scored; the first items
                are the same each time.
            suite: core-11 or core-22.
            tasks: Names of tasks or .toml files, instead of a suite.
            source: Where rows come from: hub, bundle or demo.
            bundle: The bundle's folder, zip file or https address.
            convention: What N counts in tokens per parameter: total, non_embedding, matmul or active.
            law: The scaling law that gives the compute-optimal tokens, with N by its own convention.
            target_ratio: Tokens per parameter to train for.
            stop_at_target: Whether to end training at `target_ratio`.
            device_flops: Peak FLOPs per second of one device, for MFU on devices that are not known by name.
            tokenizer: By default the Trainer's processing_class.
            max_length: Context length in tokens, by default the model's positions.
            batch_tokens: Maximum tokens per forward pass of an evaluation.

        Raises:
            InputError: A value does not fit.
        """
        self.settings = CallbackSettings(
            texts=texts,
            bpb_every=bpb_every,
            core_every=core_every,
            core_limit=core_limit,
            core_precision=core_precision,
            suite=suite,
            tasks=tasks,
            source=source,
            bundle=bundle,
            convention=convention,
            law=law,
            target_ratio=target_ratio,
            stop_at_target=stop_at_target,
            device_flops=device_flops,
            tokenizer=tokenizer,
            max_length=max_length,
            batch_tokens=batch_tokens,
        )
        options = self.settings.core_options()
        self._core = resolve_core(options) if options is not None else None
        self.meter = Meter(convention, find_rule(law), device_flops)
        self._hooks = TrainerHooks(
            self,
            before_log=self._extend_log,
            before_loss=self.meter.note_labels,
            before_log_and_save=self.meter.count,
            on_removal=self._leave_trainer,
        )
        self._reset()

    def _reset(self) -> None:
        self.meter.reset()
        self._monitor = RunMonitor(self.settings.target_ratio)
        self._measurements = Measurements(self._monitor)
        self._alert_log = AlertLog()
        self._has_begun = False
        self._sizes_logged = False
        self._eval_dataset_is_text = True

    @property
    def alerts(self) -> list[Alert]:
        """All alerts so far."""
        return self._alert_log.alerts

    @property
    def curve(self) -> list[tuple[int, float]]:
        """(step, bits per byte) of every measurement so far."""
        return self._measurements.curve

    @property
    def core_results(self) -> list[tuple[int, CoreResult]]:
        """(step, CORE results) of every evaluation so far."""
        return self._measurements.core_results

    def scale(self) -> dict[str, float]:
        """Return the state of training under its log keys. Raises InputError before training has begun."""
        if not self._has_begun:
            raise InputError("CoreBpbCallback: training has not begun; call trainer.train() first")
        return self.meter.scale(epochs_trained(self._trainer))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint saves of the callback."""
        attributes = {
            **self.meter.state(),
            "curve": list(self.curve),
            "standing": sorted(self._monitor.active),
            "sizes_logged": self._sizes_logged,
        }
        return {"args": {}, "attributes": attributes}

    def _restore(self, state: TrainerState) -> None:
        name = type(self).__name__
        saved = checkpoint_attributes(state, name)
        self.meter.restore(saved)
        self._measurements.curve = [(int(step), float(bpb)) for step, bpb in saved.get("curve", [])]
        self._monitor.active = set(saved.get("standing", ()))
        self._sizes_logged = saved.get("sizes_logged", False)
        if not saved and process_group().is_main_process:
            _LOG.warning("the checkpoint has no token counts: they start at step %d", state.global_step)
        add_to_checkpoints(state, name, self.state())

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check the Trainer, prepare the evaluations, and start or continue to count."""
        # The last training may have ended in an error.
        self._leave_trainer()
        self._reset()
        self._trainer: Trainer = find_trainer()
        self._evaluation = Evaluation(self._trainer, self.settings)
        check_trainer(self._trainer, CoreBpbCallback, self.settings)
        check_sharding(self._trainer, kwargs["model"])
        move_to_front(self._trainer, self)
        if state.global_step > 0:
            self._restore(state)
        self._bpb_is_requested = (
            self.settings.texts is not None or self.settings.bpb_every is not None or selects_by_bpb(args)
        )
        if self._bpb_is_requested or self._core is not None:
            self._evaluation.prepare(self._bpb_is_requested, self._core)
        self.meter.begin(kwargs["model"], max(1, args.n_gpu))
        self._has_begun = True
        self._hooks.install(self._trainer)
        self.meter.start_clock()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop the clock, and measure what is due."""
        self.meter.stop_clock()
        step = state.global_step
        if self.settings.target_ratio is not None:
            self._check_ratio(self.settings.target_ratio, step, control)
        if _is_due(self.settings.bpb_every, step) and not control.should_evaluate:
            self._log_measured(self._measurements.bpb(step, self._evaluation))
        if _is_due(self.settings.core_every, step):
            self._log_core(step)
        self.meter.start_clock()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add bits per byte to the metrics by which the Trainer selects its best model."""
        if not self.meter.is_counting:
            return
        self.meter.count()
        if metrics is not None and self._evaluation.has_documents and evaluates_own_dataset(self._trainer, metrics):
            self._add_bpb(metrics, state)
        self.meter.start_clock()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Restart the clock: saving is not training."""
        self.meter.start_clock()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Finish counting, and leave the Trainer as it was."""
        self.meter.count()
        self._leave_trainer()

    def _leave_trainer(self) -> None:
        self.meter.end()
        self._hooks.remove()

    def _check_ratio(self, target: float, step: int, control: TrainerControl) -> None:
        self.meter.count()
        self._alert_log.add(self._monitor.on_ratio(step, self.meter.ratio, self.meter.convention))
        if self.settings.stop_at_target and self.meter.ratio >= target:
            control.should_training_stop = True

    def _add_bpb(self, metrics: dict[str, float], state: TrainerState) -> None:
        """Measure bits per byte during the Trainer's own evaluation, unless its eval dataset proved not to be text."""
        if not self._eval_dataset_is_text:
            return
        step = state.global_step
        is_new = step != self._measurements.bpb_step
        try:
            measured = self._measurements.bpb(step, self._evaluation, within_evaluation=True)
        except Exception as error:
            if self._bpb_is_requested:
                raise
            self._eval_dataset_is_text = False
            _LOG.warning("eval_bpb is not measured: %s", reason(error))
            return
        # A hyperparameter search optimizes the sum of all metrics.
        if self._bpb_is_requested or not state.is_hyper_param_search:
            metrics["eval_bpb"] = measured.values["eval_bpb"]
        if is_new:
            self._log_measured(measured)

    def _log_core(self, step: int) -> None:
        if self._core is not None and step != self._measurements.core_step:
            if process_group().is_main_process and not self._trainer.args.disable_tqdm:
                # On a line after the Trainer's progress bar, which stands still meanwhile.
                print(f"\nMeasuring CORE at step {step}.", file=sys.stderr, flush=True)
            self._log_measured(self._measurements.core(step, self._evaluation, self._core))

    def _log_measured(self, measured: Measured) -> None:
        self._alert_log.add(measured.alerts)
        self._hooks.log(measured.values)

    def _extend_log(self, logs: dict[str, float]) -> None:
        """Add the state of training to a training log or the summary, and new alerts to any log."""
        step = self._trainer.state.global_step
        if "loss" in logs:
            grad_norm = logs.get("grad_norm")
            self._alert_log.add(
                self._monitor.on_loss(step, float(logs["loss"]), None if grad_norm is None else float(grad_norm))
            )
            logs.update(self.scale())
            if not self._sizes_logged:
                self._sizes_logged = True
                logs.update(self.meter.sizes())
        elif "train_loss" in logs and "train_runtime" in logs:
            # All processes log the summary, and only then is the best checkpoint loaded over the last weights.
            self.meter.count()
            self._log_core(step)
            logs.update(self.scale())
        logs.update(self._alert_log.take_values())


def _is_due(every: int | None, step: int) -> bool:
    return every is not None and step % every == 0
