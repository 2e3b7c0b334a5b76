"""The Python calls: a model and tokenizer in memory, to results."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from hf_core_bpb.data.documents import make_document
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.bpb import run_texts
from hf_core_bpb.evaluation.core import run_core
from hf_core_bpb.evaluation.options import CoreOptions, TextOptions
from hf_core_bpb.evaluation.resolve import TextSource, resolve_core
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

    Every token is scored once, with BOS (or EOS) in front of each document, in windows of `max_length` tokens (by
    default the model's positions) that move by `stride` (by default the whole window). Packed documents share windows,
    one after another. batch_tokens: maximum tokens per forward pass.
    Raises InputError for no text or an empty one, RunError if the model's losses are not finite.
    """
    options = TextOptions(stride=stride, packed=packed, max_length=max_length, batch_tokens=batch_tokens)
    if isinstance(texts, str):
        raise InputError("texts: expected a list of documents, got a single string")
    if not texts:
        raise InputError("texts: expected one or more documents, got none")
    documents = [make_document(text, f"texts[{i}]") for i, text in enumerate(texts)]
    source = TextSource("texts", documents, f"sha256:{digest(repr(list(texts)))}")
    lm = wrap(model, tokenizer, options.max_length)
    windows = choose_windows(lm.max_length, options.stride, options.packed)
    results, _ = run_texts(lm, Scorer(model, options.batch_tokens), [source], windows)
    return results["texts"]


def evaluate_core(  # noqa: PLR0913 - the options of the command, each a keyword
    model: torch.nn.Module,
    tokenizer: Tokenizer,
    suite: str = "core-11",
    *,
    tasks: Sequence[str] | None = None,
    source: str = "hub",
    bundle: str | Path | None = None,
    protocol: str = "nanochat",
    baselines: Baselines | None = None,
    limit: int | None = None,
    precision: float | None = None,
    max_length: int | None = None,
    batch_tokens: int | None = None,
) -> CoreResult:
    """Return the CORE results of a model; the keywords are the options of the command.

    suite: core-11 or core-22, unless `tasks` names tasks or .toml files. source: where rows come from, hub, bundle or
    demo; bundle: its folder, zip file or https address. protocol: nanochat or dclm. baselines: v1 or v2, by default the
    protocol's. limit: items per task. precision: score only as many items as estimate CORE of all of them to within
    this half-width of its 95% interval. max_length: context length. batch_tokens: maximum tokens per forward pass.
    Raises InputError for an option that does not fit, RunError if the model's losses are not finite.
    """
    options = CoreOptions(
        suite=suite,
        tasks=tasks,
        source=source,
        bundle=None if bundle is None else str(bundle),
        protocol=protocol,
        baselines=baselines,
        limit=limit,
        precision=precision,
        max_length=max_length,
        batch_tokens=batch_tokens,
    )
    core = resolve_core(options)
    for message in core.warnings:
        warnings.warn(message, stacklevel=2)
    result, _ = run_core(wrap(model, tokenizer, options.max_length), Scorer(model, options.batch_tokens), core)
    return result
