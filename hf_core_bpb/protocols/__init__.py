"""The table of protocols: how each one selects items and shots, renders prompts and makes requests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hf_core_bpb.protocols import dclm, nanochat
from hf_core_bpb.protocols.item_batch import ItemBatch
from hf_core_bpb.tokenization.encode import Tokenizer
from hf_core_bpb.types import Baselines, Example, Kind, Request


@dataclass(frozen=True, slots=True)
class Protocol:
    """The pure functions of a protocol, the baselines that its authors publish, and its seeds.

    select: kind, rows and limit to items, in the order of scoring.
    draw: items and number of shots to the shots of each item.
    render: kind, item, shots and delimiter to the texts of the item's prompts.
    requests: tokenizer, items and context length to the requests of each item.
    category_of: item to its category; accuracies are averaged by category first, so "" for all means no categories.
    adds_special_tokens: whether a prompt begins with the special tokens that the tokenizer adds, not with BOS or EOS.
    """

    select: Callable[[Kind, Sequence[Example], int | None], list[Example]]
    draw: Callable[[Sequence[Example], int], list[list[Example]]]
    render: Callable[[Kind, Example, Sequence[Example], str], list[str]]
    requests: Callable[[Tokenizer, ItemBatch, int], list[list[Request]]]
    category_of: Callable[[Example], str]
    baselines: Baselines
    seeds: str
    adds_special_tokens: bool


PROTOCOLS: dict[str, Protocol] = {
    "nanochat": Protocol(
        select=nanochat.select_items,
        draw=nanochat.draw_shots,
        render=nanochat.render_prompts,
        requests=nanochat.make_requests,
        category_of=lambda _item: "",
        baselines="v1",
        seeds=f"{nanochat.SHUFFLE_SEED}/{nanochat.SHOT_SEED}+index",
        adds_special_tokens=False,
    ),
    "dclm": Protocol(
        select=dclm.select_items,
        draw=dclm.draw_shots,
        render=dclm.render_prompts,
        requests=dclm.make_requests,
        category_of=lambda item: item.category,
        baselines="v2",
        seeds=f"{dclm.SHOT_SEED} in sequence",
        adds_special_tokens=True,
    ),
}
