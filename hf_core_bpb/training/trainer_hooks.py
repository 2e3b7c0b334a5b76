"""Methods of a Trainer replaced for the time of a training, and put back as they were."""

from collections.abc import Callable
from typing import Any

from transformers import Trainer

_ABSENT = object()


class Wrapping:
    """Remembers what stood in a Trainer's own attributes, which most often is nothing: its methods are its class's."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.trainer: Trainer | None = None
        self._before: dict[str, Any] = {}

    def replace(self, trainer: Trainer, methods: dict[str, Callable[..., Any]]) -> None:
        """Put functions in the place of methods, by name."""
        self.trainer = trainer
        self._before = {name: trainer.__dict__.get(name, _ABSENT) for name in methods}
        trainer.__dict__.update(methods)

    def restore(self) -> None:
        """Put back what was there before; nothing where nothing was replaced."""
        if self.trainer is not None:
            for name, value in self._before.items():
                self.trainer.__dict__.pop(name, None)
                if value is not _ABSENT:
                    self.trainer.__dict__[name] = value
        self.trainer, self._before = None, {}
