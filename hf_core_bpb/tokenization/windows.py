"""Documents to windows in which every token is scored once, and the bytes of the scored text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hf_core_bpb.errors import InputError
from hf_core_bpb.tokenization.documents import DocumentRequests
from hf_core_bpb.tokenization.encode import Tokenizer, encode_bare, first_token_id
from hf_core_bpb.tokenization.token_bytes import TokenBytes, token_bytes
from hf_core_bpb.types import Document, Ids, Request

# The owner of a token that is context only.
_NO_DOCUMENT = -1


@dataclass(frozen=True, slots=True)
class Windows:
    """How documents are cut: the context length, how far the window moves, and whether documents share windows."""

    max_length: int
    stride: int
    packed: bool = False

    @property
    def recipe(self) -> dict[str, object]:
        """The part of a signature that they determine."""
        return {"documents": "packed" if self.packed else "alone", "stride": self.stride}


def choose_windows(max_length: int, stride: int | None, packed: bool = False) -> Windows:
    """Return the windows, disjoint without a stride; raises InputError for a stride above the context length."""
    if stride is not None and not 1 <= stride <= max_length:
        raise InputError(f"`stride`: expected 1 to {max_length} tokens (the context length), got {stride}")
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
class _Tokenized:
    """A document's ids, the owner of each, and the bytes and characters of those that are scored."""

    ids: Ids
    owner_N: npt.NDArray[np.int64]
    num_bytes: int
    num_characters: int


def document_requests(
    tokenizer: Tokenizer, documents: Sequence[Document], windows: Windows, where: str
) -> DocumentRequests:
    """Return the requests of all documents; raises InputError for a document without anything to score."""
    first = first_token_id(tokenizer)
    needs_table = first is None or any(document.ids is not None for document in documents)
    table = token_bytes(tokenizer) if needs_table else None
    tokenized = []
    for index, document in enumerate(documents):
        name = f"{where}, document {index}"
        one = _tokenize(tokenizer, document, index, table, name)
        if not (one.owner_N != _NO_DOCUMENT).any():
            raise InputError(f"{name}: expected text of two or more tokens, got {document.text[:20]!r}")
        tokenized.append(one)
    requests: list[Request] = []
    owners: list[int] = []
    for stream in [tokenized] if windows.packed else [[one] for one in tokenized]:
        for request, owner in _stream_requests(stream, windows):
            requests.append(request)
            owners.append(owner)
    # Characters of some documents would be divided into the nats of all.
    all_text = all(document.ids is None for document in documents)
    return DocumentRequests(
        requests, owners, [one.num_bytes for one in tokenized], [one.num_characters * all_text for one in tokenized]
    )


def _stream_requests(stream: Sequence[_Tokenized], windows: Windows) -> Iterator[tuple[Request, int]]:
    ids = np.concatenate([one.ids for one in stream])
    owner_N = np.concatenate([one.owner_N for one in stream])
    for begin, scored, end in cut_windows(ids, windows):
        window = ids[begin:end]
        edges = scored + 1 + np.flatnonzero(np.diff(owner_N[scored:end]))
        for start, stop in pairwise([scored, *edges.tolist(), end]):
            if owner_N[start] != _NO_DOCUMENT:
                yield Request(window, start - begin, stop - begin), int(owner_N[start])


def _tokenize(tokenizer: Tokenizer, document: Document, index: int, table: TokenBytes | None, where: str) -> _Tokenized:
    first = first_token_id(tokenizer)
    front = np.array([] if first is None else [first], dtype=np.int32)
    if document.ids is not None and table is not None:
        return _take_ids(document.ids, front, index, table, where)
    (bare,) = encode_bare(tokenizer, [document.text])
    ids = np.concatenate([front, bare])
    owner_N = np.full(len(ids), index, dtype=np.int64)
    owner_N[:1] = _NO_DOCUMENT
    content = document.text.encode()
    # Without a token in front, the first of the text is never scored.
    lost_bytes = table.count(bare[:1]) if first is None and table is not None else 0
    lost_characters = len(content[:lost_bytes].decode(errors="ignore"))
    return _Tokenized(ids, owner_N, len(content) - lost_bytes, len(document.text) - lost_characters)


def _take_ids(bare: Ids, front: Ids, index: int, table: TokenBytes, where: str) -> _Tokenized:
    """Return ids as they come; special tokens among them are context, as they encode no text."""
    if len(bare) and int(bare.max()) >= len(table):
        raise InputError(f"{where}: expected token ids below {len(table)}, got {bare.max()}")
    has_first = len(bare) > 0 and bool(table.is_special_V[bare[0]])
    ids = bare if has_first else np.concatenate([front, bare])
    owner_N = np.where(table.is_special_V[ids], _NO_DOCUMENT, index)
    owner_N[:1] = _NO_DOCUMENT
    lost_bytes = table.count(ids[:1]) if len(ids) else 0
    return _Tokenized(ids, owner_N, table.count(bare) - lost_bytes, 0)
