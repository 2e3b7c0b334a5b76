"""Results of tasks, suites and texts, and the numbers that follow from their sums."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hf_core_bpb.metrics.centering import centered_accuracy, mean_centered, unweighted_mean
from hf_core_bpb.metrics.decision import RULES, Rule, choose
from hf_core_bpb.metrics.grouping import group_by
from hf_core_bpb.types import Baselines, Scored, Task


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One scored item with the sums of each option; language modeling has no prediction."""

    index: int
    gold: int | None
    prediction: int | None
    correct: bool
    options: tuple[Scored, ...]
    truncated: bool
    category: str = ""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The scored items of a task; `num_fewshot` is the number of shots used, fewer than declared if rows ran out."""

    task: Task
    num_fewshot: int
    revision: str
    items: tuple[ItemResult, ...]

    @property
    def num_items(self) -> int:
        """Number of scored items."""
        return len(self.items)

    @property
    def num_truncated(self) -> int:
        """Number of items truncated on the left."""
        return sum(item.truncated for item in self.items)

    @property
    def accuracy_by_category(self) -> dict[str, float]:
        """Accuracy of each category; a task without categories has one, with an empty name."""
        return self._by_category([item.correct for item in self.items])

    @property
    def accuracy(self) -> float:
        """Fraction of correct items, or its mean over categories if the task has any."""
        return self._mean_over_categories([item.correct for item in self.items])

    def _mean_over_categories(self, correct: Sequence[bool]) -> float:
        return unweighted_mean(self._by_category(correct).values())

    def _by_category(self, correct: Sequence[bool]) -> dict[str, float]:
        groups = group_by((item.category for item in self.items), correct)
        return {category: unweighted_mean(group) for category, group in sorted(groups.items())}

    @property
    def accuracy_by_rule(self) -> dict[Rule, float]:
        """Accuracy if options are chosen by total nats, by nats per token and by nats per byte.

        Empty for language modeling, which has no options. Means over categories, as for `accuracy`.
        """
        if self.task.kind == "language_modeling":
            return {}
        return {
            rule: self._mean_over_categories([choose(i.options, rule) == i.gold for i in self.items]) for rule in RULES
        }

    @property
    def gold_bits_per_byte(self) -> float | None:
        """Bits per byte of the correct answers' scored bytes, a smoother measure than accuracy; None for no bytes."""
        gold = sum((item.options[item.gold if item.gold is not None else 0] for item in self.items), Scored())
        return gold.bits_per_byte if gold.num_bytes > 0 else None

    def centered(self, version: Baselines) -> float:
        """(accuracy - baseline) / (1 - baseline): 0 for guessing, 1 for perfect."""
        return centered_accuracy(self.accuracy, self.task.baselines[version])


@dataclass(frozen=True, slots=True)
class Sample:
    """A random sample of `num_all` items, drawn in an order given by `seed`.

    half_width: half the 95% interval of CORE of all items. precision: the half_width requested.
    """

    precision: float
    half_width: float
    num_all: int
    seed: int


@dataclass(frozen=True, slots=True)
class CoreResult:
    """The results of a suite under one protocol; `signature` names everything the numbers depend on.

    sample: the sample that was scored, None if all items were.
    """

    suite: str
    protocol: str
    source: str
    baselines: Baselines
    tasks: Mapping[str, TaskResult]
    signature: str
    sample: Sample | None = None

    @property
    def num_items(self) -> int:
        """Number of scored items of all tasks."""
        return sum(result.num_items for result in self.tasks.values())

    def core_by(self, version: Baselines) -> float:
        """The unweighted mean of the centered accuracies under one table of baselines."""
        return mean_centered(
            {name: result.accuracy for name, result in self.tasks.items()},
            {name: result.task.baselines[version] for name, result in self.tasks.items()},
        )

    @property
    def gold_bits_per_byte(self) -> float | None:
        """The mean over tasks of the bits per byte of correct answers, None if a task has none."""
        by_task = [result.gold_bits_per_byte for result in self.tasks.values()]
        known = [bits for bits in by_task if bits is not None]
        return unweighted_mean(known) if len(known) == len(by_task) else None

    @property
    def core(self) -> float:
        """The mean of the centered accuracies under the run's baselines."""
        return self.core_by(self.baselines)


@dataclass(frozen=True, slots=True)
class BpbResult:
    """Bits per byte of a text, with the sums behind it in total and by document."""

    total: Scored
    documents: tuple[Scored, ...]
    signature: str

    @property
    def bpb(self) -> float:
        """Bits per UTF-8 byte."""
        return self.total.bits_per_byte

    @property
    def bits_per_character(self) -> float | None:
        """Bits per Unicode character, at least bpb; None for tokenised sources, whose text is unknown."""
        if self.total.num_characters == 0:
            return None
        return self.total.total_nats / (math.log(2) * self.total.num_characters)

    @property
    def token_perplexity(self) -> float:
        """e to the nats per token; not comparable across tokenizers."""
        return _power(math.e, self.total.mean_nats)

    @property
    def byte_perplexity(self) -> float:
        """2 to the bits per byte."""
        return _power(2.0, self.bpb)


def _power(base: float, exponent: float) -> float:
    try:
        return float(base**exponent)
    except OverflowError:
        return math.inf
