"""Turn the token ids of an item's prompts into requests: where the answer begins, and left truncation (pure)."""

from collections.abc import Sequence

import numpy as np

from hf_core_bpb.errors import InputError
from hf_core_bpb.types import Example, Ids, Kind, Request


def common_prefix(sequences: Sequence[Ids]) -> int:
    """Return the number of leading ids that all sequences share."""
    shortest = min(len(ids) for ids in sequences)
    rows = np.stack([ids[:shortest] for ids in sequences])
    differs = (rows != rows[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else shortest


def common_suffix(sequences: Sequence[Ids]) -> int:
    """Return the number of trailing ids that all sequences share."""
    return common_prefix([ids[::-1] for ids in sequences])


def answer_starts(kind: Kind, sequences: Sequence[Ids]) -> list[int]:
    """Return the index at which each scored sequence's answer begins, as in nanochat's core_eval.py.

    Multiple choice: after the common prefix. Schema: at the common suffix. Language modeling: after the prompt
    without its continuation. In two cases that nanochat does not handle, the start moves so that every answer
    has at least one id to score: if a choice is a token prefix of all others, all choices start at its last
    id; if the first id of a continuation merges with the last id of the prompt, it starts at the merged id.
    """
    shortest = min(len(ids) for ids in sequences)
    if kind == "schema":
        shared = min(common_suffix(sequences), shortest - 1)
        return [len(ids) - max(shared, 1) for ids in sequences]
    if kind == "multiple_choice":
        start = min(common_prefix(sequences), shortest - 1)
        return [start] * len(sequences)
    return [min(common_prefix(sequences), len(sequences[-1]) - 1)]


def truncate_left(ids: Ids, start: int, max_length: int) -> tuple[Ids, int]:
    """Return the last `max_length` ids and the start in them, which is at least 1."""
    cut = max(0, len(ids) - max_length)
    return ids[cut:], max(start - cut, 1)


def option_requests(
    kind: Kind, example: Example, sequences: Sequence[Ids], max_length: int, where: str
) -> list[Request]:
    """Return one request per option, with the bytes of its continuation.

    `sequences` are the ids of the prompts, with BOS if the tokenizer has one.

    Raises:
        InputError: A prompt is a single id, which leaves no context to predict from.
    """
    scored = sequences[-1:] if kind == "language_modeling" else sequences
    for ids in scored:
        if len(ids) < 2:
            raise InputError(
                f"{where}: expected a prompt of two or more tokens, got {len(ids)} (a tokenizer without BOS and EOS?)"
            )
    starts = answer_starts(kind, sequences)
    num_bytes = [len(text.encode()) for text in example.continuations] * len(example.contexts)
    requests = []
    for sequence, start, size in zip(scored, starts, num_bytes, strict=True):
        ids, first = truncate_left(sequence, start, max_length)
        requests.append(Request(ids, first, len(ids), size, truncated=len(ids) < len(sequence)))
    return requests
