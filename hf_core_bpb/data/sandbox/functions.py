"""The filters, tests and methods that templates may use, and those of them that are bounded before they are called."""

import re
from collections.abc import Callable
from datetime import date, time
from functools import partial
from numbers import Number
from typing import Any

from jinja2 import Environment, Undefined, filters, pass_context, pass_environment, tests
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context

from hf_core_bpb.data.sandbox.work import check_size, listed

_MAX_STRIPPED = _MAX_SOUGHT = _MAX_PRECISION = 100
_MAX_PATH = 4
_FILTERS = (
    "abs", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length", "reject", "reverse",
    "select",
)  # fmt: skip
_TESTS = (
    "!=", "<", "<=", "==", ">", ">=", "boolean", "defined", "eq", "equalto", "false", "float", "ge", "greaterthan",
    "gt", "in", "integer", "iterable", "le", "lessthan", "lt", "mapping", "ne", "none", "number", "sequence", "string",
    "true", "undefined",
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


def _join(values: Any, separator: Any) -> str:
    parts, between = [], text_of(separator)
    length = 0
    for value in values:
        parts.append(text_of(value))
        length += len(parts[-1]) + len(between)
        check_size(length)
    return between.join(parts)


def _join_method(separator: str, values: Any) -> str:
    return _join(values, separator)


@pass_environment
def _join_filter(environment: Environment, values: Any, d: Any = "", attribute: Any = None) -> str:
    return _join(_read(environment, values, attribute), d)


@pass_environment
def _sum(environment: Environment, values: Any, attribute: Any = None, start: Any = 0) -> Any:
    return sum(map(_number, [start, *_read(environment, values, attribute)]))


def _number(value: Any) -> Any:
    if not isinstance(value, Number):
        raise TypeError(f"a {type(value).__name__} where a number is needed")
    return value


def _read(environment: Environment, values: Any, attribute: Any) -> Any:
    if attribute is None:
        return values
    _check_path(attribute)
    return map(filters.make_attrgetter(environment, attribute), values)


def _check_path(attribute: Any) -> None:
    if attribute is not None and len(re.split("[.,]", str(attribute))) > _MAX_PATH:
        raise SecurityError(f"an attribute of more than {_MAX_PATH} parts")


@pass_environment
def _sort(
    environment: Environment, values: Any, reverse: bool = False, case_sensitive: bool = False, attribute: Any = None
) -> Any:
    _check_path(attribute)
    return filters.do_sort(environment, listed(values), reverse, case_sensitive, attribute)


def _most(name: str) -> Callable[..., Any]:
    @pass_environment
    def most(environment: Environment, values: Any, case_sensitive: bool = False, attribute: Any = None) -> Any:
        _check_path(attribute)
        return filters.FILTERS[name](environment, listed(values), case_sensitive, attribute)

    return most


@pass_context
def _map(context: Context, values: Any, *args: Any, **kwargs: Any) -> Any:
    _check_path(kwargs.get("attribute"))
    if args and not str(args[0]).isidentifier():
        # Those that stand in checked trees are not for templates.
        raise SecurityError(f"no filter named {args[0]!r}")
    return filters.FILTERS["map"](context, values, *args, **kwargs)


def _by_attribute(name: str) -> Callable[..., Any]:
    @pass_context
    def chosen(context: Context, values: Any, attribute: Any, *args: Any, **kwargs: Any) -> Any:
        _check_path(attribute)
        return filters.FILTERS[name](context, values, attribute, *args, **kwargs)

    return chosen


def _strip(strip: Callable[..., str], text: Any, chars: str | None = None) -> str:
    if chars is not None and len(chars) > _MAX_STRIPPED:
        raise SecurityError(f"more than {_MAX_STRIPPED} characters to strip")
    return strip(text_of(text), chars)


def _round(value: Any, precision: int = 0, method: Any = "common") -> Any:
    if abs(precision) > _MAX_PRECISION:
        raise SecurityError(f"more than {_MAX_PRECISION} digits to round to")
    return filters.FILTERS["round"](_number(value), precision, method)


def _of(kind: Callable[[Any], Any], function: Any) -> Callable[..., Any]:
    """Return a function of a text or a number, which would take anything else for its text or format it."""
    return lambda value, *args, **kwargs: function(kind(value), *args, **kwargs)


def _from_behind(search: Callable[..., Any], text: str, *args: Any, **kwargs: Any) -> Any:
    # Unlike searches from the front, these take the product of both lengths.
    if any(isinstance(sought, str) and len(sought) > _MAX_SOUGHT for sought in (*args, *kwargs.values())):
        raise SecurityError(f"more than {_MAX_SOUGHT} characters to search for from behind")
    return search(text, *args, **kwargs)


FILTERS: dict[str, Callable[..., Any]] = {name: filters.FILTERS[name] for name in _FILTERS} | {
    **{name: _of(text_of, filters.FILTERS[name]) for name in ("capitalize", "lower", "title", "upper")},
    "join": _join_filter, "list": listed, "map": _map, "max": _most("max"), "min": _most("min"), "replace": _replace,
    "rejectattr": _by_attribute("rejectattr"), "round": _round, "selectattr": _by_attribute("selectattr"),
    "sort": _sort, "string": text_of, "sum": _sum, "trim": partial(_strip, str.strip),
}  # fmt: skip
TESTS: dict[str, Any] = {name: tests.TESTS[name] for name in _TESTS} | {
    **{name: _of(text_of, tests.TESTS[name]) for name in ("lower", "upper")},
    **{name: _of(_number, tests.TESTS[name]) for name in ("divisibleby", "even", "odd")},
}
OWN_METHODS: dict[str, Callable[..., Any]] = {
    "join": _join_method, "replace": _replace,
    **{strip.__name__: partial(_strip, strip) for strip in (str.strip, str.lstrip, str.rstrip)},
    **{
        search.__name__: partial(_from_behind, search)
        for search in (str.rfind, str.rindex, str.rpartition, str.rsplit)
    },
}  # fmt: skip
