"""Access to a Trainer beyond what it passes to callbacks: its private parts, and what is replaced or reordered."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, cast

import torch
from torch.distributed.fsdp import FullyShardedDataParallel
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments

from hf_core_bpb.errors import InputError
from hf_core_bpb.training.settings import CallbackSettings

_ABSENT = object()


class TrainerHooks:
    """Replaces methods of a Trainer while it trains with a callback, and restores them.

    before_log: called with the values of every log, which it may add to. before_loss: called with every batch.
    before_log_and_save: called by all processes before a regular log or a checkpoint. on_removal: called instead of
    before_log once the callback was removed from the Trainer; it must call `remove`.
    """

    def __init__(
        self,
        callback: TrainerCallback,
        *,
        before_log: Callable[[dict[str, float]], None],
        before_loss: Callable[[Any], None],
        before_log_and_save: Callable[[], None],
        on_removal: Callable[[], None],
    ) -> None:
        """Take the functions to call; nothing is replaced yet."""
        self._callback = callback
        self._before_log = before_log
        self._before_loss = before_loss
        self._before_log_and_save = before_log_and_save
        self._on_removal = on_removal
        self._trainer: Any = None
        # What the Trainer had under these names: as attributes of the instance only, and by any lookup.
        self._attributes: dict[str, Any] = {}
        self._methods: dict[str, Callable[..., Any]] = {}

    def install(self, trainer: Trainer) -> None:
        """Replace the methods of a Trainer."""
        replacements: dict[str, Callable[..., Any]] = {"log": self._log, "compute_loss": self._compute_loss}
        # Private, and the only method that all processes call before each log and each checkpoint.
        if hasattr(trainer, "_maybe_log_save_evaluate"):
            replacements["_maybe_log_save_evaluate"] = self._log_and_save
        self._trainer = trainer
        self._attributes = {name: trainer.__dict__.get(name, _ABSENT) for name in replacements}
        self._methods = {name: getattr(trainer, name) for name in replacements}
        trainer.__dict__.update(replacements)

    def remove(self) -> None:
        """Restore the methods; does nothing if none are replaced."""
        for name, attribute in self._attributes.items():
            self._trainer.__dict__.pop(name, None)
            if attribute is not _ABSENT:
                self._trainer.__dict__[name] = attribute
        self._attributes = {}

    def log(self, values: Mapping[str, float]) -> None:
        """Log values in addition to the Trainer's regular logs, without delaying the next of these."""
        # Every log clears should_log, which the Trainer may have just set for a log of its own.
        should_log = self._trainer.control.should_log
        self._log(dict(values))
        self._trainer.control.should_log = should_log

    def _log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self._callback in self._trainer.callback_handler.callbacks:
            self._before_log(logs)
        else:
            # Removed after a training that ended in an error.
            self._on_removal()
        self._methods["log"](logs, *args, **kwargs)

    def _compute_loss(self, model: torch.nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self._before_loss(inputs)
        return self._methods["compute_loss"](model, inputs, *args, **kwargs)

    def _log_and_save(self, *args: Any, **kwargs: Any) -> Any:
        control = self._trainer.control
        if control.should_log or control.should_save:
            self._before_log_and_save()
        return self._methods["_maybe_log_save_evaluate"](*args, **kwargs)


def find_trainer() -> Trainer:
    """Return the Trainer that calls the callback, which gets no reference to it."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, Trainer):
            return caller
        frame = frame.f_back
    raise InputError("CoreBpbCallback: expected to be called by a transformers Trainer")


def check_trainer(trainer: Trainer, callback: type[TrainerCallback], settings: CallbackSettings) -> None:
    """Raise InputError for a Trainer with which the callback of this type would not do what its settings say."""
    args = trainer.args
    if args.restore_callback_states_from_checkpoint:
        raise InputError(
            "CoreBpbCallback: expected restore_callback_states_from_checkpoint=False, got True, which would replace "
            "its settings by the defaults; its counts are restored from the checkpoint anyway"
        )
    if settings.bpb_every is not None and settings.texts is None and trainer.eval_dataset is None:
        raise InputError("`bpb_every`: expected `texts` or the Trainer's eval_dataset with it, got neither")
    if settings.texts is not None and settings.bpb_every is None and args.eval_strategy == "no":
        raise InputError("`texts`: expected `bpb_every` or the Trainer's eval_strategy with it, got neither")
    if selects_by_bpb(args) and args.greater_is_better:
        raise InputError(
            "CoreBpbCallback: expected greater_is_better=False with metric_for_best_model='eval_bpb', as lower is "
            "better, got True (Trainer's default for names that do not end in loss)"
        )
    count = sum(isinstance(other, callback) for other in trainer.callback_handler.callbacks)
    if count > 1:
        raise InputError(f"CoreBpbCallback: expected one per Trainer, got {count}")


def check_sharding(trainer: Trainer, model: torch.nn.Module) -> None:
    """Raise InputError if a process has only parts of the weights, which it can neither count nor evaluate."""
    plugin = getattr(trainer.accelerator.state, "deepspeed_plugin", None)
    if plugin is not None and plugin.zero_stage == 3:
        sharding = "DeepSpeed ZeRO-3"
    elif any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        sharding = "FSDP version 1"
    else:
        return
    raise InputError(
        f"CoreBpbCallback: expected weights that each process can count and evaluate, got {sharding}; train with "
        "ZeRO-2 or FSDP version 2 (fsdp_version: 2), or evaluate checkpoints with the command"
    )


def selects_by_bpb(args: TrainingArguments) -> bool:
    """Return whether the Trainer selects its best model by bits per byte."""
    return args.metric_for_best_model in ("eval_bpb", "bpb")


def move_to_front(trainer: Trainer, callback: TrainerCallback) -> None:
    """Run the callback before those that read the metrics it adds, such as EarlyStopping; Trainer's own stays first."""
    callbacks = trainer.callback_handler.callbacks
    if callback in callbacks[2:]:
        callbacks.insert(1, callbacks.pop(callbacks.index(callback)))


def checkpoint_attributes(state: TrainerState, name: str) -> dict[str, Any]:
    """Return the attributes that a checkpoint has of the callback of this name, none if it was saved without it."""
    states: Any = state.stateful_callbacks or {}
    saved = states.get(name, {})
    attributes: dict[str, Any] = (saved[0] if isinstance(saved, list) else saved).get("attributes", {})
    return attributes


def add_to_checkpoints(state: TrainerState, name: str, exported: dict[str, Any]) -> None:
    """Have the Trainer save the callback of this name, also if the checkpoint it resumes from was saved without it."""
    state.stateful_callbacks = cast("Any", {**cast("Any", state.stateful_callbacks or {}), name: exported})


def epochs_trained(trainer: Trainer) -> float | None:
    """Return the number of passes over the training data, None if the data has no length."""
    return (trainer.state.epoch or 0.0) if hasattr(trainer.train_dataset, "__len__") else None


def evaluates_own_dataset(trainer: Trainer, metrics: Mapping[str, float]) -> bool:
    """Return whether metrics are of the Trainer's eval dataset, whose prefix is eval, with a name if it has several."""
    datasets = trainer.eval_dataset
    prefixes = ["eval", *(f"eval_{name}" for name in (datasets if isinstance(datasets, dict) else ()))]
    return any(f"{prefix}_runtime" in metrics for prefix in prefixes)


def eval_datasets(trainer: Trainer) -> list[tuple[Any, Callable[[list[Any]], Any]]]:
    """Return each eval dataset, without the columns that the model does not take, with its collator."""
    datasets = trainer.eval_dataset
    loaders = [trainer.get_eval_dataloader(name) for name in (datasets if isinstance(datasets, dict) else (None,))]
    return [(loader.dataset, loader.collate_fn) for loader in loaders]


def evaluated_model(trainer: Trainer) -> Any:
    """Return the bare model, or the wrapper that gathers its weights if they are sharded."""
    return trainer.model_wrapped if trainer.is_fsdp_enabled else trainer.model


def autocast(trainer: Trainer) -> AbstractContextManager[Any]:
    """Return the context of the Trainer's mixed precision.

    Accelerate applies it to the model's forward alone, while scoring also calls the base model and the head.
    """
    context: AbstractContextManager[Any] = trainer.accelerator.autocast()
    return context


@contextmanager
def evaluation_weights(trainer: Trainer, within_evaluation: bool) -> Iterator[None]:
    """Switch an optimizer that evaluates other weights than it trains (schedule-free) to its evaluation weights.

    within_evaluation: whether the Trainer itself is evaluating, and switches back later.
    """
    optimizer: Any = trainer.optimizer
    if not (callable(getattr(optimizer, "eval", None)) and callable(getattr(optimizer, "train", None))):
        yield
        return
    optimizer.eval()
    try:
        yield
    finally:
        if not within_evaluation:
            optimizer.train()


def learning_rates(trainer: Trainer, num_steps: int) -> list[float] | None:
    """Return the schedule's relative learning rate of every step, None if it depends on more than the step."""
    lambdas = getattr(trainer.lr_scheduler, "lr_lambdas", None)
    if not lambdas:
        return None
    rate: Callable[[int], float] = lambdas[0]
    return [float(rate(step)) for step in range(num_steps)]
