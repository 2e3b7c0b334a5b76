"""The filters, tests and methods that templates may use, and those of them that are bounded before they are called."""

from collections.abc import Callable
from datetime import date, time
from functools import partial
from numbers import Number
from typing import Any

from jinja2 import Undefined, filters, tests
from jinja2.exceptions import SecurityError

from hf_core_bpb.sandbox.work import check_size

_MAX_STRIPPED = 100
_MAX_PRECISION = 100
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "title",
    "upper",
)  # fmt: skip
_TESTS = (
    "!=", "<", "<=", "==", ">", ">=", "boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float",
    "ge", "greaterthan", "gt", "in", "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none",
    "number", "odd", "sequence", "string", "true", "undefined", "upper",
)  # fmt: skip
METHODS = frozenset((
    "capitalize", "casefold", "count", "endswith", "find", "get", "index", "isalnum", "isalpha", "isdecimal", "isdigit",
    "islower", "isnumeric", "isspace", "isupper", "items", "join", "keys", "lower", "lstrip", "partition",
    "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "upper", "values",
))  # fmt: skip


def text_of(value: Any) -> str:
    """Return text, numbers and dates as text; raises ValueError for null and TypeError for lists and the like."""
    if value is None:
        raise ValueError("null where text is needed")
    if not isinstance(value, str | Number | date | time | Undefined):
        raise TypeError(f"a {type(value).__name__} where text is needed")
    return str(value)


def concat(values: Any) -> str:
    """Return texts and numbers one after another."""
    return "".join(map(text_of, values))


def _replace(text: Any, old: Any, new: Any, count: int | None = None) -> str:
    before, found, put = text_of(text), text_of(old), text_of(new)
    most = -1 if count is None else int(count)
    times = before.count(found) if most < 0 else min(before.count(found), most)
    check_size(len(before) + times * len(put))
    return before.replace(found, put, most)


def _join(values: Any, d: Any = "") -> str:
    parts, separator = [text_of(value) for value in values], text_of(d)
    check_size(sum(map(len, parts)) + len(parts) * len(separator))
    return separator.join(parts)


def _strip(strip: Callable[..., str], text: Any, chars: str | None = None) -> str:
    if chars is not None and len(chars) > _MAX_STRIPPED:
        raise SecurityError(f"more than {_MAX_STRIPPED} characters to strip")
    return strip(text_of(text), chars)


def _round(value: Any, precision: int = 0, method: Any = "common") -> Any:
    if abs(precision) > _MAX_PRECISION:
        raise SecurityError(f"more than {_MAX_PRECISION} digits to round to")
    return filters.FILTERS["round"](value, precision, method)


def _sum(values: Any, start: Any = 0) -> Any:
    numbers = [start, *values]
    for value in numbers:
        if not isinstance(value, Number):
            raise TypeError(f"a {type(value).__name__} where a number is needed")
    return sum(numbers)


def _join_method(separator: str, values: Any) -> str:
    return _join(values, separator)


FILTERS: dict[str, Callable[..., Any]] = {name: filters.FILTERS[name] for name in _FILTERS} | {
    "join": _join, "replace": _replace, "round": _round, "string": text_of, "sum": _sum,
    "trim": partial(_strip, str.strip),
}  # fmt: skip
TESTS = {name: tests.TESTS[name] for name in _TESTS}
OWN_METHODS: dict[str, Callable[..., Any]] = {
    "join": _join_method, "replace": _replace,
    **{strip.__name__: partial(_strip, strip) for strip in (str.strip, str.lstrip, str.rstrip)},
}  # fmt: skip
