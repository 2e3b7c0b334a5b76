"""The bits-per-byte calculator: one measure of loss in, all others out, with the text's own bytes (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass

from hf_core_bpb.errors import InputError
from hf_core_bpb.metrics.compressors import measure_compressors
from hf_core_bpb.metrics.conversions import quantities_of, sums_of
from hf_core_bpb.types import Document

# What gzip, bzip2 and xz write around their data is then less than a few per cent of it.
_TELLING_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Bits:
    """Every measure that follows, what compressors need for the same text, and how to read it."""

    quantities: Mapping[str, float]
    compressors: Mapping[str, float]
    reading: str


def calculate(quantity: str, value: float | None, tokens: int | None, num_bytes: int | None, text: str) -> Bits:
    """Return what a loss amounts to; bytes and characters are those of the text where there is one.

    Raises InputError for what is missing or does not fit.
    """
    if value is None:
        raise InputError(f"{quantity}: expected a number, got none")
    characters = None
    if text:
        num_bytes, characters = _count(text)
    quantities = quantities_of(sums_of(quantity, value, tokens, num_bytes, characters))
    compressors = measure_compressors([Document(text)]) if text else {}
    return Bits(quantities, compressors, _read(quantities.get("bits per byte"), compressors, num_bytes))


def count_text(text: str) -> str:
    """Return the UTF-8 bytes of a text as a field shows them, empty for none."""
    return str(_count(text)[0]) if text else ""


def _count(text: str) -> tuple[int, int]:
    try:
        return len(text.encode()), len(text)
    except UnicodeEncodeError as error:
        raise InputError(
            f"text: expected characters that UTF-8 has bytes for, got {error.object[error.start]!r}"
        ) from None


def _read(bpb: float | None, compressors: Mapping[str, float], num_bytes: int | None) -> str:
    if bpb is None:
        return "Bits per byte need the number of bytes: paste the text, or say how many there are."
    if bpb >= 8:
        reading = "At 8 bits per byte or more the model is no better than knowing nothing of the text."
    elif bpb >= 2:
        reading = "Below 8, which is to know nothing; general compressors reach some 2 to 3 on plain English."
    elif bpb >= 1:
        reading = "Below what general compressors reach on plain English; good models need less than 1 there."
    else:
        reading = "Below 1: what good models need for plain English."
    if compressors and num_bytes is not None:
        name, best = min(compressors.items(), key=lambda item: item[1])
        reading += f" For this very text {name} needs {best:.2f}."
        if num_bytes < _TELLING_BYTES:
            reading += f" Of so short a text ({num_bytes:,} bytes) much of that is headers."
    return reading
