"""What general compressors make of the very text that was scored: something to hold bits per byte against."""

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

# What compresses a document by itself, without a text before it: bzip2 goes by blocks and gains nothing here.
PACKERS = ("gzip", "xz")

# xz at its strongest takes about two seconds a megabyte; more of a text would hold up the report.
MAX_BYTES = 16 * 1024 * 1024


def measure_compressors(documents: Sequence[Document]) -> dict[str, float]:
    """Return bits per byte by compressor, at its strongest setting, of the documents one after another.

    Empty where the text of one is not known (a tokenised source), and for more than 16 MiB of it.
    """
    if not _is_measured(documents):
        return {}
    content = "".join(document.text for document in documents).encode()
    return {name: 8 * len(compress(content)) / len(content) for name, compress in _COMPRESSORS.items()}


def measure_packed(documents: Sequence[Document]) -> list[dict[str, int]]:
    """Return the bytes of each document compressed by itself, headers included, by compressor.

    Empty where the compressors are not measured.
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
    # A dictionary longer than the document gains nothing and takes 64 MiB to set up.
    size = min(max(len(content), 4096), 64 * 1024 * 1024)
    strongest = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": size}
    return len(lzma.compress(content, filters=[strongest]))
