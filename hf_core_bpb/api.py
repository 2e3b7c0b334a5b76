"""The Python calls: a model and tokenizer in memory, to results."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from hf_core_bpb.data.documents import make_document
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.core import TextSource, run_bpb, run_core
from hf_core_bpb.evaluation.resolve import plan_core
from hf_core_bpb.metrics.results import BpbResult, CoreResult
from hf_core_bpb.models.language_model import wrap
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.signature import digest
from hf_core_bpb.tokenization.encode import Tokenizer
from hf_core_bpb.tokenization.windows import choose_windows
from hf_core_bpb.types import Baselines


def bits_per_byte(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    max_length: int | None = None,
    stride: int | None = None,
    packed: bool = False,
    batch_tokens: int | None = None,
) -> BpbResult:
    """Return the bits per byte of documents, total nats / (ln 2 x UTF-8 bytes of the texts).

    Every token is scored once, BOS (or EOS) in front of each document, in windows of `max_length` tokens
    (the model's positions where None) that move by `stride` (the whole window where None). Packed documents
    share windows, one after another. Raises InputError for no text or an empty one.
    """
    if isinstance(texts, str):
        raise InputError("texts: expected a list of documents, got a single string")
    if not texts:
        raise InputError("texts: expected one or more documents, got none")
    documents = [make_document(text, f"texts[{i}]") for i, text in enumerate(texts)]
    source = TextSource("texts", documents, f"sha256:{digest(repr(list(texts)))}")
    lm = wrap(model, tokenizer, max_length)
    windows = choose_windows(lm.max_length, stride, packed)
    results, _ = run_bpb(Scorer(lm, batch_tokens), [source], windows)
    return results["texts"]


def evaluate_core(
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    suite: str = "core-11",
    *,
    tasks: list[str] | None = None,
    source: str = "hub",
    bundle: str | Path | None = None,
    protocol: str = "nanochat",
    baselines: Baselines | None = None,
    limit: int | None = None,
    precision: float | None = None,
    max_length: int | None = None,
    batch_tokens: int | None = None,
) -> CoreResult:
    """Return the CORE results of a model: the command's options as keywords.

    precision: half the interval of 95 % that CORE of all items is to be known to, from as few as that takes.

    Raises InputError for an option that does not fit, RunError where the model gives no finite loss.
    """
    run = plan_core(suite, tasks, source, bundle, protocol, baselines, limit, precision)
    for message in run.warnings:
        warnings.warn(message, stacklevel=2)
    result, _ = run_core(Scorer(wrap(model, tokenizer, max_length), batch_tokens), run)
    return result
