"""Columns of values as any library has them (pure)."""

from collections.abc import Mapping, Set
from typing import Any


def listed(values: Any) -> list[Any] | None:
    """Return what comes one after another as a list, None for what has no order, is but one, or is a table."""
    if isinstance(values, str | bytes | Mapping | Set) or hasattr(values, "columns"):
        return None
    try:
        return list(values)
    except TypeError:
        return None
