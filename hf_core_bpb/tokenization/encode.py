"""Text to token ids, in batches, with no special token but the one put in front."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from hf_core_bpb.types import Ids

# Encodings of the tokenizers library cost a hundred times their ids in memory, so they are made in portions.
_TEXTS_AT_ONCE = 512


class Tokenizer(Protocol):
    """What is asked of a transformers tokenizer."""

    bos_token_id: int | None
    eos_token_id: int | None
    all_special_ids: list[int]

    def __call__(self, text: Sequence[str], **options: Any) -> Any:
        """Tokenise a batch of texts."""
        ...

    def decode(self, token_ids: Sequence[int]) -> Any:
        """Return the text of ids, for people to read."""
        ...


def first_token_id(tokenizer: Tokenizer) -> int | None:
    """Return the id that goes in front of every sequence: BOS, else EOS, else none."""
    return tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    """Return each text's ids, BOS or EOS in front where the tokenizer has one, and nothing else added."""
    first = first_token_id(tokenizer)
    prefix = np.array([] if first is None else [first], dtype=np.int32)
    return [np.concatenate([prefix, ids]) for ids in encode_bare(tokenizer, texts)]


def encode_bare(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    """Return each text's ids and nothing else."""
    return _encode(tokenizer, texts, add_special_tokens=False)


def encode_with_own_specials(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    """Return each text's ids with what the tokenizer adds of itself, but for an EOS at the end (llm-foundry)."""
    eos = tokenizer.eos_token_id
    encoded = _encode(tokenizer, texts, add_special_tokens=True)
    return [ids[:-1] if len(ids) > 1 and ids[-1] == eos else ids for ids in encoded]


def _encode(tokenizer: Tokenizer, texts: Sequence[str], add_special_tokens: bool) -> list[Ids]:
    encoded: list[Ids] = []
    for begin in range(0, len(texts), _TEXTS_AT_ONCE):
        batch = tokenizer(
            list(texts[begin : begin + _TEXTS_AT_ONCE]),
            add_special_tokens=add_special_tokens,
            return_attention_mask=False,
            verbose=False,
        )
        encoded += [np.array(ids, dtype=np.int32) for ids in batch["input_ids"]]
    return encoded
