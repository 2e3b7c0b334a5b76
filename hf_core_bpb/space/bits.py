"""The bits-per-byte calculator: converts one measure of loss into all others (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass

from hf_core_bpb.errors import InputError
from hf_core_bpb.metrics.compressors import measure_compressors
from hf_core_bpb.metrics.conversions import quantities_of, sums_of
from hf_core_bpb.types import Document

# From this size on, the headers of gzip, bzip2 and xz are at most a few percent of the compressed text.
_MIN_COMPRESSED_BYTES = 2000


@dataclass(frozen=True, slots=True)
class BitsResult:
    """Every measure that follows from the inputs, bits per byte by compressor, and an interpretation."""

    quantities: Mapping[str, float]
    compressors: Mapping[str, float]
    interpretation: str


def calculate(quantity: str, value: float | None, tokens: int | None, num_bytes: int | None, text: str) -> BitsResult:
    """Convert a loss into every other measure; a text, if given, determines the bytes and characters.

    Raises InputError for missing and invalid values.
    """
    if value is None:
        raise InputError(f"{quantity}: expected a number, got none")
    characters = None
    if text:
        num_bytes, characters = _count(text)
    quantities = quantities_of(sums_of(quantity, value, tokens, num_bytes, characters))
    compressors = measure_compressors([Document(text)]) if text else {}
    return BitsResult(quantities, compressors, _interpret(quantities.get("bits per byte"), compressors, num_bytes))


def count_text(text: str) -> str:
    """Return the UTF-8 bytes of a text as its field shows them, empty for an empty text."""
    return str(_count(text)[0]) if text else ""


def _count(text: str) -> tuple[int, int]:
    try:
        return len(text.encode()), len(text)
    except UnicodeEncodeError as error:
        raise InputError(
            f"text: expected characters that UTF-8 can encode, got {error.object[error.start]!r}"
        ) from None


def _interpret(bpb: float | None, compressors: Mapping[str, float], num_bytes: int | None) -> str:
    if bpb is None:
        return "Bits per byte need the number of bytes: paste the text, or enter its bytes."
    text = _interpret_level(bpb)
    if compressors and num_bytes is not None:
        name, lowest = min(compressors.items(), key=lambda item: item[1])
        text += f" On this text {name} reaches {lowest:.2f}."
        if num_bytes < _MIN_COMPRESSED_BYTES:
            text += f" The text is short ({num_bytes:,} bytes), so headers are a large part of that."
    return text


def _interpret_level(bpb: float) -> str:
    if bpb >= 8:
        return "8 bits per byte is chance: the model is no better than uniformly random bytes."
    if bpb >= 2:
        return "Better than chance (8); general compressors reach about 2 to 3 on plain English."
    if bpb >= 1:
        return "Better than general compressors on plain English; good models reach less than 1."
    return "Below 1, as good models reach on plain English."
