"""Ordinary templates: rendered as jinja2 renders them, and within the bounds of docs/templates.md."""

import re

import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from support.template_attacks import ROW

from hf_core_bpb.data.sandbox import FILTERS, METHODS, TESTS
from hf_core_bpb.data.templates import compile_text, compile_value
from hf_core_bpb.errors import InputError

PLAIN = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
PLAIN_ROW = {
    "q": " What is\tit? ", "options": ["Beta", "alpha", "Gamma"], "n": 3, "x": 2.5, "yes": True, "empty": [],
    "people": [{"name": "Ann", "age": 3}, {"name": "Bo", "age": 2}], "d": {"b": 1, "a": [4, 5]},
    "pairs": [("k", 1), ("l", 2)], "lines": "one\ntwo\n\nthree",
}  # fmt: skip
ORDINARY = [
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
    "{% for o in options %}{{ 'ABC'[loop.index0] }}. {{ o }}{% if not loop.last %}\n{% endif %}{% endfor %}",
    "{{ q.strip().rstrip('?') }}{{ lines.split('\n')[0] }}{{ options|map('trim')|list|join('\n') }}{{ lines[:200] }}",
    "{{ d['b'] if 'b' in d else '' }}{{ ['no', 'yes'][n % 2] }}{{ people[0].name }}{{ people[0]['name'] }}",
    "{{ people|selectattr('name', 'eq', 'Bo')|map(attribute='age')|first }}{{ q|replace('\t', ' ')|trim }}",
    "{% for p in people %}{% if loop.first %}{{ p.name }}{% endif %}{{ loop.previtem is defined }}{% endfor %}",
    "{% for o in options %}{% for c in o[:2] %}{{ loop.index }}{{ c }}{% endfor %}{{ loop is defined }}{% endfor %}",
    "{{ n is string }}{{ q is string }}{{ options is string }}{{ q is upper }}{{ 'a' is lower }}{{ n is float }}",
    "{{ d.items()|list|length }}{{ d.keys()|join }}{{ d.items()|length }}{{ d.values()|first }}{{ d.get('b') }}",
    "{{ people|map(attribute='name.0')|join }}{{ pairs|map(attribute=1)|sum }}{{ pairs|sum(attribute='1', start=2) }}",
    "{{ pairs|sort(attribute='1', reverse=true)|map('first')|join }}{{ people|min(attribute='age') == people[1] }}",
    "{{ people|join(', ', attribute='name') }}{{ options|join(d=' / ') }}{{ options|reverse|join }}{{ q|reverse }}",
    "{{ empty|map('upper')|list|length }}{{ empty|join }}{{ empty|first is defined }}{{ empty|sum }}",
    "{{ 'x' if yes is defined else 'y' }}{{ ', ' if false }}{{ (q or 'none')|length }}{{ empty and 1 == 2 or n }}",
    "{{ options|map('replace', 'a', 'b')|join }}{{ options|map('default', 'x')|join }}{{ options|map('length')|sum }}",
    "{{ 10 ~ '%' }}{{ 7.5 // 2 }}{{ -7 % 4 }}{{ 2 * 'ab' }}{{ [1] + [2] == [1, 2] }}{{ (1, 2)[1] }}{{ 'b' > 'a' }}",
]  # fmt: skip
WORKING = [
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
    ("{% for i in range(3) %}{{ many[i] }}{% endfor %}{{ many[40000:][0] }}", "01240000"),
]
VALUES = [
    ("[text[0] ~ options[1], options|map('upper')|list]", ["ay", ["X", "Y"]]),
    ("options", ["x", "y"]),
    ("n", 3),
    ("n == 3", True),
    ("nothing", None),
    ("range(n)|list", [0, 1, 2]),
    ("people[0]", {"name": "Ann", "age": 3}),
    ("{'a': n}", {"a": 3}),
    ("(n, text)", (3, "a_b")),
    ("value + n", 8),
]


