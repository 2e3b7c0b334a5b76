"""A task's jinja2, compiled in a sandbox: rows in, text and values out, with errors that name the key."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from jinja2 import TemplateError, Undefined, meta

from hf_core_bpb.data.sandbox import environment as sandbox
from hf_core_bpb.errors import InputError, reason


def without_section_marks(text: str) -> str:
    """Return HellaSwag's text with its title marks as full stops and its other marks gone."""
    *closed, rest = text.strip().replace(" [title]", ". ").split("]")
    return "".join([*map(_without_mark, closed), rest]).replace("  ", " ")


def _without_mark(text: str) -> str:
    """Return what stands before a "]" without the mark that it closes: one that was opened on the same line."""
    opened = text.find("[", text.rfind("\n") + 1)
    return f"{text}]" if opened < 0 else text[:opened]


@cache
def environment() -> sandbox.BoundedEnvironment:
    """Return the one jinja2 environment: sandboxed, bounded, strict, whitespace kept as written."""
    return sandbox.BoundedEnvironment({"without_section_marks": without_section_marks})


def _columns_of(source: str) -> set[str]:
    made = environment()
    return meta.find_undeclared_variables(made.parse(source)) - set(made.globals)


def _check_columns(source: str, where: str, columns: list[str]) -> None:
    missing = sorted(_columns_of(source) - set(columns))
    if missing:
        raise InputError(f"{where}: expected columns of the dataset ({', '.join(columns)}), got {', '.join(missing)}")


def _said(error: Exception) -> str:
    # Its other lines are the template, which is named beside.
    return (error.message or "") if isinstance(error, TemplateError) else reason(error)


def compile_text(source: str, where: str, columns: list[str]) -> Callable[[Mapping[str, Any]], str]:
    """Return a function from a row to the text of a template.

    Raises InputError where the template does not parse or reads a column that is not there; so does
    the returned function where a row does not fit the template.
    """
    try:
        template = environment().text(source)
        _check_columns(source, where, columns)
    except InputError:
        raise
    except Exception as error:  # Python has bounds of its own, on nested blocks and on the digits of numbers
        raise InputError(f"{where}: expected a jinja2 template, got {_said(error)}: {source!r}") from None

    def render(row: Mapping[str, Any]) -> str:
        try:
            return sandbox.render(template, row)
        except Exception as error:  # a template can raise whatever its filters and methods raise
            raise InputError(f"{where}: expected a row that fits {source!r}, got {reason(error)}") from None

    return render


def compile_value(source: str, where: str, columns: list[str]) -> Callable[[Mapping[str, Any]], Any]:
    """Return a function from a row to the value of an expression; errors as compile_text."""
    try:
        expression = environment().expression(source)
        _check_columns(f"{{{{ {source} }}}}", where, columns)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{where}: expected a jinja2 expression, got {_said(error)}: {source!r}") from None

    def evaluate(row: Mapping[str, Any]) -> Any:
        try:
            value = sandbox.evaluate(expression, row)
        except Exception as error:
            raise InputError(f"{where}: expected a row that fits {source!r}, got {reason(error)}") from None
        if isinstance(value, Undefined):
            raise InputError(f"{where}: expected a row that fits {source!r}, got nothing there")
        return value

    return evaluate
