"""Encode texts in batches, with and without special tokens."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from hf_core_bpb.types import Ids

# An encoding of the tokenizers library takes a hundred times the memory of its ids, so texts are encoded in batches.
_TEXTS_PER_BATCH = 512


class Tokenizer(Protocol):
    """The interface of a transformers tokenizer, as far as it is used."""

    bos_token_id: int | None
    eos_token_id: int | None
    all_special_ids: list[int]

    def __call__(self, text: Sequence[str], **options: Any) -> Any:
        """Encode a batch of texts."""
        ...

    def decode(self, token_ids: Sequence[int]) -> Any:
        """Return the text of ids."""
        ...


def first_token_id(tokenizer: Tokenizer) -> int | None:
    """Return the id to put before every sequence: BOS, else EOS, else None."""
    return tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    """Return each text's ids after BOS (or EOS, if the tokenizer has only that) and without other special tokens."""
    first = first_token_id(tokenizer)
    prefix = np.array([] if first is None else [first], dtype=np.int32)
    return [np.concatenate([prefix, ids]) for ids in encode_bare(tokenizer, texts)]


def encode_bare(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    """Return each text's ids without special tokens."""
    return _encode(tokenizer, texts, add_special_tokens=False)


def encode_with_special_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[Ids]:
    """Return each text's ids with the special tokens that the tokenizer adds, except a final EOS (llm-foundry)."""
    eos = tokenizer.eos_token_id
    encoded = _encode(tokenizer, texts, add_special_tokens=True)
    return [ids[:-1] if len(ids) > 1 and ids[-1] == eos else ids for ids in encoded]


def _encode(tokenizer: Tokenizer, texts: Sequence[str], add_special_tokens: bool) -> list[Ids]:
    encoded: list[Ids] = []
    for begin in range(0, len(texts), _TEXTS_PER_BATCH):
        batch = tokenizer(
            list(texts[begin : begin + _TEXTS_PER_BATCH]),
            add_special_tokens=add_special_tokens,
            return_attention_mask=False,
            verbose=False,
        )
        encoded += [np.array(ids, dtype=np.int32) for ids in batch["input_ids"]]
    return encoded
