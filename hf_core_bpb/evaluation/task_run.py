"""One task of an evaluation: its items in the protocol's order, their requests, and the results of their sums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hf_core_bpb.metrics.decision import decide
from hf_core_bpb.metrics.grouping import group_by
from hf_core_bpb.metrics.results import ItemResult, TaskResult
from hf_core_bpb.protocols import Protocol
from hf_core_bpb.protocols.item_batch import ItemBatch
from hf_core_bpb.tokenization.encode import Tokenizer
from hf_core_bpb.types import Example, Request, Scored, Task, TaskData

_ITEMS_PER_BATCH = 256


@dataclass(slots=True)
class TaskRun:
    """The items of a task with their shots; requests are built when first needed, and cached."""

    task: Task
    data: TaskData
    protocol: Protocol
    limit: int | None
    tokenizer: Tokenizer
    max_length: int
    items: list[Example] = field(init=False)
    shots: list[list[Example]] = field(init=False)
    _requests: dict[int, list[Request]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Select the items by the protocol, with the shots that it draws or that the task brings."""
        self.items = self.protocol.select(self.task.kind, self.data.examples, self.limit)
        if self.data.shots is None:
            self.shots = self.protocol.draw(self.items, self.task.num_fewshot)
        else:
            pool = self.data.shots
            self.shots = [pool.get(item.group, [])[: self.task.num_fewshot] for item in self.items]

    def indices_by_category(self) -> dict[str, list[int]]:
        """Return the indices of the items that accuracies are averaged over together."""
        return group_by(map(self.protocol.category_of, self.items), range(len(self.items)))

    def requests(self, indices: Sequence[int]) -> list[Request]:
        """Return the requests of these items, one item after another."""
        missing = [index for index in indices if index not in self._requests]
        for begin in range(0, len(missing), _ITEMS_PER_BATCH):
            batch = missing[begin : begin + _ITEMS_PER_BATCH]
            items = ItemBatch(self.task, [self.items[i] for i in batch], [self.shots[i] for i in batch], batch)
            requests = self.protocol.requests(self.tokenizer, items, self.max_length)
            self._requests |= zip(batch, requests, strict=True)
        return [request for index in indices for request in self._requests[index]]

    def num_tokens(self, index: int) -> int:
        """Return the tokens of an item's longest request, once it is built."""
        return max(len(request.ids) for request in self._requests[index])

    def items_of(self, indices: Sequence[int], request_numbers: Sequence[int]) -> list[int]:
        """Return the items that requests belong to, by each request's number among those of these items."""
        owners = [index for index in indices for _ in self._requests[index]]
        return sorted({owners[number] for number in request_numbers})

    def sums_by_item(self, indices: Sequence[int], scored: Sequence[Scored]) -> dict[int, tuple[Scored, ...]]:
        """Return the sums of each item's requests."""
        sums = iter(scored)
        return {index: tuple(next(sums) for _ in self._requests[index]) for index in indices}

    def result(self, sums: Mapping[int, tuple[Scored, ...]]) -> TaskResult:
        """Return the results of the items with sums."""
        items = tuple(self._item_result(index, sums[index]) for index in sorted(sums))
        num_fewshot = max(len(shots) for shots in self.shots)
        return TaskResult(self.task, num_fewshot, self.data.revision, items)

    def _item_result(self, index: int, options: tuple[Scored, ...]) -> ItemResult:
        item = self.items[index]
        prediction, correct = decide(self.task.kind, options, item.gold)
        return ItemResult(
            index=index,
            gold=None if self.task.kind == "language_modeling" else item.gold,
            prediction=prediction,
            correct=correct,
            options=options,
            truncated=any(request.truncated for request in self._requests[index]),
            category=self.protocol.category_of(item),
        )
