"""Token ids of an item's prompts to Requests: where the answer begins, and what a short context cuts off (pure)."""

from collections.abc import Sequence

import numpy as np

from hf_core_bpb.errors import InputError
from hf_core_bpb.types import Example, Ids, Kind, Request


def common_prefix(sequences: Sequence[Ids]) -> int:
    """Return how many leading ids all sequences share."""
    shortest = min(len(ids) for ids in sequences)
    rows = np.stack([ids[:shortest] for ids in sequences])
    differs = (rows != rows[0]).any(axis=0)
    return int(differs.argmax()) if differs.any() else shortest


def common_suffix(sequences: Sequence[Ids]) -> int:
    """Return how many trailing ids all sequences share."""
    return common_prefix([ids[::-1] for ids in sequences])


def answer_starts(kind: Kind, sequences: Sequence[Ids]) -> list[int]:
    """Return where each scored sequence's answer begins, as nanochat finds it (core_eval.py).

    Multiple choice: after the common prefix; schema: at the common suffix; language modeling: after the
    prompt without continuation. Two cases that nanochat leaves open are closed so that every answer keeps
    at least one scored id with one before it: a choice that is a token prefix of all the others moves the
    start of all of them back to its own last id, and a continuation whose first id merges with the
    prompt's last is scored from the merged id.
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
    """Return the last `max_length` ids and the start shifted along, never before the second id."""
    cut = max(0, len(ids) - max_length)
    return ids[cut:], max(start - cut, 1)


def option_requests(
    kind: Kind, example: Example, sequences: Sequence[Ids], max_length: int, where: str
) -> list[Request]:
    """Return one Request for each option; a continuation's bytes are its text's.

    `sequences` are the prompts' ids with BOS where there is one. Raises InputError where a prompt is a
    single id, so that the model would have nothing to condition on.
    """
    for ids in sequences[-1:] if kind == "language_modeling" else sequences:
        if len(ids) < 2:
            raise InputError(
                f"{where}: expected a prompt of two or more tokens, got {len(ids)} (a tokenizer without BOS and EOS?)"
            )
    starts = answer_starts(kind, sequences)
    scored = sequences[-1:] if kind == "language_modeling" else sequences
    num_bytes = [len(text.encode()) for text in example.continuations] * len(example.contexts)
    requests = []
    for sequence, start, size in zip(scored, starts, num_bytes, strict=True):
        ids, first = truncate_left(sequence, start, max_length)
        requests.append(Request(ids, first, len(ids), size, truncated=len(ids) < len(sequence)))
    return requests
