"""Templates from anybody: each attack ends in one error line, within seconds of CPU time and little memory."""

import time
import tracemalloc
from dataclasses import dataclass
from functools import cache

import pytest
from support.template_attacks import (
    BOMBS,
    DEEP,
    ESCAPES,
    EXPRESSIONS,
    HEAVY,
    LARGE_ROW,
    MEMORY_BOMBS,
    MORE_ESCAPES,
    MORE_EXPRESSIONS,
    NOT_TEXT,
    TIME_BOMBS,
)

from hf_core_bpb.data import sandbox
from hf_core_bpb.data.templates import compile_text, compile_value
from hf_core_bpb.errors import InputError

ONE_LINE = r"\Aprompt: expected [^\n]*\Z"
CPU_SECONDS = 5
PEAK_BYTES = 100_000_000


def large_row():
    return LARGE_ROW | {"options": ["x", "y"], "people": [{"name": "Ann", "age": 3}, {"name": "Bo", "age": 2}]}


def named(sources):
    """Parametrize by sources, of which an id shows the beginning."""
    return {"argvalues": sources, "ids": [source[:50] for source in sources]}


@dataclass(frozen=True)
class Outcome:
    error: str
    cpu_seconds: float
    peak_bytes: int


@cache
def attack(source):
    """Render a template once, traced: tracemalloc makes it several times slower."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        compile_text(source, "prompt", list(LARGE_ROW))(LARGE_ROW)
        error = ""
    except InputError as raised:
        error = str(raised)
    outcome = Outcome(error, time.process_time() - begin, tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    return outcome


@pytest.mark.parametrize("source", **named([*ESCAPES, *MORE_ESCAPES]))
def test_an_escape_is_rejected_in_one_line(source):
    with pytest.raises(InputError, match=ONE_LINE):
        compile_text(source, "prompt", list(LARGE_ROW))(large_row())


@pytest.mark.parametrize("source", **named([*ESCAPES, *MORE_ESCAPES]))
def test_an_escape_leaves_its_row_unchanged(source):
    row = large_row()
    with pytest.raises(InputError):
        compile_text(source, "prompt", list(row))(row)
    assert {name: row[name] for name in ("options", "people")} == {
        name: large_row()[name] for name in ("options", "people")
    }


@pytest.mark.slow
@pytest.mark.parametrize("source", **named([*BOMBS, *MEMORY_BOMBS, *DEEP]))
def test_a_bomb_is_rejected_in_one_line(source):
    assert attack(source).error.startswith("prompt: expected ")
    assert "\n" not in attack(source).error


@pytest.mark.slow
@pytest.mark.parametrize("source", **named([*BOMBS, *MEMORY_BOMBS, *DEEP, *HEAVY]))
def test_a_bomb_ends_within_seconds_of_cpu_time(source):
    assert attack(source).cpu_seconds < CPU_SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("source", **named([*BOMBS, *MEMORY_BOMBS, *DEEP, *HEAVY]))
def test_a_bomb_takes_little_memory(source):
    assert attack(source).peak_bytes < PEAK_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("source", **named(TIME_BOMBS))
def test_a_loop_is_rejected_in_time_that_is_proportional_to_its_work(source, monkeypatch):
    monkeypatch.setattr(sandbox, "MAX_WORK", sandbox.MAX_WORK // 4)
    begin = time.process_time()
    with pytest.raises(InputError, match=ONE_LINE):
        compile_text(source, "prompt", list(LARGE_ROW))(LARGE_ROW)
    assert time.process_time() - begin < CPU_SECONDS / 4


@pytest.mark.parametrize("source", **named([*EXPRESSIONS, *MORE_EXPRESSIONS]))
def test_an_expression_is_bound_as_a_template_is(source):
    with pytest.raises(InputError, match=ONE_LINE):
        compile_value(source, "prompt", list(LARGE_ROW))(large_row())


@pytest.mark.parametrize(("source", "message"), NOT_TEXT)
def test_a_value_that_is_not_text_is_not_written_as_python_would_write_it(source, message):
    with pytest.raises(InputError, match=message):
        compile_text(source, "prompt", list(LARGE_ROW))(LARGE_ROW)
