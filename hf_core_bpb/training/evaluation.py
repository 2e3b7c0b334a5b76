"""Evaluates the model that a Trainer trains, and leaves training as it was."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.distributed.fsdp import FullyShardedDataParallel
from transformers import Trainer

from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.bpb import PreparedDocuments
from hf_core_bpb.evaluation.core import PreparedCore, prepare_core, score_core
from hf_core_bpb.evaluation.resolve import ResolvedCore
from hf_core_bpb.metrics.results import CoreResult
from hf_core_bpb.models.language_model import LanguageModel, wrap
from hf_core_bpb.scaling.forecast import FEWEST_POINTS, forecast_loss
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.training.validation import VALIDATION, prepare_validation_rows, prepare_validation_texts
from hf_core_bpb.types import Scored


class Evaluation:
    """What a Trainer's model is evaluated on; prompts and windows are made once.

    texts: validation documents, the Trainer's eval dataset where None. core_run: the suite, where one is
    wanted. tokenizer: the Trainer's processing_class where None.
    """

    def __init__(
        self,
        trainer: Trainer,
        texts: Sequence[str] | None,
        core_run: ResolvedCore | None,
        tokenizer: Any,
        max_length: int | None,
        batch_tokens: int | None,
    ) -> None:
        """Take note of what is wanted."""
        self.trainer = trainer
        self.texts = texts
        self.core_run = core_run
        self.tokenizer: Any = tokenizer if tokenizer is not None else trainer.processing_class
        if not hasattr(self.tokenizer, "get_vocab"):
            # A processor of several modalities holds one.
            self.tokenizer = getattr(self.tokenizer, "tokenizer", self.tokenizer)
        # Whether Trainer's own evaluation goes on around this one.
        self.is_trainers = False
        self.max_length = max_length
        self.batch_tokens = batch_tokens
        self._lm: LanguageModel | None = None
        self._validation: PreparedDocuments | None = None
        self._core: PreparedCore | None = None

    @property
    def has_validation(self) -> bool:
        """Whether there is anything to take bits per byte of."""
        return self.texts is not None or self.trainer.eval_dataset is not None

    def prepare(self, validation: bool) -> None:
        """Make what was asked for ready. Raises InputError for whatever would only fail hours later."""
        with _untouched_randomness():
            lm = self._language_model()
            if validation:
                self._validation = self._validation_of(lm)
            if self.core_run is not None:
                self._core = prepare_core(lm, self.core_run)

    def _validation_of(self, lm: LanguageModel) -> PreparedDocuments:
        if self.texts is not None:
            return prepare_validation_texts(lm, self.texts)
        held = self.trainer.eval_dataset
        loaders = [self.trainer.get_eval_dataloader(name) for name in (held if isinstance(held, dict) else (None,))]
        return prepare_validation_rows(lm, [(loader.dataset, loader.collate_fn) for loader in loaders])

    def documents(self) -> list[Scored]:
        """Return the sums of every validation document. Raises RunError for losses that are not finite."""
        with _untouched_randomness(), self._averaged_weights():
            if self._validation is None:
                self._validation = self._validation_of(self._language_model())
            sums, _ = self._validation.score(self._scorer())
            return sums[VALIDATION]

    def core(self, run: ResolvedCore) -> CoreResult:
        """Return the results of the suite. Raises RunError for losses that are not finite."""
        with _untouched_randomness(), self._averaged_weights():
            lm = self._language_model()
            if self._core is None:
                self._core = prepare_core(lm, run)
            result, _ = score_core(lm, self._scorer(), self._core)
            return result

    def _scorer(self) -> Scorer:
        """Return a scorer that knows nothing of the model yet: what held for its weights may no longer hold."""
        return Scorer(self._language_model().model, self.batch_tokens)

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        """Have an optimizer that evaluates other weights than it trains (schedule-free) put them there."""
        optimizer: Any = self.trainer.optimizer
        if not (callable(getattr(optimizer, "eval", None)) and callable(getattr(optimizer, "train", None))):
            yield
            return
        optimizer.eval()
        try:
            yield
        finally:
            if not self.is_trainers:
                optimizer.train()

    def _language_model(self) -> LanguageModel:
        if self._lm is None:
            if self.tokenizer is None:
                raise InputError(
                    "CoreBpbCallback: expected a tokenizer (Trainer's processing_class, or tokenizer=), got none"
                )
            # What gathers its own weights where they are sharded, else the bare model.
            model: Any = self.trainer.model_wrapped if self.trainer.is_fsdp_enabled else self.trainer.model
            self._lm = wrap(model, self.tokenizer, self.max_length)
        return self._lm


def forecast(trainer: Trainer, curve: Sequence[tuple[int, float]]) -> dict[str, float]:
    """Return the forecast of the last bpb from (step, bpb) so far, under the names it is logged by; none too early."""
    last = trainer.state.max_steps
    if len(curve) < FEWEST_POINTS or curve[-1][0] >= last:
        return {}
    steps, values = zip(*curve, strict=True)
    try:
        found = forecast_loss(steps, values, last, _learning_rates(trainer, last))
    except InputError:
        # Too few points since the rate rose above 0, or one that is not finite.
        return {}
    low, high = found.ci95
    return {"scale/forecast_bpb": found.loss, "scale/forecast_low": low, "scale/forecast_high": high}


def _learning_rates(trainer: Trainer, steps: int) -> list[float] | None:
    """Return the schedule's rate at steps 1 to `steps`, None where it depends on more than the step."""
    lambdas = getattr(trainer.lr_scheduler, "lr_lambdas", None)
    if not lambdas:
        return None
    rate: Callable[[int], float] = lambdas[0]
    return [float(rate(step)) for step in range(steps)]


def refuse_sharded(trainer: Trainer, model: torch.nn.Module) -> None:
    """Raise InputError where a process holds pieces of weights that neither counts nor forwards can be made of."""
    plugin = getattr(trainer.accelerator.state, "deepspeed_plugin", None)
    if plugin is not None and plugin.zero_stage == 3:
        got = "DeepSpeed ZeRO-3"
    elif any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        got = "FSDP version 1"
    else:
        return
    raise InputError(
        f"CoreBpbCallback: expected weights that each process can count and evaluate, got {got}; train with ZeRO-2 "
        "or FSDP version 2 (fsdp_version: 2), or evaluate checkpoints with the command"
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
