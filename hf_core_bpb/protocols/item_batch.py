"""A batch of a task's items, from which a protocol makes requests."""

from collections.abc import Sequence
from dataclasses import dataclass

from hf_core_bpb.types import Example, Task


@dataclass(frozen=True, slots=True)
class ItemBatch:
    """Items of a task, the shots of each, and their indices among all items of the task."""

    task: Task
    items: Sequence[Example]
    shots: Sequence[Sequence[Example]]
    indices: Sequence[int]

    def describe(self, number: int) -> str:
        """Return the name of the batch's item `number` for errors."""
        return f"{self.task.name}, item {self.indices[number]}"
