"""Evaluation of the model that a Trainer trains, which leaves training unchanged."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import Trainer

from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.bpb import PreparedDocuments
from hf_core_bpb.evaluation.core import PreparedCore, prepare_core, score_core
from hf_core_bpb.evaluation.resolve import ResolvedCore
from hf_core_bpb.metrics.results import CoreResult
from hf_core_bpb.models.language_model import LanguageModel, wrap
from hf_core_bpb.scaling.forecast import FEWEST_POINTS, forecast_loss
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.training.settings import CallbackSettings
from hf_core_bpb.training.trainer_hooks import (
    autocast,
    eval_datasets,
    evaluated_model,
    evaluation_weights,
    learning_rates,
)
from hf_core_bpb.training.validation import VALIDATION, prepare_validation_rows, prepare_validation_texts
from hf_core_bpb.types import Scored


class Evaluation:
    """Evaluates a Trainer's model; documents and prompts are prepared once."""

    def __init__(self, trainer: Trainer, settings: CallbackSettings) -> None:
        """Prepare nothing yet."""
        self._trainer = trainer
        self._settings = settings
        self._lm: LanguageModel | None = None
        self._documents: PreparedDocuments | None = None
        self._core: PreparedCore | None = None

    @property
    def has_documents(self) -> bool:
        """Whether there are validation documents."""
        return self._settings.texts is not None or self._trainer.eval_dataset is not None

    def prepare(self, documents: bool, core: ResolvedCore | None) -> None:
        """Prepare what will be evaluated. Raises InputError for what would otherwise fail in the middle of training."""
        with _preserved_randomness():
            if documents:
                self._prepared_documents()
            if core is not None:
                self._prepared_core(core)

    def score_documents(self, *, within_evaluation: bool = False) -> list[Scored]:
        """Return the sums of every validation document. Raises RunError for losses that are not finite.

        within_evaluation: whether the Trainer itself is evaluating.
        """
        with _preserved_randomness(), evaluation_weights(self._trainer, within_evaluation), autocast(self._trainer):
            sums, _ = self._prepared_documents().score(self._scorer())
            return sums[VALIDATION]

    def score_core(self, core: ResolvedCore) -> CoreResult:
        """Return the CORE results. Raises RunError for losses that are not finite."""
        weights = evaluation_weights(self._trainer, within_evaluation=False)
        with _preserved_randomness(), weights, autocast(self._trainer):
            result, _ = score_core(self._language_model(), self._scorer(), self._prepared_core(core))
            return result

    def forecast(self, curve: Sequence[tuple[int, float]]) -> dict[str, float]:
        """Return log values of the forecast for the last step, from (step, bits per byte) so far; none if too early."""
        last_step = self._trainer.state.max_steps
        if len(curve) < FEWEST_POINTS or curve[-1][0] >= last_step:
            return {}
        steps, values = zip(*curve, strict=True)
        try:
            forecast = forecast_loss(steps, values, last_step, learning_rates(self._trainer, last_step))
        except InputError:
            # Too few points since the learning rate rose above 0, or one that is not finite.
            return {}
        low, high = forecast.ci95
        return {"scale/forecast_bpb": forecast.loss, "scale/forecast_low": low, "scale/forecast_high": high}

    def _language_model(self) -> LanguageModel:
        if self._lm is None:
            settings = self._settings
            processor: Any = settings.tokenizer if settings.tokenizer is not None else self._trainer.processing_class
            if processor is None:
                raise InputError("`tokenizer`: expected one here or as the Trainer's processing_class, got neither")
            # A processor of several modalities has a tokenizer.
            tokenizer = processor if hasattr(processor, "get_vocab") else getattr(processor, "tokenizer", processor)
            self._lm = wrap(evaluated_model(self._trainer), tokenizer, settings.max_length)
        return self._lm

    def _prepared_documents(self) -> PreparedDocuments:
        if self._documents is None:
            lm, texts = self._language_model(), self._settings.texts
            if texts is not None:
                self._documents = prepare_validation_texts(lm, texts)
            else:
                self._documents = prepare_validation_rows(lm, eval_datasets(self._trainer))
        return self._documents

    def _prepared_core(self, core: ResolvedCore) -> PreparedCore:
        if self._core is None:
            self._core = prepare_core(self._language_model(), core)
        return self._core

    def _scorer(self) -> Scorer:
        """Return a new scorer: the fast paths that held for earlier weights may not hold for the current ones."""
        return Scorer(self._language_model().model, self._settings.batch_tokens)


@contextmanager
def _preserved_randomness() -> Iterator[None]:
    """Restore the state of every random generator, so that training continues as it would have without."""
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
