"""jinja2's sandbox for templates from untrusted task files: an allow-list, and a count of each rendering's work."""
# ruff: noqa: SIM905

from collections.abc import Callable, Mapping, MappingView
from datetime import date, time, timedelta
from decimal import Decimal
from functools import partial
from numbers import Number
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, filters, meta, nodes, tests
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context, pass_environment
from jinja2.visitor import NodeTransformer

from hf_core_bpb.data.section_marks import without_section_marks

# docs/templates.md lists these limits and names. Sizes and work are in characters.
MAX_SOURCE, MAX_SIZE, MAX_WORK = 4_000, 500_000, 10_000_000
MAX_NESTING, MAX_BITS, MAX_ARGUMENT, ITEM, STEP = 30, 4_096, 100, 10, 50
FILTERS = """abs capitalize count d default dictsort first float int items join last length list lower map max min
    reject rejectattr replace reverse round select selectattr sort string sum title trim upper
    without_section_marks""".split()
TESTS = """!= < <= == > >= boolean defined divisibleby eq equalto even false float ge greaterthan gt in integer
    iterable le lessthan lower lt mapping ne none number odd sequence string true undefined upper""".split()
METHODS = """capitalize casefold count endswith find get index isalnum isalpha isdecimal isdigit islower isnumeric
    isspace isupper items join keys lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition
    rsplit rstrip split splitlines startswith strip swapcase title upper values""".split()
# Without assignments, macros and blocks no value outlives its step, so none grows from step to step.
_NODES = """And Compare CondExpr Const Dict Filter For Getattr Getitem If Keyword List Name Neg Not Operand Or Output
    Pair Pos Slice Template TemplateData Test Tuple""".split()
_COUNTED_NODES = "Const Dict Getattr Getitem List Name Tuple".split()
# Functions that would format a value of another type, and functions that read their arguments once per item.
_OF_TEXT = {*"capitalize lower lower? replace string title trim upper upper?".split()}
_OF_NUMBERS = {*"divisibleby? even? odd? round".split()}
_OF_ITEMS = {*"join list map max min reject rejectattr select selectattr sort sum".split()}
_NUMBERS = (Number, date, time, timedelta, Undefined)
_DATA = (str, Number, date, time, list, tuple, dict, range, type(None))
# Functions whose time grows with the product of text and argument, or with 10 to the power of the argument.
_OF_SHORT_ARGUMENTS = {*".lstrip .rfind .rindex .rpartition .rsplit .rstrip .strip round trim".split()}


def _limit(size: int, limit: int = MAX_SIZE, unit: str = "characters") -> int:
    if size > limit:
        raise SecurityError(f"more than {limit:,} {unit}")
    return size


def _check_type(value: Any, wanted: str, *types: type) -> Any:
    if not isinstance(value, types):
        names = {"NoneType": "null", "map": "an iterator", "StrictUndefined": "nothing", "Undefined": "nothing"}
        raise TypeError(f"{names.get(type(value).__name__, f'a {type(value).__name__}')} where {wanted} is needed")
    return value


def _text_of(value: Any) -> str:
    return str(_check_type(value, "text", str, Number, date, time, Undefined))


def _size_of(value: Any) -> int:
    size = 0
    if isinstance(value, dict):
        value = [*value, *value.values()] if _limit(len(value)) else []
    if isinstance(value, str):
        size = len(value)
    elif isinstance(value, list | tuple | range):
        size = _limit(ITEM * len(value))
        for part in () if isinstance(value, range) else value:
            size = _limit(size + _size_of(part))
    elif isinstance(value, int):
        size = _limit(value.bit_length(), MAX_BITS, "bits") // 3
    elif isinstance(value, Decimal):
        size = _limit(4 * (len(value.as_tuple().digits) + abs(value.adjusted())), MAX_BITS, "bits") // 3
    else:
        _check_type(value, "a value", *_NUMBERS, type(None))
    return _limit(size)


@pass_environment
def _join(environment: Any, values: Any, d: Any = "", attribute: Any = None) -> str:
    values = values if attribute is None else map(filters.make_attrgetter(environment, attribute), values)
    return _text_of(d).join(map(_text_of, values))


@pass_environment
def _sum(environment: Any, values: Any, attribute: Any = None, start: Any = 0) -> Any:
    return filters.sync_do_sum(environment, values, attribute, +start)  # rejects a list, which every step would copy


def _replace(text: str, old: Any, new: Any, count: int | None = None) -> str:
    before, after, times = _text_of(old), _text_of(new), -1 if count is None else count
    _limit(len(text) + len(after) * (text.count(before) if times < 0 else min(text.count(before), times)))
    return text.replace(before, after, times)


def _call_method(name: str, owner: Any, *args: Any, **kwargs: Any) -> Any:
    return getattr(owner, name)(*args, **kwargs)


class _Rendering(Context):
    """The rendering of one row, and how many characters it has read and made."""

    work = 0

    def count(self, value: Any, also: int = 0) -> Any:
        """Count a value and return it; the items of an iterator are counted when it yields them."""
        if hasattr(value, "__next__"):
            return map(self.count, value)
        size = _size_of(list(value) if issubclass(type(value), MappingView) else value)
        self.work = _limit(self.work + STEP + also + size, MAX_WORK, "characters read and made")
        return value


def _compute(operator: str, context: _Rendering, left: Any, right: Any) -> Any:
    for values, times in ((left, right), (right, left)) if operator == "*" else ():
        if hasattr(values, "__len__") and hasattr(times, "__index__"):
            _limit(_size_of(values) * int(times))
    for number in (left, right) if operator not in "+*" else ():  # `%` formats texts, `-` makes a set of keys
        _check_type(number, "a number", *_NUMBERS)
    return context.count(_SANDBOX.binop_table[operator](left, right))


