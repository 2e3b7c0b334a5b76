"""What templates may be made of, and where their work is counted that no function sees."""

from collections.abc import Callable
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

_MAX_NESTING = 30
TOO_DEEP = f"parts in parts, more than {_MAX_NESTING} deep"
# Filters that stand in a tree once it is checked, by names that are no identifiers.
WEIGHED, STEPPED, ROUNDS, CONCAT = "weighed ", "stepped ", "rounds ", "concat "

# No assignments, macros, blocks, imports: what cannot be kept cannot grow from step to step.
_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.Slice, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.If, nodes.For, nodes.CondExpr,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div,
    nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Concat, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair,
)  # fmt: skip


def check(node: nodes.Node, depth: int = 0) -> None:
    """Raise TemplateError for what task files have no use for."""
    if depth > _MAX_NESTING:
        raise TemplateSyntaxError(TOO_DEEP, node.lineno)
    if not isinstance(node, _NODES) or getattr(node, "recursive", False):
        raise TemplateSyntaxError(f"{type(node).__name__}, which task files have no use for", node.lineno)
    if isinstance(node, nodes.Name) and node.name == "self":
        raise TemplateSyntaxError("the name self, which jinja2 keeps for itself", node.lineno)
    for child in node.iter_child_nodes():
        check(child, depth + 1)


def weighing(node: Any) -> Any:
    """Return a tree in which what expressions read by name and make is weighed wherever no function sees it."""
    match node:
        case nodes.Name(ctx="load") | nodes.Const(value=str()):
            return _filter(node, WEIGHED)
        case nodes.Getattr() | nodes.Getitem():
            return _filter(_reading(node), WEIGHED)
        case nodes.Call():
            return _reading(node)
    num_nodes = sum(1 for _ in node.find_all(nodes.Node)) if isinstance(node, nodes.For) else 0
    _change(node, weighing)
    match node:
        case nodes.Concat():
            return _filter(nodes.List(node.nodes, lineno=node.lineno), CONCAT)
        case nodes.For():
            node.iter = _filter(node.iter, ROUNDS, nodes.Const(num_nodes))
    return node


def _reading(node: Any) -> Any:
    """Return an attribute, an item or a call, with what it is read of weighed where it was made, not where named."""
    read_of = node.node
    is_slice = isinstance(read_of, nodes.Getitem) and isinstance(read_of.arg, nodes.Slice)
    if isinstance(read_of, nodes.Getattr | nodes.Getitem) and not is_slice:
        read_of = _filter(_reading(read_of), STEPPED)
    elif not isinstance(read_of, nodes.Name):
        read_of = weighing(read_of)
    _change(node, lambda child: read_of if child is node.node else weighing(child))
    return node


def _change(node: nodes.Node, change: Callable[[nodes.Node], nodes.Node]) -> None:
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            setattr(node, name, change(value))
        elif isinstance(value, list):
            setattr(node, name, [change(one) if isinstance(one, nodes.Node) else one for one in value])


def _filter(node: Any, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)
