"""A run as the plain values of results.json and of the samples (pure)."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from hf_core_bpb import __version__
from hf_core_bpb.metrics.intervals import accuracy_ci95, bpb_ci95, core_ci95
from hf_core_bpb.metrics.results import BpbResult, CoreResult, TaskResult
from hf_core_bpb.results.record import RunRecord
from hf_core_bpb.types import Baselines, Scored

SCHEMA_VERSION = 1


def to_json(record: RunRecord) -> dict[str, Any]:
    """Return the values of results.json."""
    return {
        "schema_version": SCHEMA_VERSION,
        "hf_core_bpb": __version__,
        "signature": " ".join(record.signatures),
        "signatures": record.signatures,
        "model": {
            "id": record.model.name,
            "revision": record.model.revision,
            "tokenizer": record.model.tokenizer,
            "dtype": record.model.dtype,
            "parameters": dataclasses.asdict(record.model.parameters),
            **({"trained": dataclasses.asdict(record.model.trained)} if record.model.trained is not None else {}),
        },
        **({"core": core_values(record.core)} if record.core is not None else {}),
        **({"bpb": _bpb_by_text(record)} if record.bpb else {}),
        "work": {
            **dataclasses.asdict(record.statistics.work),
            "backend": record.statistics.backend,
            "seconds": record.statistics.seconds,
            "processes": record.statistics.processes,
            "peak_memory_bytes": record.statistics.peak_memory_bytes,
        },
        "environment": dict(record.statistics.environment),
    }


def core_values(core: CoreResult) -> dict[str, Any]:
    """Return CORE with every task's scores and dataset."""
    return {
        "suite": core.suite,
        "protocol": core.protocol,
        "source": core.source,
        "baselines": core.baselines,
        "core": core.core,
        "core_by_baselines": {version: core.core_by(version) for version in get_args(Baselines)},
        "ci95": core_ci95(core, core.baselines),
        "gold_bits_per_byte": core.gold_bits_per_byte,
        **({"sample": {**dataclasses.asdict(core.sample), "num_items": core.num_items}} if core.sample else {}),
        "tasks": {name: _task(result, core.baselines) for name, result in core.tasks.items()},
    }


def _task(result: TaskResult, version: Baselines) -> dict[str, Any]:
    dataset = result.task.dataset
    return {
        "accuracy": result.accuracy,
        "centered": result.centered(version),
        "ci95": accuracy_ci95(result),
        "accuracy_by_rule": result.accuracy_by_rule,
        "gold_bits_per_byte": result.gold_bits_per_byte,
        "n": result.num_items,
        "num_fewshot": result.num_fewshot,
        "random_baseline": result.task.baselines[version],
        "kind": result.task.kind,
        "truncated": result.num_truncated,
        **_categories(result),
        "dataset": {
            "path": dataset.path,
            "config": dataset.config,
            "split": dataset.split,
            "revision": result.revision,
        },
    }


def _categories(result: TaskResult) -> dict[str, Any]:
    by_category = result.accuracy_by_category
    return {"accuracy_by_category": by_category} if len(by_category) > 1 else {}


def _bpb_by_text(record: RunRecord) -> dict[str, Any]:
    return {
        name: {**bpb_values(result), "compressors": dict(record.compressors.get(name, {}))}
        for name, result in record.bpb.items()
    }


def bpb_values(result: BpbResult) -> dict[str, Any]:
    """Return bits per byte with the other measures of the same sums; None for unknown counts."""
    return {
        "bpb": result.bpb,
        "ci95": bpb_ci95(result.documents),
        **_sums(result.total),
        "bits_per_character": result.bits_per_character,
        "token_perplexity": _finite(result.token_perplexity) if result.total.num_tokens > 0 else None,
        "byte_perplexity": _finite(result.byte_perplexity),
        "documents": len(result.documents),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _sums(scored: Scored) -> dict[str, Any]:
    return {
        "nats": scored.total_nats,
        "bytes": scored.num_bytes,
        "tokens": scored.num_tokens,
        "characters": scored.num_characters,
    }


def to_samples(record: RunRecord) -> dict[str, Iterator[dict[str, Any]]]:
    """Return the rows of each samples file, by its name without suffix."""
    samples: dict[str, Iterator[dict[str, Any]]] = {}
    if record.core is not None:
        samples |= {name: _item_rows(result) for name, result in record.core.tasks.items()}
    return samples | {
        f"bpb-{name}": _document_rows(result, record.packed.get(name, [])) for name, result in record.bpb.items()
    }


def _item_rows(result: TaskResult) -> Iterator[dict[str, Any]]:
    for item in result.items:
        yield {
            "index": item.index,
            "gold": item.gold,
            "prediction": item.prediction,
            "correct": item.correct,
            "nats": [option.total_nats for option in item.options],
            "tokens": [option.num_tokens for option in item.options],
            "bytes": [option.num_bytes for option in item.options],
            "truncated": item.truncated,
            **({"category": item.category} if item.category else {}),
        }


def _document_rows(result: BpbResult, packed: Sequence[Mapping[str, int]]) -> Iterator[dict[str, Any]]:
    for index, document in enumerate(result.documents):
        yield {"index": index, **_sums(document), **({"packed": dict(packed[index])} if packed else {})}
