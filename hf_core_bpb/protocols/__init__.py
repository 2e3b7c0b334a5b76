"""The protocols, one entry each: which items, which shots, what text, which tokens are scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hf_core_bpb.protocols import dclm, nanochat
from hf_core_bpb.tokenization.encode import Tokenizer
from hf_core_bpb.types import Baselines, Example, Kind, Request, Task


@dataclass(frozen=True, slots=True)
class Protocol:
    """The pure functions that make up a protocol, the baselines that its authors print, and its seeds.

    own_specials: whether a prompt begins with what the tokenizer adds of itself, not with BOS or EOS.

    select: rows and limit to items, in the order that they are scored in.
    draw: items and number of shots to the shots of every item.
    render: an item's prompts as texts, for people to read.
    category_of: the category that accuracies are averaged over, the same for all where there is none.
    requests: tokenizer, task, items, their shots, context length, and the items' places, to Requests by item.
    """

    select: Callable[[Kind, Sequence[Example], int | None], list[Example]]
    draw: Callable[[Sequence[Example], int], list[list[Example]]]
    render: Callable[[Kind, Example, Sequence[Example], str], list[str]]
    requests: Callable[
        [Tokenizer, Task, Sequence[Example], Sequence[Sequence[Example]], int, Sequence[int]], list[list[Request]]
    ]
    category_of: Callable[[Example], str]
    baselines: Baselines
    seeds: str
    own_specials: bool


PROTOCOLS: dict[str, Protocol] = {
    "nanochat": Protocol(
        select=nanochat.select_items,
        draw=nanochat.draw_shots,
        render=nanochat.render_prompts,
        requests=nanochat.make_requests,
        category_of=lambda _item: "",
        baselines="v1",
        seeds=f"{nanochat.SHUFFLE_SEED}/{nanochat.SHOT_SEED}+index",
        own_specials=False,
    ),
    "dclm": Protocol(
        select=dclm.select_items,
        draw=dclm.draw_shots,
        render=dclm.render_prompts,
        requests=dclm.make_requests,
        category_of=lambda item: item.category,
        baselines="v2",
        seeds=f"{dclm.SHOT_SEED} in sequence",
        own_specials=True,
    ),
}
