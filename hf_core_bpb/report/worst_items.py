"""The most surprising items and documents, and the items with the longest prompts, with their text (pure)."""

from collections.abc import Iterator
from typing import Any

from hf_core_bpb.evaluation.bpb import PreparedTexts
from hf_core_bpb.evaluation.core import PreparedCore
from hf_core_bpb.evaluation.task_run import TaskRun
from hf_core_bpb.metrics.results import BpbResult, CoreResult, ItemResult

_MAX_ITEMS, _MAX_DOCUMENTS, _MAX_LONGEST = 10, 5, 5
_PROMPT_CHARACTERS, _DOCUMENT_CHARACTERS = 1500, 400


def surprising_items(prepared: PreparedCore, result: CoreResult) -> Iterator[dict[str, Any]]:
    """Yield the wrong answers with the highest confidence and their prompts, one per task before any task's second.

    Confidence: the difference in nats per token between the correct and the chosen option; in language modeling, the
    nats per token of the correct continuation.
    """
    ranked = []
    for name, task in result.tasks.items():
        wrong = sorted((item for item in task.items if not item.correct), key=_surprise, reverse=True)
        ranked += [(rank, -_surprise(item), name, item) for rank, item in enumerate(wrong[:_MAX_ITEMS])]
    for _, _, name, item in sorted(ranked, key=lambda entry: entry[:3])[:_MAX_ITEMS]:
        yield _item(prepared.runs[name], item)


def longest_items(prepared: PreparedCore, result: CoreResult) -> Iterator[dict[str, Any]]:
    """Yield the items with the longest prompts, which take the most time, with their numbers of tokens."""
    lengths = [
        (-prepared.runs[name].num_tokens(item.index), name, item)
        for name, task in result.tasks.items()
        for item in task.items
    ]
    for length, name, item in sorted(lengths, key=lambda entry: entry[:2])[:_MAX_LONGEST]:
        yield {**_item(prepared.runs[name], item), "longest_prompt_tokens": -length}


def _item(stage: TaskRun, item: ItemResult) -> dict[str, Any]:
    example, shots = stage.items[item.index], stage.shots[item.index]
    prompts = stage.protocol.render(stage.task.kind, example, shots, stage.task.delimiter)
    prompt = prompts[-1] if item.gold is None else prompts[item.gold]
    options = example.contexts if len(example.contexts) > 1 else example.continuations
    return {
        "task": stage.task.name,
        "index": item.index,
        "prompt": prompt[-_PROMPT_CHARACTERS:],
        "options": [option[-_DOCUMENT_CHARACTERS:] for option in options],
        "gold": item.gold,
        "prediction": item.prediction,
        "mean_nats": [option.mean_nats for option in item.options],
    }


def _surprise(item: ItemResult) -> float:
    if item.gold is None or item.prediction is None:
        return item.options[0].mean_nats
    return item.options[item.gold].mean_nats - item.options[item.prediction].mean_nats


def surprising_documents(prepared: PreparedTexts, results: dict[str, BpbResult]) -> Iterator[dict[str, Any]]:
    """Yield the documents with the most bits per byte of every text, with their first characters."""
    for source in prepared.sources:
        documents = results[source.name].documents
        scored = [index for index, document in enumerate(documents) if document.num_bytes > 0]
        for index in sorted(scored, key=lambda i: -documents[i].bits_per_byte)[:_MAX_DOCUMENTS]:
            yield {
                "text": source.name,
                "index": index,
                "bpb": documents[index].bits_per_byte,
                "begins": source.documents[index].text[:_DOCUMENT_CHARACTERS],
            }
