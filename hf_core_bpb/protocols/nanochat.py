"""The protocol of nanochat's core_eval.py: shuffled items, shots by item, whole prompts tokenised together (pure)."""

import random
from collections.abc import Sequence
from functools import cache

from jinja2 import StrictUndefined, Template

from hf_core_bpb.protocols.spans import option_requests
from hf_core_bpb.tokenization.encode import Tokenizer, encode
from hf_core_bpb.types import Example, Kind, Request, Task

SHUFFLE_SEED = 1337
SHOT_SEED = 1234

_LAYOUT = (
    "{% if preamble %}{{ preamble }}\n\n{% endif %}"
    "{% for context, continuation in shots %}{{ context }}{{ delimiter }}{{ continuation }}\n\n{% endfor %}"
    "{{ context }}{{ delimiter }}{{ continuation }}"
)


@cache
def _layout() -> Template:
    layout: Template = Template(_LAYOUT, undefined=StrictUndefined)
    return layout


def select_items(kind: Kind, examples: Sequence[Example], limit: int | None) -> list[Example]:
    """Return the items of any kind shuffled with 1337, then cut to the limit (base_eval.py)."""
    del kind
    items = list(examples)
    random.Random(SHUFFLE_SEED).shuffle(items)
    return items[:limit]


def draw_shots(items: Sequence[Example], num_fewshot: int) -> list[list[Example]]:
    """Return each item's shots from the other items, drawn by Random(1234 + index) (core_eval.py).

    nanochat fails when there are not enough other items; here all of them are used, in the drawn order,
    as llm-foundry does.
    """
    others = len(items) - 1
    drawn = []
    for index in range(len(items)):
        places = random.Random(SHOT_SEED + index).sample(range(others), min(num_fewshot, others))
        drawn.append([items[i if i < index else i + 1] for i in places])
    return drawn


def render_prompts(kind: Kind, item: Example, shots: Sequence[Example], delimiter: str) -> list[str]:
    """Return an item's prompts, blank lines between shots (core_eval.py).

    Multiple choice: one for each choice; schema: one for each context; language modeling: the prompt
    without its continuation, stripped so that it is a prefix in tokens, and with it.
    """
    trim = kind == "language_modeling"
    layout = _layout()

    def context_of(text: str) -> str:
        return text.strip() if trim else text

    def render(context: str, continuation: str) -> str:
        return layout.render(
            preamble=item.preamble,
            shots=[(context_of(shot.gold_context), shot.gold_continuation) for shot in shots],
            delimiter=delimiter,
            context=context_of(context),
            continuation=continuation,
        )

    prompts = [render(context, continuation) for context in item.contexts for continuation in item.continuations]
    return [render(item.contexts[0], "").strip(), *prompts] if trim else prompts


def make_requests(
    tokenizer: Tokenizer,
    task: Task,
    items: Sequence[Example],
    shots: Sequence[Sequence[Example]],
    max_length: int,
    places: Sequence[int],
) -> list[list[Request]]:
    """Return the Requests of each item, its whole prompts tokenised with BOS in front."""
    prompts = [render_prompts(task.kind, i, s, task.delimiter) for i, s in zip(items, shots, strict=True)]
    ids = iter(encode(tokenizer, [prompt for group in prompts for prompt in group]))
    return [
        option_requests(task.kind, item, [next(ids) for _ in group], max_length, f"{task.name}, item {index}")
        for index, item, group in zip(places, items, prompts, strict=True)
    ]