@pytest.mark.parametrize("source", ORDINARY)
def test_an_ordinary_template_is_rendered_as_jinja2_renders_it(source):
    assert compile_text(source, "prompt", list(PLAIN_ROW))(PLAIN_ROW) == PLAIN.from_string(source).render(PLAIN_ROW)


@pytest.mark.parametrize(("source", "expected"), WORKING)
def test_a_template_reads_parts_of_large_columns_and_writes_text(source, expected):
    assert compile_text(source, "prompt", list(ROW))(ROW) == expected


@pytest.mark.parametrize(("source", "expected"), VALUES)
def test_an_expression_gives_its_value(source, expected):
    row = ROW | {"value": 5}
    assert compile_value(source, "gold", list(row))(row) == expected


def test_an_unknown_column_is_named_with_the_columns_of_the_dataset():
    with pytest.raises(InputError, match=r"prompt: expected columns of the dataset \(a, b\), got c, d$"):
        compile_text("{{ a }}{% for x in c %}{{ x }}{{ d }}{% endfor %}", "prompt", ["a", "b"])


def test_an_error_of_a_template_names_key_and_template():
    with pytest.raises(InputError, match=r"^prompt: expected a jinja2 template, got .+: '{{ a \| }}'$"):
        compile_text("{{ a | }}", "prompt", ["a"])


def test_an_error_of_a_row_names_key_and_template():
    with pytest.raises(
        InputError, match=r"^gold: expected a row that fits 'a.b', got nothing where a value is needed$"
    ):
        compile_value("a.b", "gold", ["a"])({"a": {}})


@pytest.fixture
def page(pytestconfig):
    return (pytestconfig.rootpath / "docs" / "templates.md").read_text()


@pytest.mark.parametrize(("heading", "names"), [("Filters", FILTERS), ("Tests", TESTS), ("Methods", METHODS)])
def test_the_page_on_templates_lists_all_that_they_may_use(page, heading, names):
    section = page.split(f"## {heading}\n", 1)[1].split("\n\n")[1]
    assert sorted(re.findall(r"`([^`]+)`", section)) == sorted(names)


BOUNDS = [
    (4_000, lambda n: "x" * n),
    (30, lambda n: "{{ " + "-" * (n - 3) + "1 }}"),
    (500_000, lambda n: "{{ 'x' * " + str(n) + " }}"),
    (50_000, lambda n: "{{ ([0] * " + str(n) + ")|length }}"),
    (4_096, lambda n: "{{ 0x" + "f" * (n // 4) + "1" * (n % 4) + " + 0 }}"),
    (100, lambda n: "{{ text.rfind('" + "x" * n + "') }}"),
    (100, lambda n: "{{ text|trim('" + "x" * n + "') }}"),
    (100, lambda n: "{{ 1|round(" + str(n) + ") }}"),
]


@pytest.mark.parametrize(("limit", "source"), BOUNDS)
def test_a_template_at_a_bound_is_rendered(limit, source):
    assert compile_text(source(limit), "prompt", list(ROW))(ROW)


@pytest.mark.parametrize(("limit", "source"), BOUNDS)
def test_a_template_beyond_a_bound_is_rejected(limit, source):
    with pytest.raises(InputError):
        compile_text(source(limit + 1), "prompt", list(ROW))(ROW)


@pytest.mark.parametrize("limit", [4_000, 30, 500_000, 4_096, 100, 10_000_000])
def test_the_page_on_templates_states_the_bounds(page, limit):
    assert f" {limit:,} " in page.split("## Bounds\n", 1)[1]


READING = "{% for i in range(ROUNDS) %}{% if most %}{% endif %}{% endfor %}read"


def test_a_template_that_reads_its_row_within_the_bound_on_work_is_rendered():
    assert compile_text(READING.replace("ROUNDS", "19"), "prompt", list(ROW))(ROW) == "read"


def test_a_template_that_reads_its_row_beyond_the_bound_on_work_is_rejected():
    with pytest.raises(InputError, match="more than 10,000,000 characters read and made"):
        compile_text(READING.replace("ROUNDS", "20"), "prompt", list(ROW))(ROW)
