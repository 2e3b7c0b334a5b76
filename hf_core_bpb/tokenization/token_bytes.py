"""Count the bytes of text that each token id represents, and warn where the tokenizer loses text."""

import dataclasses
import json
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hf_core_bpb.tokenization.encode import Tokenizer, encode_bare
from hf_core_bpb.types import Ids

_META_SPACE = "\u2581"
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")

# Kinds of text that some tokenizers lose, with samples that show whether a tokenizer does.
_SAMPLES = {
    "common text": ["a", "The river ran to the sea, twice."],
    "spaces at the start or end": [" a", "a ", "  a"],
    "runs of spaces": ["a  b", "a     b"],
    "line breaks and tabs": ["a\nb", "a\r\n\r\nb", "\ta"],
    "upper case": ["The Sea"],
    "text that Unicode normalisation changes": ["e\u0301a\u030a", "\ufb01 \u2460 \u00bd", "\u212b"],
    "characters outside its vocabulary": ["naïve ÀÉ", "海", "🌊", "ჯ", "\u0b95", "\u200b\u202e", "\x00\x07"],
}

# The number of added tokens that are checked between two words.
_MAX_ADDED_CHECKED = 50


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """Bytes of text by token id, 0 for special tokens; `inexact` names the kinds of text that the tokenizer loses.

    A SentencePiece tokenizer adds a space before each text (the dummy prefix): the first token of a text has
    `dummy_prefix_bytes` fewer bytes if it begins with that space (`has_prefix_V`).
    """

    num_bytes_V: npt.NDArray[np.int32]
    is_special_V: npt.NDArray[np.bool_]
    has_prefix_V: npt.NDArray[np.bool_]
    dummy_prefix_bytes: int
    inexact: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of ids in the table."""
        return len(self.num_bytes_V)

    def of_targets(self, before: npt.NDArray[np.integer], targets: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return the bytes of each target, given the id before it; a text begins after each special token."""
        starts = self.is_special_V[before] & self.has_prefix_V[targets]
        num_bytes: npt.NDArray[np.int64] = self.num_bytes_V[targets] - starts.astype(np.int64) * self.dummy_prefix_bytes
        return num_bytes

    def count(self, ids: Ids) -> int:
        """Return the number of bytes of a text's ids, which may contain special tokens."""
        if len(ids) == 0:
            return 0
        first = int(self.num_bytes_V[ids[0]]) - self.dummy_prefix_bytes * int(self.has_prefix_V[ids[0]])
        return first + int(self.of_targets(ids[:-1], ids[1:]).sum())


def token_bytes(tokenizer: Tokenizer) -> TokenBytes:
    """Return the number of UTF-8 bytes of every id of a tokenizer.

    For text that the tokenizer can represent, the bytes of its ids add up to the bytes of the text. The table
    is checked on sample text; the result and a warning name the kinds of text for which it is not exact. Two
    cases cannot be counted: text that spells a special token, which the tokenizer reads as that token, and
    U+2581, which SentencePiece reads as a space.
    Tokens are read from the vocabulary, not decoded one by one: decoding turns a part of a character into
    U+FFFD and can drop a leading space.
    """
    tokens, specials, added = _read_vocabulary(tokenizer)
    format_name = _vocabulary_format(tokenizer)
    formats = _FORMATS.values() if format_name is None else [_FORMATS[format_name]]
    tables = [
        _with_prefix(tokenizer, _build_table(tokens, specials, added, count_bytes, prefix))
        for count_bytes, prefix in formats
    ]
    spaced = [f"a {text} b" for text in list(added.values())[:_MAX_ADDED_CHECKED]]
    checked = [(table, _lost_text(tokenizer, table, spaced)) for table in tables]
    table, inexact = min(checked, key=lambda pair: len(pair[1]))
    if inexact:
        warnings.warn(
            f"token_bytes: the tokenizer loses {', '.join(inexact)}; byte counts of such text are not exact",
            stacklevel=2,
        )
    return dataclasses.replace(table, inexact=inexact)


Token = str | bytes
CountBytes = Callable[[Sequence[Token]], list[int]]


def _byte_level_bytes(tokens: Sequence[Token]) -> list[int]:
    """Count one byte per character: byte-level BPE and ByT5 write each byte as one character."""
    return [len(token) for token in tokens]


