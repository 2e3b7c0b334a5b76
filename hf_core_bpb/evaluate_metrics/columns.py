"""Columns of values from any library, as lists (pure)."""

from collections.abc import Mapping, Set
from typing import Any


def as_list(values: Any) -> list[Any] | None:
    """Return a sequence as a list, None for single values, sets, mappings and tables."""
    if isinstance(values, str | bytes | Mapping | Set) or hasattr(values, "columns"):
        return None
    try:
        return list(values)
    except TypeError:
        return None
