"""How much a rendering reads and makes: what values weigh, and where too much of it ends."""

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Number
from typing import Any

from jinja2 import Undefined
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context

# A prompt of ten shots has some 50,000 characters.
MAX_CHARACTERS = 500_000
MAX_WORK = 20 * MAX_CHARACTERS
MAX_BITS = 4_096
_MAX_EXPONENT = 1_000
# An item of a list takes as much memory, and a step as much time, as some characters.
_ITEM, _STEP = 10, 50
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
        self.step(weight)
        return weight

    def step(self, weight: int = 0) -> None:
        """Add a step, and what it weighs; raises SecurityError after too many."""
        self.done += _STEP + weight
        if self.done > MAX_WORK:
            raise SecurityError(f"more than {MAX_WORK:,} characters read and made")

    def each(self, values: Iterable[Any]) -> Iterator[Any]:
        """Yield values, each of which is added when it is its turn."""
        for value in values:
            self.add(value)
            yield value


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


def listed(values: Iterable[Any]) -> list[Any]:
    """Return values as a list; raises SecurityError for more of them than any value may weigh."""
    made, weight = [], 0
    for value in values:
        weight += _ITEM + _weigh(value)
        check_size(weight)
        made.append(value)
    return made


def check_kept(value: Any) -> None:
    """Raise TypeError for a value that is, or holds, what lasts no longer than its rendering."""
    held = [value]
    while held:
        one = held.pop()
        if isinstance(one, list | tuple):
            held += one
        elif isinstance(one, Mapping):
            held += [*one.keys(), *one.values()]
        elif one is not None and not isinstance(one, str | Number | date | time | range | Undefined):
            raise TypeError(f"a {type(one).__name__} where a value is needed; |list makes a list of what yields items")


def _weigh(value: Any) -> int:
    """Return the characters of a value and what its items weigh; raises SecurityError for what is no data."""
    if isinstance(value, Iterator):
        # What it yields is weighed when it is its turn; within a list it would have none, and is refused.
        return 0
    weight = 0
    held = [value]
    while held:
        one = held.pop()
        if isinstance(one, str):
            weight += len(one)
        elif isinstance(one, int):
            if one.bit_length() > MAX_BITS:
                raise SecurityError(f"a number of more than {MAX_BITS:,} bits")
            # Some three bits are a digit.
            weight += one.bit_length() // 3
        elif isinstance(one, Decimal):
            if one.is_finite() and abs(one.adjusted()) > _MAX_EXPONENT:
                raise SecurityError(f"a number of more than {_MAX_EXPONENT:,} digits")
            weight += len(one.as_tuple().digits)
        elif isinstance(one, range | list | tuple | Mapping | KeysView | ItemsView | ValuesView):
            weight += _ITEM * len(one)
            check_size(weight)
            if isinstance(one, Mapping):
                held += [*one.keys(), *one.values()]
            elif not isinstance(one, range):
                held += one
        elif one is not None and not isinstance(one, Undefined | Number | date | time | timedelta):
            raise SecurityError(f"a {type(one).__name__} where a value is needed")
        check_size(weight)
    return weight
