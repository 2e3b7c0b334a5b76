"""Tasks of a CORE bundle, and MMLU, as requests by item under nanochat's protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from model import POSITIONS

from hf_core_bpb.data.bundle import list_bundle_tasks, load_bundle_task
from hf_core_bpb.data.hub import load_hub_task
from hf_core_bpb.data.task_files import list_tasks
from hf_core_bpb.protocols import PROTOCOLS
from hf_core_bpb.protocols.item_batch import ItemBatch
from hf_core_bpb.scoring.trie import Trie, build_trie
from hf_core_bpb.types import Request, Task, TaskData


@dataclass(frozen=True)
class Benchmark:
    """A task with the requests of each of its items, one for each option."""

    task: Task
    items: Sequence[Sequence[Request]]

    @cached_property
    def requests(self) -> list[Request]:
        return [request for options in self.items for request in options]

    @cached_property
    def trie(self) -> Trie:
        return build_trie(self.requests)

    @property
    def has_options(self) -> bool:
        return self.task.kind != "language_modeling"


def load_bundle(bundle: Path, names: Sequence[str], tokenizer: Any, limit: int) -> list[Benchmark]:
    """Return these tasks of a bundle, at most `limit` items each."""
    tasks = {task.name: task for task in list_bundle_tasks(bundle, {task.name: task for task in list_tasks()})}
    return [build(tasks[name], load_bundle_task(tasks[name], bundle), tokenizer, limit) for name in names]


def load_mmlu(root: Path | None, tokenizer: Any, limit: int | None) -> Benchmark:
    """Return MMLU from the Hub, or from a folder laid out like it."""
    (task,) = (task for task in list_tasks() if task.name == "mmlu")
    return build(task, load_hub_task(task, root), tokenizer, limit)


def build(task: Task, data: TaskData, tokenizer: Any, limit: int | None) -> Benchmark:
    protocol = PROTOCOLS["nanochat"]
    items = protocol.select(task.kind, data.examples, limit)
    if data.shots is None:
        shots = protocol.draw(items, task.num_fewshot)
    else:
        shots = [data.shots.get(item.group, [])[: task.num_fewshot] for item in items]
    return Benchmark(task, protocol.requests(tokenizer, ItemBatch(task, items, shots, range(len(items))), POSITIONS))
