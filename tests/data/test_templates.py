"""A task file that somebody mailed: its templates reach no Python and end within bounds, or are refused in words."""

import re
import time
import tracemalloc
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from hf_core_bpb.data.sandbox import FILTERS, METHODS, TESTS
from hf_core_bpb.data.section_marks import without_section_marks
from hf_core_bpb.data.templates import compile_text, compile_value
from hf_core_bpb.errors import InputError

NESTED = []
for _ in range(5_000):
    NESTED = [NESTED]
ROW = {
    "text": "a_b", "options": ["x", "y"], "n": 3, "nothing": None, "long": "abc" * 100_000, "most": "a" * 499_999,
    "many": list(range(49_000)), "parts": {"a": "q" * 400_000}, "nested": NESTED,
    "bytes": b"a" * 30_000, "big": 10**4_000,
    "people": [{"name": "Ann", "age": 3}, {"name": "Bo", "age": 2}],
    "decimal": Decimal("1E+9999999"), "digits": Decimal("1." + "1" * 100_000),
    "waves": "\N{WATER WAVE}" * 499_999, "day": date(2026, 1, 2),
}  # fmt: skip

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
    "{{ range }}",
    "{{ self }}",
    "{{ text.split }}",
    "{{ [text.split][0]('_') }}",
    "{{ options|map('upper') }}",
    "{% for o in options %}{{ loop }}{% endfor %}",
    "{{ [options]|map(attribute='append')|list }}",
    "{{ text is callable }}",
    "{{ text.__doc__ }}",
    "{{ [text]|map(attribute='__doc__')|list|length }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_known_ways_out_are_refused(source):
    row = dict(ROW, options=["x", "y"])
    with pytest.raises(InputError, match="prompt: expected"):
        compile_text(source, "prompt", list(row))(row)
    assert row["options"] == ["x", "y"]


