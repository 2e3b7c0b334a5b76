"""The protocol of DCLM, by llm-foundry's in-context-learning datasets (commit 8c8dd48f) (pure).

Items in file order, one stream of shots, single line breaks, context and answer tokenised apart.
"""

import dataclasses
import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from hf_core_bpb.errors import InputError
from hf_core_bpb.tokenization.encode import Tokenizer, encode_bare, encode_with_own_specials
from hf_core_bpb.types import Example, Ids, Kind, Request, Task

SHOT_SEED = 1234


def select_items(kind: Kind, examples: Sequence[Example], limit: int | None) -> list[Example]:
    """Return the first items of each category in file order, their single texts stripped, lists as they are."""
    taken: dict[str, int] = defaultdict(int)
    items = []
    for example in examples:
        taken[example.category] += 1
        if limit is None or taken[example.category] <= limit:
            items.append(_strip_single_texts(kind, example))
    return items


def _strip_single_texts(kind: Kind, example: Example) -> Example:
    contexts = example.contexts if kind == "schema" else tuple(text.strip() for text in example.contexts)
    single = kind != "multiple_choice"
    continuations = tuple(text.strip() for text in example.continuations) if single else example.continuations
    return dataclasses.replace(example, contexts=contexts, continuations=continuations)


def draw_shots(items: Sequence[Example], num_fewshot: int) -> list[list[Example]]:
    """Return each item's shots from the others of its category, by one Random(1234) consumed from the first on.

    The shots are a set of places, in the order in which Python walks through that set.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(items):
        places[item.category].append(index)
    shots: list[list[Example]] = [[] for _ in items]
    for members in places.values():
        rng = random.Random(SHOT_SEED)
        num_drawn = min(len(members) - 1, num_fewshot)
        for own, index in enumerate(members):
            drawn = set(rng.sample(range(len(members)), num_drawn))
            if own in drawn:
                drawn.remove(own)
                drawn.add(_choose_another(rng, len(members), drawn, own))
            shots[index] = [items[members[place]] for place in drawn]
    return shots


def _choose_another(rng: random.Random, count: int, drawn: set[int], own: int) -> int:
    while True:
        place = rng.choice(range(count))
        if place not in drawn and place != own:
            return place


def render_preamble(item: Example, shots: Sequence[Example], delimiter: str) -> str:
    """Return the text before the item: its preamble and its shots, a line break between each."""
    lines = [item.preamble] if item.preamble else []
    lines += [shot.gold_context + delimiter + shot.gold_continuation for shot in shots]
    return "\n".join(lines)


def render_contexts(kind: Kind, item: Example, delimiter: str, after_preamble: bool) -> list[str]:
    """Return the item's contexts; a schema's have a delimiter only after a preamble."""
    lead = "\n" if after_preamble else ""
    if kind == "schema":
        tail = delimiter.rstrip() if after_preamble else ""
        return [lead + context + tail for context in item.contexts]
    return [(lead + item.contexts[0] + delimiter).rstrip()]


def render_prompts(kind: Kind, item: Example, shots: Sequence[Example], delimiter: str) -> list[str]:
    """Return an item's prompts as they read, the answers with their leading space."""
    preamble = render_preamble(item, shots, delimiter)
    contexts = render_contexts(kind, item, delimiter, preamble != "")
    return [preamble + context + _with_leading_space(answer) for context in contexts for answer in item.continuations]


def _with_leading_space(answer: str) -> str:
    return answer if answer.startswith(" ") else f" {answer}"


def make_requests(
    tokenizer: Tokenizer,
    task: Task,
    items: Sequence[Example],
    shots: Sequence[Sequence[Example]],
    max_length: int,
    places: Sequence[int],
) -> list[list[Request]]:
    """Return the Requests of each item: preamble with the tokenizer's own special tokens, context, answer.

    Every token of the answer is scored. Raises InputError where it leaves no room for context.
    """
    preambles = [render_preamble(item, s, task.delimiter) for item, s in zip(items, shots, strict=True)]
    contexts = [
        render_contexts(task.kind, item, task.delimiter, preamble != "")
        for item, preamble in zip(items, preambles, strict=True)
    ]
    needs_space = len(encode_bare(tokenizer, [" a"])[0]) == 1
    answers = [
        [_with_leading_space(answer) if needs_space else answer for answer in item.continuations] for item in items
    ]
    preamble_ids = encode_with_own_specials(tokenizer, preambles)
    context_ids = iter(encode_bare(tokenizer, [text for group in contexts for text in group]))
    answer_ids = iter(encode_bare(tokenizer, [text for group in answers for text in group]))
    made = []
    for index, item in enumerate(items):
        before = [np.concatenate([preamble_ids[index], next(context_ids)]) for _ in contexts[index]]
        after = [next(answer_ids) for _ in answers[index]]
        sizes = [len(text.encode()) for text in item.continuations]
        where = f"{task.name}, item {places[index]}"
        made.append(
            [
                _request(context, answer, size, max_length, where)
                for context in before
                for answer, size in zip(after, sizes, strict=True)
            ]
        )
    return made


def _request(context: Ids, answer: Ids, num_bytes: int, max_length: int, where: str) -> Request:
    room = max_length - len(answer)
    kept = context[len(context) - room :] if len(context) > room else context
    if room < 1 or len(kept) < 1 or len(answer) < 1:
        raise InputError(
            f"{where}: expected a context and an answer within {max_length} tokens, "
            f"got {len(context)} and {len(answer)}"
        )
    ids = np.concatenate([kept, answer])
    return Request(ids, len(kept), len(ids), num_bytes, truncated=len(kept) < len(context))
