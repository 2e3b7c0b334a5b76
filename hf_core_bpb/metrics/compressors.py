"""Compression of the scored text by general compressors: a reference for bits per byte."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Sequence

from hf_core_bpb.types import Document

_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda content: gzip.compress(content, compresslevel=9, mtime=0),
    "bzip2": lambda content: bz2.compress(content, compresslevel=9),
    "xz": lambda content: lzma.compress(content, preset=9 | lzma.PRESET_EXTREME),
}

# Compressors of single documents. bzip2 sorts whole blocks and gains nothing on short texts.
PACKERS = ("gzip", "xz")

# xz at its strongest setting takes about two seconds per megabyte.
MAX_BYTES = 16 * 1024 * 1024


def measure_compressors(documents: Sequence[Document]) -> dict[str, float]:
    """Return bits per byte of the concatenated documents by compressor, each at its strongest setting.

    Empty for tokenised documents, whose text is unknown, and for more than 16 MiB of text.
    """
    if not _is_measured(documents):
        return {}
    content = "".join(document.text for document in documents).encode()
    return {name: 8 * len(compress(content)) / len(content) for name, compress in _COMPRESSORS.items()}


def measure_packed(documents: Sequence[Document]) -> list[dict[str, int]]:
    """Return the size in bytes of each document compressed alone, headers included, by compressor.

    Empty if `measure_compressors` returns nothing.
    """
    if not _is_measured(documents):
        return []
    return [
        {"gzip": len(_COMPRESSORS["gzip"](text)), "xz": _xz_size(text)} for text in (d.text.encode() for d in documents)
    ]


def _is_measured(documents: Sequence[Document]) -> bool:
    if any(document.ids is not None for document in documents):
        return False
    return 0 < sum(len(document.text.encode()) for document in documents) <= MAX_BYTES


def _xz_size(content: bytes) -> int:
    # A dictionary larger than the document saves nothing and takes 64 MiB to set up.
    size = min(max(len(content), 4096), 64 * 1024 * 1024)
    strongest = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": size}
    return len(lzma.compress(content, filters=[strongest]))