ENDLESS = [
    "{% for a in range(500) %}{% for b in range(500) %}{% for c in range(500) %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in many %}{% for b in many %}.{% endfor %}{% endfor %}",
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
    "{{ ['a' * 999999] * 999999 }}",
    "{{ ([['a' * 999999]] * 9999)|join }}",
    "{{ ('a' * 9999)|map('replace', 'a', 'b' * 90000)|list }}",
    "{{ ('a' * 9999)|map('default', most)|list }}",
    "{{ ([[1] * 90] * 1000)|sum(start=[]) }}",
    "{{ 5|round(9999999, 'ceil') }}",
    "{{ [5]|map('round', 9999999)|list }}",
    "{{ ('f' * 400000)|int(0, 16) // 7 }}",
    "{{ most.split('a')|map('list')|list }}",
    "{{ most|list|select('in', most)|list }}",
    "{{ most.strip(most) }}",
    "{{ most|trim(most) }}",
    "{{ 'a'.replace('a', most * 2, -1) }}",
    "{{ 'aa'|replace('a', most, count=-1) }}",
    *(
        "{% for a in range(500) %}{% for b in range(500) %}" + body + "{% endfor %}{% endfor %}"
        for body in (
            "{{ most|upper|length }}",
            "{% if most == most[::-1] %}{% endif %}",
            "{% if parts.a == parts['a'] %}{% endif %}",
            "{% if most[::-1][::-1][0] == 'b' %}{% endif %}",
            "{% if most is lower %}{% endif %}",
            "{{ (most ~ 'b')|length }}",
        )
    ),
    "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
    "{{ many|sort(attribute='0,' * 1000 ~ '0')|length }}",
    "{{ many|max(attribute='0.' * 1000 ~ '0') }}",
    "{{ many|map(attribute='0.' * 1000 ~ '0')|list|length }}",
    "{{ many|selectattr('0.' * 1000 ~ '0')|list|length }}",
    "{{ many|join(attribute='0.' * 1000 ~ '0') }}",
    "{{ range(9000)|map(attribute='x', default='A' * 400000)|sort|length }}",
    "{{ range(9000)|map(attribute='x', default='A' * 400000)|max|length }}",
    "{{ range(9000)|map(attribute='x', default='A' * 400000)|list|length }}",
    "{{ most.rfind('ab' ~ 'a' * 200000) }}",
    "{{ most.rsplit('ab' ~ 'a' * 200000)|length }}",
    "{{ most.rsplit(sep='ab' ~ 'a' * 200000)|length }}",
    "{{ most.rpartition('ab' ~ 'a' * 200000)|length }}",
    "{% for i in many %}{% if (" + ("i" + ".real" * 20 + ",") * 29 + ") %}{% endif %}{% endfor %}",
    "{% for i in range(5000) %}{% if (" + "i," * 1900 + ") %}{% endif %}{% endfor %}",
    "{% for i in range(5000) %}{% if (" + "1+1," * 900 + ") %}{% endif %}{% endfor %}",
    "{{ bytes.replace(bytes[0:1], bytes)|length }}",
    "{{ bytes.strip(bytes)|length }}",
    "{{ decimal|int }}",
    "{{ waves|sort|length }}",
    "{{ waves|list|length }}",
    "{{ waves|map('upper')|list|length }}",
    "{{ (parts.keys() - ['zz'])|join }}",
    "{% for a in many %}{% if most.count('ba') %}{% endif %}{% endfor %}",
    "{% for a in many %}{% for b in many %}{% if big * big %}{% endif %}{% endfor %}{% endfor %}",
    "{% if ('f' * 400000)|int(0, 16) % 7 %}{% endif %}",
    "{{ 5|round(-9999999) }}",
    "{% for a in range(4) %}{{ long }}{% endfor %}",
    "{{ [0] * 50001 }}",
    "{{ '%2000000000d' is even }}",
    "{{ '%2000000000d' is divisibleby 3 }}",
    "{{ ['%2000000000d']|select('odd')|list }}",
    "{{ 'a'|round(9, 'ceil') }}",
    "{{ [1]|round(9, 'floor') }}",
    "{% for r in [range(49999)] %}{% for i in range(13000) %}{{ r.count(0.5) }}{% endfor %}{% endfor %}",
    "{% for a in many %}{% if '" + "a" * 600 + "b" + "a" * 600 + "' in '" + "a" * 2400 + "' %}{% endif %}{% endfor %}",
    "{% for a in many %}{% if [" + "{}," * 1000 + "] %}{% endif %}{% endfor %}",
    "{% if range(0, 115269092030592560610490, 2305843009213693951) - {}.keys() %}{% endif %}",
    "{% for b in [" + "9" * 1230 + "] %}{% if ([b] * 49000) is lower %}{% endif %}{% endfor %}",
    "{% for b in [" + "9" * 1230 + "] %}{{ ([b] * 49000)|join }}{% endfor %}",
    "{% for b in [" + "9" * 1230 + "] %}{{ range(b, b + 40000)|list|length }}{% endfor %}",
    "{% for i in many %}" + "{{''}}{% if 1 %}{{''}}{% endif %}" * 100 + "{% endfor %}",
    "{% for i in many %}{% if digits|float %}{% endif %}{% endfor %}",
    "{{ {[]: 1} ~ 'x' }}",
    "{{ {[]: 1} > 1 }}",
    "{{ [1e999] }}",
    "{{ nested }}",
    "{{ nested == nested[0] }}",
    "{{ " + "(" * 300 + "1" + ")" * 300 + " }}",
    "{{ 1" + "|abs" * 900 + " }}",
    "{{ 1" + "+1" * 900 + " }}",
    "{{ text" + ".a" * 1900 + " }}",
    "{% if n %}" * 150 + "{% endif %}" * 150,
    "{% for i in options %}" * 25 + "{% endfor %}" * 25,
    "{{ 0x" + "f" * 3900 + " }}",
]


@pytest.mark.parametrize("source", ENDLESS, ids=[source[:50] for source in ENDLESS])
def test_what_would_never_end_or_fill_the_memory_is_refused_soon_and_small(source):
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(InputError, match="prompt: expected"):
        compile_text(source, "prompt", list(ROW))(ROW)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - began < 5
    assert most < 100_000_000


EXPRESSIONS = [
    "range(10 * 1000 * 1000)", "options * 100000000", "long.replace('', long)", "9 ** 9", "''.__class__", "options.pop",
    "text.split", "options|map('upper')", "parts.values()",
    "[text|map('upper')]", "day - day", "text|map('rounds ')|list", "[most, most]", "[0] * 50001",
    "1 }}{{ 2", "[" * 300 + "]" * 300,
]  # fmt: skip


