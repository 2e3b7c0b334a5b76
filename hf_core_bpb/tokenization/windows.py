"""Documents to windows in which every token is scored once, and the bytes that they stand for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hf_core_bpb.errors import InputError
from hf_core_bpb.tokenization.encode import Tokenizer, encode_bare, first_token_id
from hf_core_bpb.tokenization.token_bytes import TokenBytes, token_bytes
from hf_core_bpb.types import Document, Ids, Request

# Belongs to no document: a token that is context only.
_NOBODY = -1


@dataclass(frozen=True, slots=True)
class Windows:
    """How documents are cut: tokens a window holds, how far it moves, and whether documents share windows."""

    max_length: int
    stride: int
    packed: bool = False

    @property
    def recipe(self) -> dict[str, object]:
        """What a signature says of them."""
        return {"documents": "packed" if self.packed else "alone", "stride": self.stride}


def choose_windows(max_length: int, stride: int | None, packed: bool = False) -> Windows:
    """Return the windows asked for; disjoint where no stride is given.

    Raises InputError for a stride that is not between one token and the whole window.
    """
    if stride is not None and not 1 <= stride <= max_length:
        raise InputError(f"--stride: expected 1 to {max_length} tokens (the context window), got {stride}")
    return Windows(max_length, stride if stride is not None else max_length, packed)


def cut_windows(ids: Ids, windows: Windows) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, scored, end): windows ids[begin:end] whose spans [scored, end) cover every id but the first.

    A window holds `max_length` ids of input and the one after them. The first scores all of them, each
    further one scores `stride` more; the last is filled up from the left (at full stride that is
    get_rolling_token_windows of lm-evaluation-harness).
    """
    scored = 1
    while scored < len(ids):
        step = windows.max_length if scored == 1 else windows.stride
        end = min(scored + step, len(ids))
        yield max(0, end - windows.max_length - 1), scored, end
        scored = end


@dataclass(frozen=True, slots=True)
class Tokenised:
    """A document's ids with its own number, _NOBODY's for those that are context, and what the others stand for."""

    ids: Ids
    owner_N: npt.NDArray[np.int64]
    num_bytes: int
    num_characters: int


def text_requests(
    tokenizer: Tokenizer, documents: Sequence[Document], windows: Windows, where: str
) -> tuple[list[Request], list[int]]:
    """Return the requests of all documents, and the number of the document that each belongs to.

    A document's bytes and characters are credited to the first of its requests. Raises InputError for a
    document of which nothing is left to score.
    """
    first = first_token_id(tokenizer)
    tokenised_first = first is None or any(document.ids is not None for document in documents)
    table = token_bytes(tokenizer) if tokenised_first else None
    tokenised = []
    for number, document in enumerate(documents):
        place = f"{where}, document {number}"
        one = _tokenise(tokenizer, document, number, table, place)
        if not (one.owner_N != _NOBODY).any():
            raise InputError(f"{place}: expected text of two or more tokens, got {document.text[:20]!r}")
        tokenised.append(one)
    # Characters of some documents would be read against the nats of all.
    all_text = all(document.ids is None for document in documents)
    made: list[Request] = []
    owners: list[int] = []
    for stream in [tokenised] if windows.packed else [[one] for one in tokenised]:
        for request, owner in _stream_requests(stream, windows):
            is_first = not owners or owners[-1] != owner
            one = tokenised[owner]
            if is_first:
                request = replace(
                    request, num_bytes=one.num_bytes, num_characters=one.num_characters if all_text else 0
                )
            made.append(request)
            owners.append(owner)
    return made, owners


def _stream_requests(stream: Sequence[Tokenised], windows: Windows) -> Iterator[tuple[Request, int]]:
    ids = np.concatenate([one.ids for one in stream])
    owner_N = np.concatenate([one.owner_N for one in stream])
    for begin, scored, end in cut_windows(ids, windows):
        window = ids[begin:end]
        edges = scored + 1 + np.flatnonzero(np.diff(owner_N[scored:end]))
        for start, stop in pairwise([scored, *edges.tolist(), end]):
            if owner_N[start] != _NOBODY:
                yield Request(window, start - begin, stop - begin, 0), int(owner_N[start])


def _tokenise(tokenizer: Tokenizer, document: Document, number: int, table: TokenBytes | None, where: str) -> Tokenised:
    first = first_token_id(tokenizer)
    front = np.array([] if first is None else [first], dtype=np.int32)
    if document.ids is not None and table is not None:
        return _take_ids(document.ids, front, number, table, where)
    (bare,) = encode_bare(tokenizer, [document.text])
    ids = np.concatenate([front, bare])
    owner_N = np.full(len(ids), number, dtype=np.int64)
    owner_N[:1] = _NOBODY
    content = document.text.encode()
    lost_bytes = table.count(bare[:1]) if first is None and table is not None else 0
    lost_characters = len(content[:lost_bytes].decode(errors="ignore"))
    return Tokenised(ids, owner_N, len(content) - lost_bytes, len(document.text) - lost_characters)


def _take_ids(bare: Ids, front: Ids, number: int, table: TokenBytes, where: str) -> Tokenised:
    """Take ids as they come; special tokens among them are context, as they stand for no text."""
    if len(bare) and int(bare.max()) >= len(table):
        raise InputError(f"{where}: expected token ids below {len(table)}, got {bare.max()}")
    begins_itself = len(bare) > 0 and bool(table.is_special_V[bare[0]])
    ids = bare if begins_itself else np.concatenate([front, bare])
    owner_N = np.where(table.is_special_V[ids], _NOBODY, number)
    owner_N[:1] = _NOBODY
    lost_bytes = table.count(ids[:1]) if len(ids) else 0
    return Tokenised(ids, owner_N, table.count(bare) - lost_bytes, 0)
