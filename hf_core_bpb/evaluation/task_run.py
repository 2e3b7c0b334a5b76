"""One task on its way: the items in the protocol's order, and what each one's requests are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hf_core_bpb.metrics.decision import decide
from hf_core_bpb.metrics.grouping import group_by
from hf_core_bpb.metrics.results import ItemResult, TaskResult
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.protocols import Protocol
from hf_core_bpb.types import Example, Request, Scored, Task, TaskData

_ITEMS_AT_ONCE = 256


@dataclass(slots=True)
class TaskStage:
    """The items of a task with their shots; requests are made when they are first asked for, and kept."""

    lm: LanguageModel
    task: Task
    data: TaskData
    protocol: Protocol
    limit: int | None
    items: list[Example] = field(init=False)
    shots: list[list[Example]] = field(init=False)
    _made: dict[int, list[Request]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take the items that the protocol takes, with the shots it draws or those that the task brings."""
        self.items = self.protocol.select(self.task.kind, self.data.examples, self.limit)
        if self.data.shots is None:
            self.shots = self.protocol.draw(self.items, self.task.num_fewshot)
        else:
            pool = self.data.shots
            self.shots = [pool.get(item.group, [])[: self.task.num_fewshot] for item in self.items]

    def places_by_category(self) -> dict[str, list[int]]:
        """Return the places of the items that accuracies are averaged over together."""
        return group_by(map(self.protocol.category_of, self.items), range(len(self.items)))

    def requests(self, places: Sequence[int]) -> list[Request]:
        """Return the requests of the items at these places, one after another."""
        missing = [place for place in places if place not in self._made]
        for begin in range(0, len(missing), _ITEMS_AT_ONCE):
            some = missing[begin : begin + _ITEMS_AT_ONCE]
            made = self.protocol.requests(
                self.lm.tokenizer,
                self.task,
                [self.items[place] for place in some],
                [self.shots[place] for place in some],
                self.lm.max_length,
                some,
            )
            self._made |= zip(some, made, strict=True)
        return [request for place in places for request in self._made[place]]

    def length(self, place: int) -> int:
        """Return the tokens of an item's longest request, once it is made."""
        return max(len(request.ids) for request in self._made[place])

    def places_of(self, places: Sequence[int], numbers: Sequence[int]) -> list[int]:
        """Return the items that requests belong to, by the requests' numbers among those of these places."""
        owners = [place for place in places for _ in self._made[place]]
        return sorted({owners[number] for number in numbers})

    def by_item(self, places: Sequence[int], scored: Sequence[Scored]) -> dict[int, tuple[Scored, ...]]:
        """Return the sums of the requests of these places, by place."""
        sums = iter(scored)
        return {place: tuple(next(sums) for _ in self._made[place]) for place in places}

    def result(self, scored: Mapping[int, tuple[Scored, ...]]) -> TaskResult:
        """Return the verdicts that follow from the sums of the items at some places."""
        verdicts = []
        for place in sorted(scored):
            item = self.items[place]
            prediction, correct = decide(self.task.kind, scored[place], item.gold)
            verdicts.append(
                ItemResult(
                    index=place,
                    gold=None if self.task.kind == "language_modeling" else item.gold,
                    prediction=prediction,
                    correct=correct,
                    options=scored[place],
                    truncated=any(request.truncated for request in self._made[place]),
                    category=self.protocol.category_of(item),
                )
            )
        num_fewshot = max(len(shots) for shots in self.shots)
        return TaskResult(self.task, num_fewshot, self.data.revision, tuple(verdicts))