@pytest.mark.parametrize("source", EXPRESSIONS)
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
        (
            "{% for o in options %}{{ (' ' ~ o ~ '-').strip().rstrip('-') }}{{ ', '.join(options) }}"
            "{{ o.replace('x', 'z') }}{{ o.rsplit(' ', 1)|last }}{% endfor %}",
            "xx, yzxyx, yyy",
        ),
        ("{{ ([0] * 49999)|length }}", "49999"),
        ("{{ many[:500]|length }}{{ most[-2:] }}", "500aa"),
        ("{{ 'aaa'|replace('a', 'b', count=0) }}{{ 'aaa'|replace('a', 'b', count=1) }}", "aaabaa"),
        ("{{ 'aaa'.replace('a', 'b', -1) }}{{ '--a-'.strip('-') }}{{ ' a '|trim }}", "bbbaa"),
        (
            "{{ [1, 2]|sum }}{{ 2.345|round(2) }}{{ options|select('eq', 'x')|first }}{{ parts.a|length }}",
            "32.35x400000",
        ),
        ("{{ (text.upper().split('_')[1] ~ n)[::-1] }}{{ 1 if n is odd else 2 }}{{ n is defined }}", "3B1True"),
        (
            "{{ people|join(' ', attribute='name') }}{{ people|sum('age') }}{{ people|sum(attribute='age', start=1) }}",
            "Ann Bo56",
        ),
        (
            "{% for p in people|sort(attribute='age') %}{{ p.name }}{{ (loop.nextitem|default(p)).age }}{% endfor %}",
            "Bo3Ann3",
        ),
        (
            "{{ text.rsplit('_', 1)|first }}{{ text.rsplit('_', maxsplit=1)|last }}{{ text.rfind('b') }}{{ day }}",
            "ab22026-01-02",
        ),
        (
            "{{ people|map(attribute='age')|max }}{{ people|selectattr('age', 'gt', 2)|map(attribute='name')|first }}",
            "3Ann",
        ),
        ("{{ " + "(" * 30 + "1" + ")" * 30 + " }}{{ text" + "|upper" * 27 + " }}", "1A_B"),
    ):
        assert compile_text(source, "prompt", list(ROW))(ROW) == expected
    assert compile_value("[text[0] ~ options[1], options|map('upper')|list]", "x", list(ROW))(ROW) == ["ay", ["X", "Y"]]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ nothing }}", "null where text is needed"),
        ("{{ nothing ~ text }}", "null where text is needed"),
        ("{{ [nothing]|join }}", "null where text is needed"),
        ("{{ options }}", "a list where text is needed"),
        ("{{ options ~ text }}", "a list where text is needed"),
        ("{{ options|lower }}", "a list where text is needed"),
        ("{{ nothing|title }}", "null where text is needed"),
        ("{{ options|map('upper')|lower }}", "a generator where text is needed"),
        ("{% for o in options %}{{ loop|upper }}{% endfor %}", "a LoopContext where"),
        ("{{ day - day }}", "a timedelta where text is needed"),
        ("{{ [text]|map('concat ')|list }}", "no filter named 'concat '"),
        ("{{ self }}", "the name self, which jinja2 keeps for itself"),
        ("{{ [options]|join }}", "a list where text is needed"),
        ("{{ parts }}", "a dict where text is needed"),
        ("{{ bytes }}", "a bytes where a value is needed"),
        ("{{ parts.keys() - ['zz'] }}", "a dict_keys where a number is needed"),
        ("{{ options.index('z' * 400000) }}", "zzzz\\.\\.\\.$"),
    ],
)
def test_what_is_no_text_is_not_written_as_python_would_write_it(source, said):
    with pytest.raises(InputError, match=said):
        compile_text(source, "prompt", list(ROW))(ROW)


@given(st.text(alphabet="[]ab \n[]", max_size=40))
def test_section_marks_are_those_of_the_published_expression(text):
    expected = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")
    assert without_section_marks(text) == expected


def test_many_section_marks_take_no_time():
    began = time.process_time()
    assert without_section_marks("[" * 1_000_000) == "[" * 1_000_000
    assert without_section_marks("[a]" * 300_000) == ""
    assert time.process_time() - began < 5


def test_the_page_on_templates_names_all_that_they_may_use(pytestconfig):
    page = (pytestconfig.rootpath / "docs" / "templates.md").read_text()
    after = [page.split(f"\n\n{head}", 1)[1].split("\n\n")[1] for head in ("Filters,", "Tests,", "Methods of")]
    named = [set(re.findall(r"`([^`]+)`", part)) for part in after]
    assert named == [set(FILTERS), set(TESTS), METHODS]


