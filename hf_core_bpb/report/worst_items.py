"""What a model was most surprised by, and what took it longest, with its text, for people to read (pure)."""

from collections.abc import Iterator
from typing import Any

from hf_core_bpb.evaluation.bpb import PreparedTexts
from hf_core_bpb.evaluation.core import PreparedCore
from hf_core_bpb.evaluation.task_run import TaskRun
from hf_core_bpb.metrics.results import BpbResult, CoreResult, ItemResult

_MOST_ITEMS, _MOST_DOCUMENTS, _LONGEST = 10, 5, 5
_PROMPT_CHARACTERS, _DOCUMENT_CHARACTERS = 1500, 400


def surprising_items(prepared: PreparedCore, result: CoreResult) -> Iterator[dict[str, Any]]:
    """Yield the wrong items of which the model was surest, one a task before a second of any, with their prompts.

    Sure: by how many nats a token the chosen option is below the right one; of language modeling, how many
    the right continuation costs.
    """
    ranked = []
    for name, task in result.tasks.items():
        wrong = sorted((item for item in task.items if not item.correct), key=_surprise, reverse=True)
        ranked += [(place, -_surprise(item), name, item) for place, item in enumerate(wrong[:_MOST_ITEMS])]
    for _, _, name, item in sorted(ranked, key=lambda entry: entry[:3])[:_MOST_ITEMS]:
        yield _item(prepared.runs[name], item)


def longest_items(prepared: PreparedCore, result: CoreResult) -> Iterator[dict[str, Any]]:
    """Yield the items of the longest prompts, with their tokens: items share forwards, whose time goes by tokens."""
    lengths = [
        (-prepared.runs[name].num_tokens(item.index), name, item)
        for name, task in result.tasks.items()
        for item in task.items
    ]
    for length, name, item in sorted(lengths, key=lambda entry: entry[:2])[:_LONGEST]:
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
    """Yield the documents of most bits per byte of every text, with how they begin."""
    for source in prepared.sources:
        documents = results[source.name].documents
        known = [number for number, document in enumerate(documents) if document.num_bytes > 0]
        for number in sorted(known, key=lambda n: -documents[n].bits_per_byte)[:_MOST_DOCUMENTS]:
            yield {
                "text": source.name,
                "index": number,
                "bpb": documents[number].bits_per_byte,
                "begins": source.documents[number].text[:_DOCUMENT_CHARACTERS],
            }
