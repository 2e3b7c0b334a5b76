"""Cut documents into windows that score every token once, and count the bytes of the scored text."""

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

# The owner of a token that is only context.
_NO_DOCUMENT = -1


@dataclass(frozen=True, slots=True)
class Windows:
    """How to cut documents: context length, stride of the window, and whether documents share windows."""

    max_length: int
    stride: int
    packed: bool = False

    @property
    def recipe(self) -> dict[str, object]:
        """The part of a signature that describes the windows."""
        return {"documents": "packed" if self.packed else "alone", "stride": self.stride}


def choose_windows(max_length: int, stride: int | None, packed: bool = False) -> Windows:
    """Return windows, which are disjoint without a stride; raises InputError for a stride above the context length."""
    if stride is not None and not 1 <= stride <= max_length:
        raise InputError(f"`stride`: expected 1 to {max_length} tokens (the context length), got {stride}")
    return Windows(max_length, stride if stride is not None else max_length, packed)


def cut_windows(ids: Ids, windows: Windows) -> Iterator[tuple[int, int, int]]:
    """Yield (begin, scored, end): windows ids[begin:end] whose spans [scored, end) cover every id but the first.

    A window has `max_length` input ids and the id after them. The first window scores all its ids, each later
    one the next `stride` ids; the last window is extended to the left. At full stride this is
    get_rolling_token_windows of lm-evaluation-harness.
    """
    scored = 1
    while scored < len(ids):
        step = windows.max_length if scored == 1 else windows.stride
        end = min(scored + step, len(ids))
        yield max(0, end - windows.max_length - 1), scored, end
        scored = end


@dataclass(frozen=True, slots=True)
class _Tokenized:
    """A document's ids, the document that scores each id, and the bytes and characters of the scored text."""

    ids: Ids
    owner_N: npt.NDArray[np.int64]
    num_bytes: int
    num_characters: int


def document_requests(
    tokenizer: Tokenizer, documents: Sequence[Document], windows: Windows, where: str
) -> DocumentRequests:
    """Return the requests of all documents; raises InputError for a document with no token to score."""
    first = first_token_id(tokenizer)
    needs_table = first is None or any(document.ids is not None for document in documents)
    table = token_bytes(tokenizer) if needs_table else None
    tokenized = []
    for index, document in enumerate(documents):
        name = f"{where}, document {index}"
        encoded = _tokenize(tokenizer, document, index, table, name)
        if not (encoded.owner_N != _NO_DOCUMENT).any():
            raise InputError(f"{name}: expected text of two or more tokens, got {document.text[:20]!r}")
        tokenized.append(encoded)
    streams = [tokenized] if windows.packed else [[document] for document in tokenized]
    scored = [pair for stream in streams for pair in _stream_requests(stream, windows)]
    # Bits per character would divide the nats of all documents by the characters of some.
    all_text = all(document.ids is None for document in documents)
    return DocumentRequests(
        [request for request, _ in scored],
        [owner for _, owner in scored],
        [document.num_bytes for document in tokenized],
        [document.num_characters * all_text for document in tokenized],
    )


def _stream_requests(stream: Sequence[_Tokenized], windows: Windows) -> Iterator[tuple[Request, int]]:
    ids = np.concatenate([document.ids for document in stream])
    owner_N = np.concatenate([document.owner_N for document in stream])
    for begin, scored, end in cut_windows(ids, windows):
        window = ids[begin:end]
        edges = scored + 1 + np.flatnonzero(np.diff(owner_N[scored:end]))
        for start, stop in pairwise([scored, *edges.tolist(), end]):
            if owner_N[start] != _NO_DOCUMENT:
                yield Request(window, start - begin, stop - begin), int(owner_N[start])


def _tokenize(tokenizer: Tokenizer, document: Document, index: int, table: TokenBytes | None, where: str) -> _Tokenized:
    first = first_token_id(tokenizer)
    prefix = np.array([] if first is None else [first], dtype=np.int32)
    if document.ids is not None and table is not None:
        return _read_ids(document.ids, prefix, index, table, where)
    (bare,) = encode_bare(tokenizer, [document.text])
    ids = np.concatenate([prefix, bare])
    owner_N = np.full(len(ids), index, dtype=np.int64)
    owner_N[:1] = _NO_DOCUMENT
    content = document.text.encode()
    # Without BOS or EOS, the first token of the text cannot be scored.
    unscored_bytes = table.count(bare[:1]) if first is None and table is not None else 0
    unscored_characters = len(content[:unscored_bytes].decode(errors="ignore"))
    return _Tokenized(ids, owner_N, len(content) - unscored_bytes, len(document.text) - unscored_characters)


def _read_ids(bare: Ids, prefix: Ids, index: int, table: TokenBytes, where: str) -> _Tokenized:
    """Return a document of given ids; special tokens are only context, because they encode no text."""
    if len(bare) and int(bare.max()) >= len(table):
        raise InputError(f"{where}: expected token ids below {len(table)}, got {bare.max()}")
    has_first = len(bare) > 0 and bool(table.is_special_V[bare[0]])
    ids = bare if has_first else np.concatenate([prefix, bare])
    owner_N = np.where(table.is_special_V[ids], _NO_DOCUMENT, index)
    owner_N[:1] = _NO_DOCUMENT
    unscored_bytes = table.count(ids[:1]) if len(ids) else 0
    return _Tokenized(ids, owner_N, table.count(bare) - unscored_bytes, 0)
