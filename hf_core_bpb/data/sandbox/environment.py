"""jinja2's sandbox as prompts need it."""

from collections.abc import Callable, Iterator, Mapping
from datetime import date, time, timedelta
from numbers import Number
from operator import index
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from hf_core_bpb.data.sandbox.functions import FILTERS, METHODS, OWN_METHODS, TESTS, concat, text_of
from hf_core_bpb.data.sandbox.grammar import CONCAT, ROUNDS, STEPPED, TOO_DEEP, WEIGHED, check, weighing
from hf_core_bpb.data.sandbox.work import begin, check_kept, check_size, work_of

# The longest template of the suites has 400 characters.
MAX_SOURCE = 4_000
# What a round of a loop takes beside what it reads and makes: by itself, and for each part of its body.
_ROUND, _NODE = 50, 5


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox with a grammar, functions and sizes that a prompt needs, and no more.

    What an expression reads by name and what each of its steps makes is weighed, and a rendering may weigh MAX_WORK in
    all. A step takes about what it reads and makes; those that could take more are bounded before they are taken.
    """

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%"))

    def __init__(self, filters: Mapping[str, Callable[..., Any]]) -> None:
        """Take further filters by name."""
        super().__init__(
            undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False, optimized=False,
            finalize=text_of,
        )  # fmt: skip
        self.globals = {"range": range}
        plain: ImmutableSandboxedEnvironment = self.overlay()
        plain.filters = {**FILTERS, CONCAT: concat, **filters}
        plain.tests = dict(TESTS)
        self.filters = {name: _counted(plain.call_filter, name) for name in plain.filters}
        self.filters |= {WEIGHED: _weighed, STEPPED: _stepped, ROUNDS: _rounds}
        self.tests = {name: _counted(plain.call_test, name) for name in plain.tests}

    def text(self, source: str) -> Template:
        """Return a template; raises TemplateError for one that does not keep to the grammar."""
        return self._compiled(self._checked(source))

    def expression(self, source: str) -> Template:
        """Return a template that sets `value` to an expression's; raises TemplateError as `text` does."""
        tree = self._checked(f"{{{{ {source} }}}}")
        match tree.body:
            case [nodes.Output(nodes=[made])] if not isinstance(made, nodes.TemplateData):
                return self._compiled(nodes.Template([nodes.Assign(nodes.Name("value", "store"), made, lineno=1)]))
        raise TemplateSyntaxError("more than one expression", 1)

    def _checked(self, source: str) -> nodes.Template:
        if len(source) > MAX_SOURCE:
            raise TemplateSyntaxError(f"more than {MAX_SOURCE:,} characters", 1)
        try:
            tree = self.parse(source)
        except RecursionError:
            raise TemplateSyntaxError(TOO_DEEP, 1) from None
        check(tree)
        return tree

    def _compiled(self, tree: nodes.Template) -> Template:
        return self.from_string(weighing(tree).set_environment(self))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Say whether an attribute may be read: data, and the methods that are listed."""
        is_method = callable(value) and not isinstance(value, Undefined)
        return super().is_safe_attribute(obj, attr, value) and (not is_method or attr in METHODS)

    def wrap_str_format(self, value: Any) -> None:
        """Take no method of strings for formatting: a width can be any number."""

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Refuse what is unsafe when it is looked up, not when it is used."""
        raise SecurityError(f"unsafe attribute {attribute!r} of {type(obj).__name__}")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute what cannot become large."""
        work = work_of(context)
        weights = work.add(left), work.add(right)
        if operator == "*":
            for sized, weight, number in zip((left, right), weights, (right, left), strict=True):
                if hasattr(sized, "__len__") and hasattr(number, "__index__"):
                    check_size(weight * index(number))
        elif operator != "+":
            # Of texts % is formatting, of a dictionary's keys - makes a set.
            for operand in (left, right):
                if not isinstance(operand, Number | date | time | timedelta):
                    raise TypeError(f"a {type(operand).__name__} where a number is needed")
        made = super().call_binop(context, operator, left, right)
        work.add(made)
        return made

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call what is safe, and of it what can grow within bounds."""
        for name in ("_loop_vars", "_block_vars"):
            # What jinja2 hands on to functions that take its context; there is none.
            kwargs.pop(name, None)
        owner, name, work = getattr(obj, "__self__", None), getattr(obj, "__name__", ""), work_of(context)
        if owner is not None:
            work.add(owner)
        for read in (*args, *kwargs.values()):
            work.add(read)
        if isinstance(owner, str) and name in OWN_METHODS:
            made = OWN_METHODS[name](owner, *args, **kwargs)
        else:
            made = super().call(context, obj, *args, **kwargs)
        work.add(made)
        return made


def render(template: Template, row: Mapping[str, Any]) -> str:
    """Return a template's text. Raises SecurityError for more than MAX_CHARACTERS, or MAX_WORK on the way."""
    parts = []
    length = 0
    for part in template.generate(begin(row)):
        if part:
            length += len(part)
            check_size(length)
            parts.append(part)
    return "".join(parts)


def evaluate(template: Template, row: Mapping[str, Any]) -> Any:
    """Return an expression's value; raises SecurityError as `render` does, TypeError for what is no data."""
    context = template.new_context(begin(row))
    # It yields no text: it is run to its end, where the value is set.
    list(template.root_render_func(context))
    value = context.vars["value"]
    work_of(context).add(value)
    check_kept(value)
    return value


def _counted(call: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a filter or test that counts what it reads and makes."""

    @pass_context
    def run(context: Context, value: Any, /, *args: Any, **kwargs: Any) -> Any:
        work = work_of(context)
        for read in (value, *args, *kwargs.values()):
            work.add(read)
        made = call(name, value, args, kwargs, context)
        if isinstance(made, Iterator):
            return work.each(made)
        work.add(made)
        return made

    return run


@pass_context
def _weighed(context: Context, value: Any) -> Any:
    work_of(context).add(value)
    return value


@pass_context
def _stepped(context: Context, value: Any) -> Any:
    work_of(context).step()
    return value


@pass_context
def _rounds(context: Context, values: Any, num_nodes: int) -> Iterator[Any]:
    work = work_of(context)
    for value in values:
        work.step(_ROUND + _NODE * num_nodes)
        yield value