def _sentencepiece_bytes(tokens: Sequence[Token]) -> list[int]:
    """Count pieces of SentencePiece, which writes a space as U+2581 and a byte without a piece as <0xE6>."""
    return [
        1 if _BYTE_TOKEN.fullmatch(text) else len(text.replace(_META_SPACE, " ").encode(errors="replace"))
        for text in map(_as_text, tokens)
    ]


def _wordpiece_bytes(tokens: Sequence[Token]) -> list[int]:
    """Count pieces of WordPiece, which marks a piece inside a word with ##; the first piece includes a space."""
    return [
        len(text[2:].encode()) if text.startswith("##") else len(text.encode()) + 1 for text in map(_as_text, tokens)
    ]


def _as_text(token: Token) -> str:
    return token if isinstance(token, str) else token.decode(errors="replace")


_FORMATS: dict[str, tuple[CountBytes, str]] = {
    "byte-level": (_byte_level_bytes, "\u0120"),
    "sentencepiece": (_sentencepiece_bytes, _META_SPACE),
    "wordpiece": (_wordpiece_bytes, ""),
}


def _vocabulary_format(tokenizer: Any) -> str | None:
    """Return the vocabulary format of a tokenizer with a fast backend, None if it is unknown."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    parts = [part for part in (backend.decoder, backend.pre_tokenizer, backend.normalizer) if part is not None]
    state = " ".join(json.dumps(json.loads(part.__getstate__()), ensure_ascii=False) for part in parts)
    if '"ByteLevel"' in state:
        return "byte-level"
    if _META_SPACE in state:
        return "sentencepiece"
    return "wordpiece" if '"WordPiece"' in state else None


def _read_vocabulary(tokenizer: Any) -> tuple[list[Token], set[int], dict[int, str]]:
    """Return the token of each id (empty for a gap), the special ids, and the added tokens that are text."""
    vocabulary: dict[Token, int] = tokenizer.get_vocab()
    added_tokens = getattr(tokenizer, "added_tokens_decoder", {})
    size = max([*vocabulary.values(), *added_tokens], default=-1) + 1
    tokens: list[Token] = [""] * size
    for token, token_id in vocabulary.items():
        tokens[token_id] = token
    specials = {token_id for token_id, token in added_tokens.items() if token.special} | set(tokenizer.all_special_ids)
    added = {token_id: token.content for token_id, token in added_tokens.items() if token_id not in specials}
    return tokens, specials, added


def _build_table(
    tokens: Sequence[Token], specials: set[int], added: dict[int, str], count_bytes: CountBytes, prefix: str
) -> TokenBytes:
    num_bytes_V = np.array(count_bytes(tokens), dtype=np.int32)
    has_prefix_V = np.array([bool(prefix) and _as_text(token).startswith(prefix) for token in tokens], dtype=np.bool_)
    is_special_V = np.zeros(len(tokens), dtype=np.bool_)
    for token_id, text in added.items():
        num_bytes_V[token_id] = len(text.encode())
        has_prefix_V[token_id] = False
    for token_id in specials:
        num_bytes_V[token_id] = 0
        has_prefix_V[token_id] = False
        is_special_V[token_id] = True
    return TokenBytes(num_bytes_V, is_special_V, has_prefix_V, 0, ())


def _with_prefix(tokenizer: Tokenizer, table: TokenBytes) -> TokenBytes:
    """Return the table with the bytes of the space that the tokenizer adds before a text, if it does."""
    (ids,) = encode_bare(tokenizer, ["a"])
    extra = table.count(ids) - 1
    if extra <= 0 or not table.has_prefix_V[ids[0]]:
        return table
    return dataclasses.replace(table, dummy_prefix_bytes=extra)


def _lost_text(tokenizer: Any, table: TokenBytes, spaced: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of text for which the table is not exact or the tokenizer loses text."""
    lost = [kind for kind, texts in _SAMPLES.items() if not all(_is_exact(tokenizer, table, text) for text in texts)]
    if any(
        table.count(ids) != len(text.encode()) for text, ids in zip(spaced, encode_bare(tokenizer, spaced), strict=True)
    ):
        lost.append("text that was added to its vocabulary")
    return tuple(lost)


def _is_exact(tokenizer: Any, table: TokenBytes, text: str) -> bool:
    """Return whether a text's ids have as many bytes as the text and decode to it."""
    (ids,) = encode_bare(tokenizer, [text])
    if table.count(ids) != len(text.encode()):
        return False
    decoded = tokenizer.decode(ids.tolist(), clean_up_tokenization_spaces=False)
    return bool(decoded.strip(" ") == text.strip(" "))
