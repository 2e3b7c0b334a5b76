"""Read and show numbers in the form that people write them (pure)."""

import math
import re

from hf_core_bpb.errors import InputError

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
_NUMBER = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([kmbt]?)", re.IGNORECASE)
# Commas only between thousands: 1,5 could be 1.5 or 15.
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def read_number(text: object, name: str) -> float | None:
    """Return a number such as 1e20, 1,000 or 1.3B, None for an empty field. Raises InputError for anything else."""
    digits = "" if text is None else _THOUSANDS.sub("", str(text).strip()).replace("_", "")
    if not digits:
        return None
    match = _NUMBER.fullmatch(digits)
    value = float(match[1]) * _UNITS[match[2].lower()] if match is not None else math.nan
    if not math.isfinite(value):
        raise InputError(f"{name}: expected a number such as 1e20, 1,000 or 1.3B, got {str(text).strip()[:40]!r}")
    return value


def read_count(text: object, name: str) -> int | None:
    """Return a whole number, None for an empty field. Raises InputError for anything else."""
    value = read_number(text, name)
    if value is not None and value != int(value):
        raise InputError(f"{name}: expected a whole number, got {str(text).strip()[:40]!r}")
    return None if value is None else int(value)


def show_count(value: float) -> str:
    """Return a number of parameters or tokens with three digits and a unit, such as 1.3B."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        # 999.5M and above round to 1B, not to 1e+03M.
        if value >= 0.9995 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def show_flops(value: float) -> str:
    """Return a number of FLOPs, such as 1.5e20."""
    return f"{value:.3g}".replace("e+", "e")
