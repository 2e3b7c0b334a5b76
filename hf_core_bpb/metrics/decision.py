"""The option that a model chooses, and whether it is correct (pure)."""

from collections.abc import Callable, Sequence
from typing import Literal

from hf_core_bpb.types import Kind, Scored

Rule = Literal["sum", "token", "byte"]
RULES: tuple[Rule, ...] = ("sum", "token", "byte")


def choose(options: Sequence[Scored], rule: Rule) -> int:
    """Return the index of the option with the fewest nats (total, per token or per byte), the first of equals."""
    sizes: Callable[[Scored], int] = {
        "sum": lambda _: 1,
        "token": lambda option: option.num_tokens,
        "byte": lambda option: option.num_bytes,
    }[rule]
    losses = [option.total_nats / max(sizes(option), 1) for option in options]
    return losses.index(min(losses))


def decide(kind: Kind, options: Sequence[Scored], gold: int) -> tuple[int | None, bool]:
    """Return the predicted option and whether it is correct.

    Multiple choice and schema: the option with the fewest nats per scored token, the first of equals.
    Language modeling: no prediction; correct if every token of the continuation is the model's argmax.
    """
    if kind == "language_modeling":
        return None, options[0].greedy
    prediction = choose(options, "token")
    return prediction, prediction == gold
