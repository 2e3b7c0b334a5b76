"""From any one measure of loss to all others, given what was counted (pure)."""

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
_COUNTED = {"token": "num_tokens", "byte": "num_bytes", "character": "num_characters"}


def sums_of(
    quantity: str, value: float, num_tokens: int | None, num_bytes: int | None, num_characters: int | None = None
) -> Scored:
    """Return the sums behind a loss that is known as one of QUANTITIES; counts that are not known are 0.

    The compression ratio is 8 bits over bits per byte. Raises InputError for a quantity that there is not, a
    value that it cannot have, a count that it needs and that is not given, and counts below 1.
    """
    if quantity not in QUANTITIES:
        raise InputError(f"quantity: expected one of {', '.join(QUANTITIES)}, got {quantity!r}")
    counts = {"num_tokens": num_tokens, "num_bytes": num_bytes, "num_characters": num_characters}
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{name.removeprefix('num_')}: expected 1 or more, got {count}")
    if num_bytes is not None and num_characters is not None and num_characters > num_bytes:
        raise InputError(f"characters: expected at most as many as bytes ({num_bytes:,}), got {num_characters:,}")
    least = 1.0 if quantity.startswith("perplexity") else 0.0
    if not (math.isfinite(value) and value >= least) or (quantity == "compression ratio" and value <= 0):
        wanted = "above 0" if quantity == "compression ratio" else f"of {least:g} or more"
        raise InputError(f"{quantity}: expected a number {wanted}, got {value:g}")
    return Scored(_nats(quantity, value, counts), num_tokens or 0, num_bytes or 0, num_characters or 0)


def _nats(quantity: str, value: float, counts: dict[str, int | None]) -> float:
    if quantity == "compression ratio":
        return 8 / value * math.log(2) * _count(counts, "byte", quantity)
    unit, *_, counted = quantity.split()
    if unit == "total":
        return value * _in_nats(counted)
    nats = math.log(value) if unit == "perplexity" else value * _in_nats(unit)
    return nats * _count(counts, counted, quantity)


def _in_nats(unit: str) -> float:
    return math.log(2) if unit == "bits" else 1.0


def _count(counts: dict[str, int | None], counted: str, quantity: str) -> int:
    count = counts[_COUNTED[counted]]
    if count is None:
        raise InputError(f"{counted}s: expected how many there are, as {quantity} says nothing without, got none")
    return count


def quantities_of(sums: Scored) -> dict[str, float]:
    """Return every one of QUANTITIES that the counts allow."""
    bits = sums.total_nats / math.log(2)
    found = {"total nats": sums.total_nats, "total bits": bits}
    if sums.num_tokens:
        found |= {
            "nats per token": sums.mean_nats,
            "bits per token": bits / sums.num_tokens,
            "perplexity per token": _exp(sums.mean_nats),
        }
    if sums.num_bytes:
        found |= {"bits per byte": sums.bits_per_byte, "perplexity per byte": _exp(sums.total_nats / sums.num_bytes)}
        if bits > 0:
            found["compression ratio"] = 8 / sums.bits_per_byte
    if sums.num_characters:
        found["bits per character"] = bits / sums.num_characters
    return {name: found[name] for name in QUANTITIES if name in found}


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf
