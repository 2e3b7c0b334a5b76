"""The protocol of nanochat's core_eval.py: shuffled items, shots drawn per item, whole prompts tokenized (pure)."""

import random
from collections.abc import Sequence
from functools import cache

from jinja2 import StrictUndefined, Template

from hf_core_bpb.protocols.item_batch import ItemBatch
from hf_core_bpb.protocols.spans import option_requests
from hf_core_bpb.tokenization.encode import Tokenizer, encode
from hf_core_bpb.types import Example, Kind, Request

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
    """Return the items, shuffled with seed 1337 and then cut to the limit (base_eval.py)."""
    del kind
    items = list(examples)
    random.Random(SHUFFLE_SEED).shuffle(items)
    return items[:limit]


def draw_shots(items: Sequence[Example], num_fewshot: int) -> list[list[Example]]:
    """Return each item's shots from the other items, drawn by Random(1234 + index) (core_eval.py).

    With fewer other items than shots, all of them are used in the drawn order, as in llm-foundry; nanochat fails.
    """
    others = len(items) - 1
    drawn = []
    for index in range(len(items)):
        numbers = random.Random(SHOT_SEED + index).sample(range(others), min(num_fewshot, others))
        drawn.append([items[number if number < index else number + 1] for number in numbers])
    return drawn


def render_prompts(kind: Kind, item: Example, shots: Sequence[Example], delimiter: str) -> list[str]:
    """Return an item's prompts, with blank lines between shots (core_eval.py).

    Multiple choice: one per choice. Schema: one per context. Language modeling: the prompt without its
    continuation, stripped so that its tokens are a prefix, and the prompt with its continuation.
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


def make_requests(tokenizer: Tokenizer, batch: ItemBatch, max_length: int) -> list[list[Request]]:
    """Return the requests of each item; its whole prompts are tokenized with BOS before them."""
    task = batch.task
    prompts = [
        render_prompts(task.kind, item, shots, task.delimiter)
        for item, shots in zip(batch.items, batch.shots, strict=True)
    ]
    ids = iter(encode(tokenizer, [prompt for group in prompts for prompt in group]))
    return [
        option_requests(task.kind, item, [next(ids) for _ in prompts[number]], max_length, batch.describe(number))
        for number, item in enumerate(batch.items)
    ]
