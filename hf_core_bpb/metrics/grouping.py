"""Values by the group that each belongs to, such as items by category (pure)."""

from collections.abc import Iterable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


def group_by(keys: Iterable[K], values: Iterable[V]) -> dict[K, list[V]]:
    """Return the values of each key; keys and values stay in their order of appearance."""
    groups: dict[K, list[V]] = {}
    for key, value in zip(keys, values, strict=True):
        groups.setdefault(key, []).append(value)
    return groups
