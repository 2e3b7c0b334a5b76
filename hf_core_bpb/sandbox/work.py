"""How much a rendering reads and makes: what values weigh, and where too much of it ends."""

from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from typing import Any

from jinja2 import Undefined
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context

# A prompt of ten shots has some 50,000 characters.
MAX_CHARACTERS = 1_000_000
MAX_WORK = 10 * MAX_CHARACTERS
_MAX_BITS = 4_096
# So that lists of small things are bounded too.
_ITEM = 10
# Where a rendering has its count: no template can write this name.
_NAME = "work "


class Work:
    """How much one rendering has read and made so far."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.done = 0

    def add(self, value: Any) -> int:
        """Add a value, and return its weight; raises SecurityError for one too large, or after too many."""
        weight = _weigh(value)
        self.done += weight + 1
        if self.done > MAX_WORK:
            raise SecurityError(f"more than {MAX_WORK:,} characters read and made")
        return weight


def begin(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's values for one rendering, with a count of its work."""
    return {**row, _NAME: Work()}


def work_of(context: Context) -> Work:
    """Return the count of the rendering that a context belongs to."""
    work: Work = context[_NAME]
    return work


def check_size(size: int) -> None:
    """Raise SecurityError for more characters than any value may have."""
    if size > MAX_CHARACTERS:
        raise SecurityError(f"more than {MAX_CHARACTERS:,} characters")


def _weigh(value: Any) -> int:
    """Return the characters of a value and what its items weigh; raises SecurityError for what is no data."""
    weight = 0
    held = [value]
    while held:
        one = held.pop()
        if isinstance(one, str | bytes):
            weight += len(one)
        elif isinstance(one, int):
            if one.bit_length() > _MAX_BITS:
                raise SecurityError(f"a number of more than {_MAX_BITS:,} bits")
        elif isinstance(one, range | list | tuple | Mapping | KeysView | ItemsView | ValuesView):
            weight += _ITEM * len(one)
            check_size(weight)
            if isinstance(one, Mapping):
                held += [*one.keys(), *one.values()]
            elif not isinstance(one, range):
                held += one
        elif callable(one) and not isinstance(one, Undefined):
            raise SecurityError(f"a {type(one).__name__} where a value is needed")
        check_size(weight)
    return weight
