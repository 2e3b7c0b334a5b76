"""How many bytes of text each token id stands for: exact where the tokenizer is, loud where it is not."""

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

# What tokenizers are known to lose, with text that shows whether this one does.
_PROBES = {
    "common text": ["a", "The river ran to the sea, twice."],
    "spaces at the start or end": [" a", "a ", "  a"],
    "runs of spaces": ["a  b", "a     b"],
    "line breaks and tabs": ["a\nb", "a\r\n\r\nb", "\ta"],
    "upper case": ["The Sea"],
    "text that Unicode normalisation changes": ["e\u0301a\u030a", "\ufb01 \u2460 \u00bd", "\u212b"],
    "characters outside its vocabulary": ["naïve ÀÉ", "海", "🌊", "ჯ", "\u0b95", "\u200b\u202e", "\x00\x07"],
}


# How many texts added to a vocabulary are tried with a space on either side.
_ADDED_TRIED = 50


@dataclass(frozen=True, slots=True)
class TokenBytes:
    """Bytes of text by token id, none for special tokens; `inexact` names what text the tokenizer loses.

    A SentencePiece tokenizer puts a space before each text that is not in it: the token at the start of a
    text stands for `dummy_prefix_bytes` fewer bytes if it begins with that space.
    """

    num_bytes_V: npt.NDArray[np.int32]
    is_special_V: npt.NDArray[np.bool_]
    has_prefix_V: npt.NDArray[np.bool_]
    dummy_prefix_bytes: int
    inexact: tuple[str, ...]

    def __len__(self) -> int:
        """How many ids the table covers."""
        return len(self.num_bytes_V)

    def of_targets(self, before: npt.NDArray[np.integer], targets: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return the bytes of each target, given the id before it; a text starts after a special token."""
        starts = self.is_special_V[before] & self.has_prefix_V[targets]
        num_bytes: npt.NDArray[np.int64] = self.num_bytes_V[targets] - starts.astype(np.int64) * self.dummy_prefix_bytes
        return num_bytes

    def count(self, ids: Ids) -> int:
        """Return the bytes of a text's ids, special tokens among them or not."""
        if len(ids) == 0:
            return 0
        first = int(self.num_bytes_V[ids[0]]) - self.dummy_prefix_bytes * int(self.has_prefix_V[ids[0]])
        return first + int(self.of_targets(ids[:-1], ids[1:]).sum())


def token_bytes(tokenizer: Tokenizer) -> TokenBytes:
    """Return the UTF-8 bytes that every id of a tokenizer stands for.

    For text that the tokenizer can represent, the bytes of its ids add up to the bytes of the text. The
    table is checked on sample text; what it is not exact for is named in the result and in a warning. Two
    things no table can tell: a special token that the text spells out, which the tokenizer takes for the
    token itself, and U+2581, which SentencePiece takes for a space.
    Tokens are read as the vocabulary writes them, never decoded alone: half a character would become
    U+FFFD, and a leading space could vanish.
    """
    tokens, specials, added = _read_vocabulary(tokenizer)
    structure = _structure_of(tokenizer)
    readings = _READINGS.values() if structure is None else [_READINGS[structure]]
    tables = [_with_prefix(tokenizer, _table(tokens, specials, added, size, prefix)) for size, prefix in readings]
    spaced = [f"a {text} b" for text in list(added.values())[:_ADDED_TRIED]]
    found = min(tables, key=lambda table: len(_inexact_for(tokenizer, table, spaced)))
    inexact = tuple(_inexact_for(tokenizer, found, spaced))
    if inexact:
        warnings.warn(
            f"token_bytes: the tokenizer does not keep {', '.join(inexact)}; of such text its ids' bytes are not exact",
            stacklevel=2,
        )
    return TokenBytes(found.num_bytes_V, found.is_special_V, found.has_prefix_V, found.dummy_prefix_bytes, inexact)


Token = str | bytes
Sizes = Callable[[Sequence[Token]], list[int]]


def _bytes_as_letters(tokens: Sequence[Token]) -> list[int]:
    """Byte-level BPE writes each byte as one letter, and ByT5 as the letter of that code point."""
    return [len(token) for token in tokens]


def _pieces(tokens: Sequence[Token]) -> list[int]:
    """SentencePiece writes a space as U+2581, and a byte without a piece of its own as <0xE6>."""
    texts = [token if isinstance(token, str) else token.decode(errors="replace") for token in tokens]
    return [
        1 if _BYTE_TOKEN.fullmatch(text) else len(text.replace(_META_SPACE, " ").encode(errors="replace"))
        for text in texts
    ]


def _word_pieces(tokens: Sequence[Token]) -> list[int]:
    """WordPiece marks a piece inside a word with ##; a word stands for itself and the space before it."""
    return [
        len(text[2:].encode()) if text.startswith("##") else len(text.encode()) + 1 for text in map(_as_text, tokens)
    ]


def _as_text(token: Token) -> str:
    return token if isinstance(token, str) else token.decode(errors="replace")


_READINGS: dict[str, tuple[Sizes, str]] = {
    "byte-level": (_bytes_as_letters, "\u0120"),
    "sentencepiece": (_pieces, _META_SPACE),
    "wordpiece": (_word_pieces, ""),
}


def _structure_of(tokenizer: Any) -> str | None:
    """Return how a tokenizer with a fast backend writes its tokens, None where it does not say."""
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
    described = getattr(tokenizer, "added_tokens_decoder", {})
    size = max([*vocabulary.values(), *described], default=-1) + 1
    tokens: list[Token] = [""] * size
    for token, number in vocabulary.items():
        tokens[number] = token
    specials = {number for number, token in described.items() if token.special} | set(tokenizer.all_special_ids)
    added = {number: token.content for number, token in described.items() if number not in specials}
    return tokens, specials, added


def _table(tokens: Sequence[Token], specials: set[int], added: dict[int, str], size: Sizes, prefix: str) -> TokenBytes:
    num_bytes_V = np.array(size(tokens), dtype=np.int32)
    has_prefix_V = np.array([bool(prefix) and _as_text(token).startswith(prefix) for token in tokens], dtype=np.bool_)
    is_special_V = np.zeros(len(tokens), dtype=np.bool_)
    for number, text in added.items():
        num_bytes_V[number] = len(text.encode())
        has_prefix_V[number] = False
    for number in specials:
        num_bytes_V[number] = 0
        has_prefix_V[number] = False
        is_special_V[number] = True
    return TokenBytes(num_bytes_V, is_special_V, has_prefix_V, 0, ())


def _with_prefix(tokenizer: Tokenizer, table: TokenBytes) -> TokenBytes:
    """Return the table with the bytes of the space that the tokenizer puts before "a", if it does."""
    (ids,) = encode_bare(tokenizer, ["a"])
    extra = table.count(ids) - 1
    if extra <= 0 or not table.has_prefix_V[ids[0]]:
        return table
    return TokenBytes(table.num_bytes_V, table.is_special_V, table.has_prefix_V, extra, ())


def _inexact_for(tokenizer: Any, table: TokenBytes, spaced: Sequence[str]) -> list[str]:
    lost = [kind for kind, texts in _PROBES.items() if not all(_keeps(tokenizer, table, text) for text in texts)]
    if any(
        table.count(ids) != len(text.encode()) for text, ids in zip(spaced, encode_bare(tokenizer, spaced), strict=True)
    ):
        lost.append("text that was added to its vocabulary")
    return lost


def _keeps(tokenizer: Any, table: TokenBytes, text: str) -> bool:
    """Say whether a text's ids have its bytes and can be turned back into it."""
    (ids,) = encode_bare(tokenizer, [text])
    if table.count(ids) != len(text.encode()):
        return False
    decoded = tokenizer.decode(ids.tolist(), clean_up_tokenization_spaces=False)
    return bool(decoded.strip(" ") == text.strip(" "))