@pytest.mark.parametrize(
    ("most", "source"),
    [
        (4_000, lambda n: "x" * n),
        (500_000, lambda n: "{{ 'x' * " + str(n) + " }}"),
        (50_000, lambda n: "{{ ([0] * " + str(n) + ")|length }}"),
        (4_096, lambda n: "{{ 0x" + "f" * (n // 4) + "1" * (n % 4) + " + 0 }}"),
        (100, lambda n: "{{ text.rfind('" + "x" * n + "') }}"),
        (100, lambda n: "{{ text|trim('" + "x" * n + "') }}"),
        (100, lambda n: "{{ 1|round(" + str(n) + ") }}"),
        (4, lambda n: "{{ people|map(attribute='" + ".".join(["x"] * n) + "', default='')|list|length }}"),
    ],
)
def test_bounds_are_where_the_page_says_they_are(most, source):
    compile_text(source(most), "prompt", list(ROW))(ROW)
    with pytest.raises(InputError):
        compile_text(source(most + 1), "prompt", list(ROW))(ROW)


PLAIN = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
PLAIN_ROW = {
    "q": " What is\tit? ", "options": ["Beta", "alpha", "Gamma"], "n": 3, "x": 2.5, "yes": True, "empty": [],
    "people": [{"name": "Ann", "age": 3}, {"name": "Bo", "age": 2}], "d": {"b": 1, "a": [4, 5]},
    "pairs": [("k", 1), ("l", 2)], "lines": "one\ntwo\n\nthree",
}  # fmt: skip


@pytest.mark.parametrize(
    "source",
    [
        "{{ q }}{{ n }}{{ x }}{{ yes }}{{ -n }}{{ +x }}{{ 'a' 'b' }}\n",
        "{{ q.strip() }}|{{ q|trim }}|{{ q.split() | join('-') }}|{{ q.split(' ', 1)[1] }}|{{ q.strip(' ?') }}",
        "{% for o in options %}{{ loop.index }}/{{ loop.length }}. {{ o }}{{ ', ' if not loop.last }}{% endfor %}",
        "{% for o in options if o != 'alpha' %}{{ loop.index0 }}{{ loop.revindex }}"
        "{{ o[0] }}{% else %}none{% endfor %}",
        "{% for o in empty %}{{ o }}{% else %}none{% endfor %}",
        "{% for p in people %}{% for k, v in p.items() %}{{ k }}={{ v }};{% endfor %}{{ loop.first }}{% endfor %}",
        "{% for k, v in pairs %}{{ k }}{{ v }}{{ loop.depth }}{% endfor %}",
        "{{ pairs[1][0] }}{{ pairs|map('first')|join }}",
        "{% for o in options %}{{ o.replace('a', 'b', 1) }}{{ ' '.join([o, q.strip()]) }}"
        "{{ o.upper().lower() }}{% endfor %}",
        "{% if n > 2 and yes %}a{% elif n == 1 or not yes %}b{% else %}c{% endif %}{{ 'd' if n in [1, 2] else 'e' }}",
        "{{ options|sort|join(',') }}{{ options|sort(reverse=true, case_sensitive=true)|join(',') }}{{ options|max }}",
        "{{ people|sort(attribute='age')|map(attribute='name')|join }}",
        "{{ people|sum('age') }}{{ (people|max(attribute='age')).name }}",
        "{{ people|selectattr('age', 'gt', 2)|map(attribute='name')|list|join }}",
        "{{ people|rejectattr('age', 'odd')|list|length }}",
        "{{ options|select('in', ['alpha', 'x'])|join }}",
        "{{ [1, 2, 3]|reject('even')|join }}{{ options|map('upper')|join }}",
        "{{ d.a[0] }}{{ d['b'] }}{{ d.get('c', 7) }}{{ d|dictsort|map('first')|join }}",
        "{{ d|items|map('first')|join }}{{ d|length }}",
        "{{ d.c|default('none') }}{{ d.c is defined }}{{ d.a is sequence }}{{ n is divisibleby 3 }}{{ x is number }}",
        "{{ options[::-1]|join }}{{ options[1:]|first }}{{ options[-1] }}{{ q[1:5] }}{{ q[::-1] }}{{ options|last }}",
        "{{ 7 // 2 }}{{ 7 % 4 }}{{ 7 / 2 }}{{ 2 * n + 1 }}{{ '-' * n }}",
        "{{ [0] * 2 == [0, 0] }}{{ 'a' ~ n ~ x }}{{ 'a' + 'b' }}",
        "{{ '7'|int + 1 }}{{ 'x'|int(5) }}{{ '2.5'|float }}",
        "{{ 2.567|round(1) }}{{ 2.5|round(method='floor') }}{{ -3|abs }}",
        "{%- for i in range(n) -%} {{ i }} {%- endfor -%} {# gone #}{% raw %}{{ q }}{% endraw %}",
        "{{ q|title }}{{ q|capitalize }}{{ q|upper|lower }}",
        "{{ q|replace('i', 'I', count=1) }}{{ lines.splitlines()|length }}",
        "{{ q.find('is') }}{{ q.count('i') }}{{ q.startswith(' W') }}",
        "{{ q.partition('is')[2] }}{{ q.rsplit(None, 1)|last }}",
        "{{ range(1, 7, 2)|join }}{{ range(n)|list|length }}",
        "{{ options.index('alpha') }}{{ [n, x]|min }}{{ [[1], [2]]|length }}",
    ],
)  # fmt: skip
def test_ordinary_templates_are_rendered_as_jinja2_renders_them(source):
    assert compile_text(source, "prompt", list(PLAIN_ROW))(PLAIN_ROW) == PLAIN.from_string(source).render(PLAIN_ROW)
