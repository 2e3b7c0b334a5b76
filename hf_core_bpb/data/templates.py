"""A task's jinja2 in a sandbox: rows in, text and values out, with errors that name the key."""

from collections.abc import Callable, Mapping
from typing import Any

from hf_core_bpb.data.sandbox import compile_template
from hf_core_bpb.errors import InputError, reason


def compile_text(source: str, where: str, columns: list[str]) -> Callable[[Mapping[str, Any]], str]:
    """Return a function from a row to a template's text; raises InputError, as does the function for an unfit row."""
    return _compile("template", source, where, columns)


def compile_value(source: str, where: str, columns: list[str]) -> Callable[[Mapping[str, Any]], Any]:
    """Return a function from a row to an expression's value; raises InputError as compile_text does."""
    return _compile("expression", source, where, columns)


def _compile(kind: str, source: str, where: str, columns: list[str]) -> Callable[[Mapping[str, Any]], Any]:
    try:
        names, render = compile_template(source, is_value=kind == "expression")
    except Exception as error:  # Python has bounds of its own, on nested blocks and on the digits of numbers
        got = getattr(error, "message", None) or reason(error)
        raise InputError(f"{where}: expected a jinja2 {kind}, got {got}: {source!r}") from None
    if missing := ", ".join(sorted(names.difference(columns))):
        raise InputError(f"{where}: expected columns of the dataset ({', '.join(columns)}), got {missing}")

    def run(row: Mapping[str, Any]) -> Any:
        try:
            return render(row)
        except Exception as error:  # a template raises whatever its filters and methods raise
            raise InputError(f"{where}: expected a row that fits {source!r}, got {reason(error)}") from None

    return run