def _step(name: str, function: Any) -> Callable[..., Any]:
    """Return a filter or test that checks its operands, and counts its result and what it reads for each item."""
    passed = getattr(getattr(function, "jinja_pass_arg", None), "name", None)

    @pass_context
    def run(context: _Rendering, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        arguments = (*args, *kwargs.values())
        for argument in arguments if name in _OF_SHORT_ARGUMENTS else ():
            length = len(argument) if isinstance(argument, str) else abs(argument) if name == "round" else 0
            _limit(length, MAX_ARGUMENT, f"characters or digits in an argument of {name}")
        if name in _OF_TEXT:
            value = _text_of(value)
        elif name in _OF_NUMBERS:
            value = _check_type(value, "a number", *_NUMBERS)
        elif name in _OF_ITEMS and value:
            also = sum(map(_size_of, arguments)) + STEP * sum(map(str(arguments).count, ".,"))  # `attribute` is a path
            value = map(partial(context.count, also=also), value)
        if passed is not None:
            args = (value, *args)
            value = context.environment if passed == "environment" else context
        return context.count(function(value, *args, **kwargs))

    return run


class _Steps(NodeTransformer):
    """Rejects nodes that templates may not use, and makes a filter of each step that may take time or memory."""

    depth = 0
    source: nodes.Node | None = None

    def visit(self, node: Any) -> nodes.Node:
        # Only the last value of `row.a.b[0]` is read. A slice is a copy.
        is_part = node is self.source and not isinstance(getattr(node, "arg", None), nodes.Slice)
        self.depth = _limit(self.depth + 1, MAX_NESTING, "parts in parts")
        match node:
            case nodes.Call(node=nodes.Getattr(node=owner, attr="join"), args=[values]):
                node = nodes.Filter(values, "join", [owner], node.kwargs, node.dyn_args, node.dyn_kwargs)
            case nodes.Call(node=nodes.Getattr(node=owner, attr=name)) if name in METHODS:
                node = nodes.Filter(owner, f".{name}", node.args, node.kwargs, node.dyn_args, node.dyn_kwargs)
            case nodes.Call(node=nodes.Name(name="range")):
                node = nodes.Filter(nodes.Const(None), ".range", node.args, node.kwargs, node.dyn_args, node.dyn_kwargs)
            case nodes.BinExpr(operator="+" | "-" | "*" | "/" | "//" | "%"):
                node = nodes.Filter(node.left, node.operator, [node.right], [], None, None)
            case nodes.Concat():
                node = nodes.Filter(nodes.List(node.nodes), "join", [], [], None, None)
            case nodes.For():
                node.body.insert(0, nodes.Output([nodes.Const("")]))  # counts each round
        kind = type(node).__name__
        if kind not in _NODES or any(getattr(node, field, None) for field in ("recursive", "dyn_args", "dyn_kwargs")):
            raise TemplateSyntaxError(f"{kind}, which templates cannot use", node.lineno)
        self.source = node.node if kind in ("Getattr", "Getitem") else None
        self.generic_visit(node)
        self.depth -= 1
        is_counted = kind in _COUNTED_NODES and not is_part and getattr(node, "ctx", "load") == "load"
        return nodes.Filter(node, "=", [], [], None, None) if is_counted else node


class _Sandbox(ImmutableSandboxedEnvironment):
    context_class = _Rendering

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        raise SecurityError(f"unsafe attribute {attribute!r} of {type(obj).__name__}")

    def call_filter(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if name not in FILTERS:
            raise SecurityError(f"no filter named {name!r}")
        return super().call_filter(name, *args, **kwargs)


_SANDBOX = _Sandbox(undefined=StrictUndefined, keep_trailing_newline=True, optimized=False, finalize=_text_of)
_SANDBOX.globals = {}
_FUNCTIONS: dict[str, Any] = {name: filters.FILTERS.get(name) for name in FILTERS}
_FUNCTIONS |= {f".{name}": partial(_call_method, name) for name in METHODS if name != "join"}
_FUNCTIONS |= {"join": _join, "replace": _replace, ".replace": _replace, "string": _text_of, "sum": _sum}
_FUNCTIONS |= {".range": lambda _, *args: range(*args), "without_section_marks": without_section_marks}
_SANDBOX.filters = {name: _step(name, function) for name, function in _FUNCTIONS.items()}
_SANDBOX.filters |= {name: pass_context(partial(_compute, name)) for name in ("+", "-", "*", "/", "//", "%")}
_SANDBOX.filters["="] = pass_context(_Rendering.count)
_SANDBOX.tests = {name: _step(f"{name}?", tests.TESTS[name]) for name in TESTS}


def compile_template(source: str, is_value: bool) -> tuple[set[str], Callable[[Mapping[str, Any]], Any]]:
    """Return the columns that a template reads, and a function from a row to its text or to an expression's value."""
    _limit(len(source), MAX_SOURCE)
    tree = _SANDBOX.parse(f"{{{{ {source} }}}}" if is_value else source)
    _Steps().visit(tree)
    if is_value:
        parts = [part for node in tree.body for part in node.iter_child_nodes()]
        _limit(len(parts), 1, "expression")
        tree.body = [nodes.Assign(nodes.Name("value", "store"), parts[0], lineno=1)]
    return meta.find_undeclared_variables(tree), partial(_render, _SANDBOX.from_string(tree), is_value)


def _render(template: Template, is_value: bool, row: Mapping[str, Any]) -> Any:
    context = template.new_context(dict(row))
    parts, size = [], 0
    for part in template.root_render_func(context):
        parts.append(part)
        size = _limit(size + len(part))
    return _check_type(context.vars["value"], "a value", *_DATA) if is_value else "".join(parts)
