"""The protocol of DCLM, as in llm-foundry's in-context-learning datasets, commit 8c8dd48f (pure).

Items in file order, one random stream of shots, single line breaks, context and answer tokenized separately.
"""

import dataclasses
import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from hf_core_bpb.errors import InputError
from hf_core_bpb.protocols.item_batch import ItemBatch
from hf_core_bpb.tokenization.encode import Tokenizer, encode_bare, encode_with_special_tokens
from hf_core_bpb.types import Example, Ids, Kind, Request

SHOT_SEED = 1234


def select_items(kind: Kind, examples: Sequence[Example], limit: int | None) -> list[Example]:
    """Return the first items of each category in file order; texts are stripped, lists of options are not."""
    counts: dict[str, int] = defaultdict(int)
    items = []
    for example in examples:
        counts[example.category] += 1
        if limit is None or counts[example.category] <= limit:
            items.append(_strip_single_texts(kind, example))
    return items


def _strip_single_texts(kind: Kind, example: Example) -> Example:
    contexts = example.contexts if kind == "schema" else tuple(text.strip() for text in example.contexts)
    continuations = example.continuations
    if kind != "multiple_choice":
        continuations = tuple(text.strip() for text in continuations)
    return dataclasses.replace(example, contexts=contexts, continuations=continuations)


def draw_shots(items: Sequence[Example], num_fewshot: int) -> list[list[Example]]:
    """Return each item's shots from the other items of its category.

    Each category has one Random(1234), which draws the shots of its items in file order. As in llm-foundry,
    the shots of an item are a set of indices, in Python's iteration order of that set.
    """
    by_category: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        by_category[item.category].append(index)
    shots: list[list[Example]] = [[] for _ in items]
    for indices in by_category.values():
        rng = random.Random(SHOT_SEED)
        num_drawn = min(len(indices) - 1, num_fewshot)
        for item_number, index in enumerate(indices):
            drawn = set(rng.sample(range(len(indices)), num_drawn))
            if item_number in drawn:
                drawn.remove(item_number)
                drawn.add(_draw_another(rng, len(indices), drawn | {item_number}))
            shots[index] = [items[indices[number]] for number in drawn]
    return shots


def _draw_another(rng: random.Random, count: int, excluded: set[int]) -> int:
    while True:
        number = rng.choice(range(count))
        if number not in excluded:
            return number


def render_preamble(item: Example, shots: Sequence[Example], delimiter: str) -> str:
    """Return the text before the item: its preamble and shots, separated by line breaks."""
    lines = [item.preamble] if item.preamble else []
    lines += [shot.gold_context + delimiter + shot.gold_continuation for shot in shots]
    return "\n".join(lines)


def render_contexts(kind: Kind, item: Example, delimiter: str, after_preamble: bool) -> list[str]:
    """Return the item's contexts; in a schema, they have a delimiter only after a preamble."""
    lead = "\n" if after_preamble else ""
    if kind == "schema":
        tail = delimiter.rstrip() if after_preamble else ""
        return [lead + context + tail for context in item.contexts]
    return [(lead + item.contexts[0] + delimiter).rstrip()]


def render_prompts(kind: Kind, item: Example, shots: Sequence[Example], delimiter: str) -> list[str]:
    """Return the full texts of an item's prompts, with a space before each answer."""
    preamble = render_preamble(item, shots, delimiter)
    contexts = render_contexts(kind, item, delimiter, preamble != "")
    return [preamble + context + _with_leading_space(answer) for context in contexts for answer in item.continuations]


def _with_leading_space(answer: str) -> str:
    return answer if answer.startswith(" ") else f" {answer}"


def make_requests(tokenizer: Tokenizer, batch: ItemBatch, max_length: int) -> list[list[Request]]:
    """Return the requests of each item: preamble with the special tokens that the tokenizer adds, context, answer.

    All tokens of the answer are scored.

    Raises:
        InputError: An answer leaves no room for a token of context.
    """
    task, items = batch.task, batch.items
    preambles = [render_preamble(item, shots, task.delimiter) for item, shots in zip(items, batch.shots, strict=True)]
    contexts = [
        render_contexts(task.kind, item, task.delimiter, preamble != "")
        for item, preamble in zip(items, preambles, strict=True)
    ]
    needs_space = len(encode_bare(tokenizer, [" a"])[0]) == 1
    answers = [
        [_with_leading_space(answer) if needs_space else answer for answer in item.continuations] for item in items
    ]
    preamble_ids = encode_with_special_tokens(tokenizer, preambles)
    context_ids = iter(encode_bare(tokenizer, [text for group in contexts for text in group]))
    answer_ids = iter(encode_bare(tokenizer, [text for group in answers for text in group]))
    requests = []
    for number, item in enumerate(items):
        item_contexts = [np.concatenate([preamble_ids[number], next(context_ids)]) for _ in contexts[number]]
        item_answers = [next(answer_ids) for _ in answers[number]]
        sizes = [len(text.encode()) for text in item.continuations]
        requests.append(
            [
                _make_request(context, answer, size, max_length, batch.describe(number))
                for context in item_contexts
                for answer, size in zip(item_answers, sizes, strict=True)
            ]
        )
    return requests


def _make_request(context: Ids, answer: Ids, num_bytes: int, max_length: int, where: str) -> Request:
    room = max_length - len(answer)
    visible = context[len(context) - room :] if len(context) > room else context
    if room < 1 or len(visible) < 1 or len(answer) < 1:
        raise InputError(
            f"{where}: expected a context and an answer within {max_length} tokens, "
            f"got {len(context)} and {len(answer)}"
        )
    ids = np.concatenate([visible, answer])
    return Request(ids, len(visible), len(ids), num_bytes, truncated=len(visible) < len(context))
