"""A task file that somebody mailed: its templates reach no Python and end within bounds, or are refused in words."""

import time
import tracemalloc

import pytest

from hf_core_bpb.errors import InputError
from hf_core_bpb.sandbox import MAX_LOOP
from hf_core_bpb.templates import compile_text, compile_value

ROW = {"text": "a_b", "options": ["x", "y"], "n": 3, "long": "abc" * 100_000, "many": list(range(100_000))}

# Ways out that have been published for jinja2 and its sandbox.
ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ text|attr('__class__') }}",
    "{{ text|attr('\x5f\x5fclass\x5f\x5f') }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ range.__init__.__globals__ }}",
    "{{ range.__self__ }}",
    "{{ config }}",
    "{{ '{0.__class__.__mro__}'.format(text) }}",
    "{{ '{0.__class__}'.format_map({'0': text}) }}",
    "{{ ''.format.__call__('{0.__class__}', text) }}",
    "{% set f = ''.format %}{{ f('{0.__class__}', text) }}",
    "{{ ['{0.__class__}']|map('format', text)|list }}",
    "{{ '%s' % text }}",
    "{{ [text]|map(attribute='__class__')|list }}",
    "{{ [text]|selectattr('__class__')|list }}",
    "{{ [text]|sort(attribute='__class__')|list }}",
    "{{ [text]|join(attribute='__class__') }}",
    "{{ text|xmlattr }}",
    "{% include 'x' %}",
    "{% import 'x' as x %}",
    "{% extends 'x' %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m.__globals__ }}",
    "{{ options.append('z') }}",
    "{{ options.pop() }}",
    "{{ options.__setitem__(0, 'z') }}",
    "{{ loop.__init__ }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_known_ways_out_are_refused(source):
    row = dict(ROW, options=["x", "y"])
    with pytest.raises(InputError, match="prompt: expected"):
        compile_text(source, "prompt", list(row))(row)
    assert row["options"] == ["x", "y"]


ENDLESS = [
    "{% for a in range(500) %}{% for b in range(500) %}{% for c in range(500) %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in many %}.{% endfor %}",
    "{% for a in long %}{% for b in long %}{% endfor %}{% endfor %}",
    "{% for a in range(10**9) %}.{% endfor %}",
    "{% for a in range(1000000000) %}.{% endfor %}",
    "{% for a in options recursive %}{{ loop(options) }}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ 'a' * 10000000000 }}",
    "{{ 10000000000 * 'a' }}",
    "{{ options * 10000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ '%1000000000d' % n }}",
    "{{ '{:1000000000}'.format(n) }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ 'a'.center(1000000000) }}",
    "{{ 'a'.ljust(1000000000) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ '\t'.expandtabs(1000000000) }}",
    "{{ 'a'|indent(1000000000) }}",
    "{{ lipsum(n=1000000) }}",
    "{{ long.replace('', long) }}",
    "{{ long|replace('a', long) }}",
    "{{ long.join(long) }}",
    "{{ long|list|join(long) }}",
    "{% for a in range(500) %}{{ long }}{% endfor %}",
    "{% set ns = namespace(s='ab') %}{% for a in range(500) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{% set x %}{{ long }}{{ long }}{% endset %}{{ x }}",
    "{{ text }}" * 1000,
]


@pytest.mark.parametrize("source", ENDLESS, ids=[source[:50] for source in ENDLESS])
def test_what_would_never_end_or_fill_the_memory_is_refused_soon_and_small(source):
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(InputError, match="prompt: expected"):
        compile_text(source, "prompt", list(ROW))(ROW)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.monotonic() - began < 5
    assert most < 100_000_000


@pytest.mark.parametrize(
    "source", ["range(501)", "options * 100000000", "long.replace('', long)", "9 ** 9", "''.__class__", "options.pop"]
)
def test_expressions_are_bound_as_templates_are(source):
    with pytest.raises(InputError, match="gold: expected"):
        compile_value(source, "gold", list(ROW))(ROW)


def test_what_prompts_need_works():
    for source, expected in (
        ("{{ text.partition('_')[0] }}{{ options|join(', ') }}", "ax, y"),
        ("{% for o in options %}{{ loop.index }}. {{ o|upper }}\n{% endfor %}", "1. X\n2. Y\n"),
        ("{{ text.replace('_', ' ', 1)|capitalize }} {{ 2 * n }} {{ n % 2 }} {{ '-' * n }}", "A b 6 1 ---"),
        ("{{ ', '.join(options) }}{{ text|replace('_', '') }}{{ options.index('y') }}", "x, yab1"),
        ("{% for i in range(n) %}{% for o in options %}{{ i }}{{ o }}{% endfor %}{% endfor %}", "0x0y1x1y2x2y"),
        ("{{ many[:" + str(MAX_LOOP) + "]|length }}", str(MAX_LOOP)),
    ):
        assert compile_text(source, "prompt", list(ROW))(ROW) == expected
    assert compile_value("[text[0] ~ options[1], options|map('upper')|list]", "x", list(ROW))(ROW) == ["ay", ["X", "Y"]]
