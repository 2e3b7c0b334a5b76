"""Run a model with its first layers only: as many as include one layer of every kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def first_layers(model: torch.nn.Module) -> Iterator[None]:
    """Leave out the layers that only repeat kinds of earlier ones.

    All layers stay if they are in no list, or in code that is compiled as a whole and would be compiled again.
    """
    layers = _list_of_layers(model)
    if layers is None or any(hasattr(module.forward, "_torchdynamo_orig_callable") for module in model.modules()):
        yield
        return
    modules = layers._modules
    layers._modules = dict(list(modules.items())[: num_until_all_kinds(layers)])
    try:
        yield
    finally:
        layers._modules = modules


def num_until_all_kinds(layers: torch.nn.ModuleList) -> int:
    """Return how many of the first layers include one layer of every kind."""
    seen = set()
    count = 0
    for index, layer in enumerate(layers):
        kind = _kind(layer, index)
        if kind not in seen:
            seen.add(kind)
            count = index + 1
    return count


def _list_of_layers(model: torch.nn.Module) -> torch.nn.ModuleList | None:
    """Return the list of decoder layers: as long as the configuration says, with the most modules."""
    config: Any = getattr(model, "config", None)
    num_layers = getattr(config.get_text_config(), "num_hidden_layers", None) if config is not None else None
    lists = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == num_layers and num_layers > 1
    ]
    return max(lists, key=lambda module: sum(1 for _ in module.modules()), default=None)


def _kind(layer: torch.nn.Module, index: int) -> tuple[Any, ...]:
    """Return the classes, settings and weights' shapes of a layer's modules, without its index."""
    parts = []
    for name, module in layer.named_modules():
        settings = tuple(
            (key, value)
            for key, value in sorted(vars(module).items())
            if isinstance(value, bool | int | float | str)
            and not (type(value) is int and value == index and key.endswith(("idx", "id")))
        )
        shapes = tuple(tuple(parameter.shape) for parameter in module.parameters(recurse=False))
        parts.append((name, type(module), settings, shapes))
    return tuple(parts)
