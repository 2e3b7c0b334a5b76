"""The jinja2 of task files: it reaches no Python, calls what is listed here, and ends within bounds (pure)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

# A prompt of ten shots has some 50,000 characters; the longest template of the suites 400, the longest list 80 items.
MAX_CHARACTERS = 10_000_000
MAX_SOURCE = 4_000
MAX_LOOP = 500
_MAX_DEPTH = 2
_MAX_BITS = 4_096

# No assignments, macros, blocks, imports: what cannot be kept cannot grow from step to step.
_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.Slice, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.If, nodes.For, nodes.CondExpr,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div,
    nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Concat, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair,
)  # fmt: skip
_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "int", "items", "join",
    "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round",
    "select", "selectattr", "sort", "string", "sum", "title", "trim", "unique", "upper",
)  # fmt: skip
_METHODS = frozenset((
    "capitalize", "casefold", "count", "endswith", "find", "get", "index", "isalnum", "isalpha", "isdecimal", "isdigit",
    "islower", "isnumeric", "isspace", "isupper", "items", "join", "keys", "lower", "lstrip", "partition",
    "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "upper", "values",
))  # fmt: skip
_BOUND = "within_loop_bound"


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox with a grammar, functions and sizes that a prompt needs, and no more."""

    intercepted_binops = frozenset(("*", "%"))

    def __init__(self, filters: Mapping[str, Callable[..., Any]]) -> None:
        """Take further filters by name."""
        super().__init__(
            undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, finalize=_refuse_nothing
        )
        self.filters = {name: FILTERS[name] for name in _FILTERS} | dict(filters)
        self.filters |= {"replace": _replace, "join": _join, _BOUND: _within_loop_bound}
        self.globals = {"range": _range}

    def checked(self, source: str) -> nodes.Template:
        """Return the tree of a template that keeps to the grammar; raises TemplateError for any other."""
        if len(source) > MAX_SOURCE:
            raise TemplateSyntaxError(f"more than {MAX_SOURCE:,} characters", 1)
        tree = self.parse(source)
        for node in tree.find_all(nodes.Node):
            if not isinstance(node, (*_NODES, nodes.EvalContextModifier)) and not isinstance(node, nodes.Helper):
                raise TemplateSyntaxError(f"{type(node).__name__}, which task files have no use for", node.lineno)
        _bound_loops(tree, 0)
        return tree

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Say whether an attribute may be read: data, and the methods that are listed."""
        return super().is_safe_attribute(obj, attr, value) and (not callable(value) or attr in _METHODS)

    def wrap_str_format(self, value: Any) -> None:
        """Take no method of strings for formatting: a width can be any number."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse what is unsafe when it is looked up, not when it is used."""
        raise SecurityError(f"unsafe attribute {attribute!r} of {type(obj).__name__}")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Multiply and take remainders of what cannot become large."""
        if operator == "%":
            if isinstance(left, str):
                raise SecurityError("formatting by %")
        else:
            sized, number = (left, right) if hasattr(left, "__len__") else (right, left)
            if hasattr(sized, "__len__"):
                _check_size(len(sized) * max(int(number), 0))
            elif max(int(left).bit_length(), int(right).bit_length()) > _MAX_BITS:
                raise SecurityError(f"numbers of more than {_MAX_BITS} bits")
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call what is safe, and of it what can grow within bounds."""
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and name == "replace":
            return _replace(owner, *args)
        if isinstance(owner, str) and name == "join" and len(args) == 1:
            return _join(args[0], owner)
        return super().call(context, obj, *args, **kwargs)


def render_within_bounds(template: Template, row: Mapping[str, Any]) -> str:
    """Return a template's text. Raises SecurityError for more than MAX_CHARACTERS."""
    parts = []
    length = 0
    for part in template.generate(row):
        length += len(part)
        _check_size(length)
        parts.append(part)
    return "".join(parts)


def _bound_loops(node: nodes.Node, depth: int) -> None:
    """Have every loop of a tree end; raises TemplateError for more than two in each other."""
    for child in node.iter_child_nodes():
        if not isinstance(child, nodes.For):
            _bound_loops(child, depth)
            continue
        if child.recursive or depth == _MAX_DEPTH:
            raise TemplateSyntaxError(f"loops in more than {_MAX_DEPTH} loops", child.lineno)
        child.iter = nodes.Filter(child.iter, _BOUND, [], [], None, None, lineno=child.lineno)
        _bound_loops(child, depth + 1)


def _within_loop_bound(values: Any) -> Iterator[Any]:
    for number, value in enumerate(values):
        if number == MAX_LOOP:
            raise SecurityError(f"a loop over more than {MAX_LOOP} items")
        yield value


def _range(*ends: Any) -> range:
    made = range(*(int(end) for end in ends))
    if len(made) > MAX_LOOP:
        raise SecurityError(f"a range of more than {MAX_LOOP} numbers")
    return made


def _replace(text: Any, old: Any, new: Any, count: Any = None) -> str:
    before, found, put = str(text), str(old), str(new)
    times = before.count(found) if count is None else min(before.count(found), max(int(count), 0))
    _check_size(len(before) + times * len(put))
    return before.replace(found, put, -1 if count is None else int(count))


def _join(values: Any, separator: Any = "", attribute: Any = None) -> str:
    if attribute is not None:
        raise SecurityError("join by an attribute; map(attribute=...) takes it first")
    parts = [str(value) for value in values]
    _check_size(sum(map(len, parts)) + len(parts) * len(str(separator)))
    return str(separator).join(parts)


def _check_size(size: int) -> None:
    if size > MAX_CHARACTERS:
        raise SecurityError(f"more than {MAX_CHARACTERS:,} characters")


def _refuse_nothing(value: Any) -> Any:
    if value is None:
        raise ValueError("null where text is needed")
    return value
