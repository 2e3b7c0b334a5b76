"""Conversion of a loss between units, given the counts of tokens, bytes and characters (pure)."""

import math

from hf_core_bpb.errors import InputError
from hf_core_bpb.types import Scored

QUANTITIES = (
    "nats per token",
    "bits per token",
    "perplexity per token",
    "bits per byte",
    "perplexity per byte",
    "bits per character",
    "compression ratio",
    "total nats",
    "total bits",
)
_COUNTS = {"token": "num_tokens", "byte": "num_bytes", "character": "num_characters"}


def sums_of(
    quantity: str, value: float, num_tokens: int | None, num_bytes: int | None, num_characters: int | None = None
) -> Scored:
    """Return the sums behind a loss given as one of QUANTITIES; unknown counts are 0.

    The compression ratio is 8 divided by bits per byte. Raises InputError for an unknown quantity, an impossible
    value, a missing count that the quantity needs, and counts below 1.
    """
    if quantity not in QUANTITIES:
        raise InputError(f"quantity: expected one of {', '.join(QUANTITIES)}, got {quantity!r}")
    counts = {"num_tokens": num_tokens, "num_bytes": num_bytes, "num_characters": num_characters}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{name.removeprefix('num_')}: expected 1 or more, got {count}")
    if num_bytes is not None and num_characters is not None and num_characters > num_bytes:
        raise InputError(f"characters: expected at most the number of bytes ({num_bytes:,}), got {num_characters:,}")
    minimum = 1.0 if quantity.startswith("perplexity") else 0.0
    if not (math.isfinite(value) and value >= minimum) or (quantity == "compression ratio" and value <= 0):
        expected = "above 0" if quantity == "compression ratio" else f"of {minimum:g} or more"
        raise InputError(f"{quantity}: expected a number {expected}, got {value:g}")
    return Scored(_nats(quantity, value, counts), num_tokens or 0, num_bytes or 0, num_characters or 0)


def _nats(quantity: str, value: float, counts: dict[str, int | None]) -> float:
    if quantity == "compression ratio":
        return 8 / value * math.log(2) * _count(counts, "byte", quantity)
    unit, *_, per = quantity.split()
    if unit == "total":
        return value * _in_nats(per)
    nats = math.log(value) if unit == "perplexity" else value * _in_nats(unit)
    return nats * _count(counts, per, quantity)


def _in_nats(unit: str) -> float:
    return math.log(2) if unit == "bits" else 1.0


def _count(counts: dict[str, int | None], unit: str, quantity: str) -> int:
    count = counts[_COUNTS[unit]]
    if count is None:
        raise InputError(f"{unit}s: expected their number, which {quantity} needs, got none")
    return count


def quantities_of(sums: Scored) -> dict[str, float]:
    """Return all of QUANTITIES that the counts allow."""
    bits = sums.total_nats / math.log(2)
    values = {"total nats": sums.total_nats, "total bits": bits}
    if sums.num_tokens:
        values |= {
            "nats per token": sums.mean_nats,
            "bits per token": bits / sums.num_tokens,
            "perplexity per token": _exp(sums.mean_nats),
        }
    if sums.num_bytes:
        values |= {"bits per byte": sums.bits_per_byte, "perplexity per byte": _exp(sums.total_nats / sums.num_bytes)}
        if bits > 0:
            values["compression ratio"] = 8 / sums.bits_per_byte
    if sums.num_characters:
        values["bits per character"] = bits / sums.num_characters
    return {name: values[name] for name in QUANTITIES if name in values}


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
