"""Evaluates the model that a Trainer trains, and leaves training as it was."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import ConcatDataset
from transformers import Trainer

from hf_core_bpb.errors import InputError
from hf_core_bpb.model import LanguageModel, wrap
from hf_core_bpb.runner import CoreRun, PreparedCore, prepare_core, score_core
from hf_core_bpb.scaling.forecast import FEWEST_POINTS, forecast_loss
from hf_core_bpb.scorer import Scorer
from hf_core_bpb.training.validation import Validation, of_rows, of_texts
from hf_core_bpb.types import CoreResult, Scored


class Evaluation:
    """What a Trainer's model is evaluated on; prompts and windows are made once.

    texts: validation documents, the Trainer's eval dataset where None. core_run: the suite, where one is
    wanted. tokenizer: the Trainer's processing_class where None.
    """

    def __init__(
        self,
        trainer: Trainer,
        texts: Sequence[str] | None,
        core_run: CoreRun | None,
        tokenizer: Any,
        max_length: int | None,
        batch_tokens: int | None,
    ) -> None:
        """Take note of what is wanted."""
        self.trainer = trainer
        self.texts = texts
        self.core_run = core_run
        self.tokenizer: Any = tokenizer if tokenizer is not None else trainer.processing_class
        self.max_length = max_length
        self.batch_tokens = batch_tokens
        self._lm: LanguageModel | None = None
        self._validation: Validation | None = None
        self._core: PreparedCore | None = None

    @property
    def has_validation(self) -> bool:
        """Whether there is anything to take bits per byte of."""
        return self.texts is not None or self.trainer.eval_dataset is not None

    def prepare(self) -> None:
        """Make what was asked for ready. Raises InputError for whatever would only fail hours later."""
        _refuse_sharded_by_deepspeed(self.trainer)
        lm = self._language_model()
        if self.texts is not None:
            self._validation = of_texts(lm, self.texts)
        if self.core_run is not None:
            self._core = prepare_core(lm, self.core_run)

    def documents(self) -> list[Scored]:
        """Return the sums of every validation document. Raises RunError for losses that are not finite."""
        with _untouched_randomness():
            scorer = self._scorer()
            if self._validation is None:
                self._validation = (
                    of_texts(scorer.lm, self.texts)
                    if self.texts is not None
                    else of_rows(scorer.lm, _one_dataset(self.trainer.eval_dataset), self.trainer.data_collator)
                )
            return self._validation.score(scorer)

    def core(self, run: CoreRun) -> CoreResult:
        """Return the results of the suite. Raises RunError for losses that are not finite."""
        with _untouched_randomness():
            scorer = self._scorer()
            if self._core is None:
                self._core = prepare_core(scorer.lm, run)
            result, _ = score_core(scorer, self._core)
            return result

    def _scorer(self) -> Scorer:
        """Return a scorer that knows nothing of the model yet: what held for its weights may no longer hold."""
        return Scorer(self._language_model(), self.batch_tokens)

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


def _one_dataset(dataset: Any) -> Any:
    """Return a Trainer's eval dataset, or several under names as one after another."""
    return ConcatDataset(list(dataset.values())) if isinstance(dataset, dict) else dataset


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
