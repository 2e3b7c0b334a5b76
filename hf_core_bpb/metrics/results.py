"""Results of tasks, suites and texts, with everything that follows from their sums."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hf_core_bpb.metrics.centering import centered_accuracy, mean_centered, unweighted_mean
from hf_core_bpb.metrics.decision import RULES, Rule, choose
from hf_core_bpb.types import Baselines, Scored, Task


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The verdict on one item, with the sums of each option; language modeling has no prediction."""

    index: int
    gold: int | None
    prediction: int | None
    correct: bool
    options: tuple[Scored, ...]
    truncated: bool
    category: str = ""


@dataclass(frozen=True, slots=True)
class TaskResult:
    """A task's verdicts; `num_fewshot` is what was used, fewer than declared where rows were too few."""

    task: Task
    num_fewshot: int
    revision: str
    items: tuple[ItemResult, ...]

    @property
    def num_items(self) -> int:
        """How many items were scored."""
        return len(self.items)

    @property
    def num_truncated(self) -> int:
        """How many items lost tokens on the left."""
        return sum(item.truncated for item in self.items)

    @property
    def accuracy_by_category(self) -> dict[str, float]:
        """Right answers over all answers of each category; one nameless category where there are none."""
        return self._by_category([item.correct for item in self.items])

    @property
    def accuracy(self) -> float:
        """Right answers over all answers, as a fraction; the mean over categories where there are some."""
        return self._mean_over_categories([item.correct for item in self.items])

    def _mean_over_categories(self, verdicts: Sequence[bool]) -> float:
        return unweighted_mean(self._by_category(verdicts).values())

    def _by_category(self, verdicts: Sequence[bool]) -> dict[str, float]:
        held: dict[str, list[bool]] = {}
        for item, verdict in sorted(zip(self.items, verdicts, strict=True), key=lambda pair: pair[0].category):
            held.setdefault(item.category, []).append(verdict)
        return {category: sum(some) / len(some) for category, some in held.items()}

    @property
    def accuracy_by_rule(self) -> dict[Rule, float]:
        """Accuracy where the option is chosen by its sum of nats, its mean by token, and its mean by byte.

        Empty for language modeling, which chooses nothing. Means over categories, as accuracy.
        """
        if self.task.kind == "language_modeling":
            return {}
        return {
            rule: self._mean_over_categories([choose(i.options, rule) == i.gold for i in self.items]) for rule in RULES
        }

    @property
    def gold_bits_per_byte(self) -> float | None:
        """Bits for a byte of the right answers, of what of them is scored: smoother than accuracy; None of no byte."""
        gold = sum((item.options[item.gold if item.gold is not None else 0] for item in self.items), Scored())
        return gold.bits_per_byte if gold.num_bytes > 0 else None

    def centered(self, version: Baselines) -> float:
        """(accuracy - baseline) / (1 - baseline): 0 for guessing, 1 for perfect."""
        return centered_accuracy(self.accuracy, self.task.baselines[version])


@dataclass(frozen=True, slots=True)
class Sample:
    """That only some of `num_all` items were scored, in an order by `seed`: CORE of all is within half_width, at 95 %.

    precision: the half_width that was asked for.
    """

    precision: float
    half_width: float
    num_all: int
    seed: int


@dataclass(frozen=True, slots=True)
class CoreResult:
    """The results of a suite under one protocol; `signature` pins everything the numbers depend on.

    sample: what part of the items was scored, None where all were.
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
        """How many items of all tasks were scored."""
        return sum(result.num_items for result in self.tasks.values())

    def core_by(self, version: Baselines) -> float:
        """The unweighted mean of the centered accuracies under one table of baselines."""
        return mean_centered(
            {name: result.accuracy for name, result in self.tasks.items()},
            {name: result.task.baselines[version] for name, result in self.tasks.items()},
        )

    @property
    def gold_bits_per_byte(self) -> float | None:
        """The mean over tasks of the bits for a byte of their right answers, None where one has none."""
        found = [result.gold_bits_per_byte for result in self.tasks.values()]
        known = [bits for bits in found if bits is not None]
        return unweighted_mean(known) if len(known) == len(found) else None

    @property
    def core(self) -> float:
        """The mean of the centered accuracies under the run's own baselines."""
        return self.core_by(self.baselines)


@dataclass(frozen=True, slots=True)
class BpbResult:
    """Bits per byte of a set of documents, with the sums behind it, in all and by document."""

    total: Scored
    documents: tuple[Scored, ...]
    signature: str

    @property
    def bpb(self) -> float:
        """Bits per UTF-8 byte."""
        return self.total.bits_per_byte

    @property
    def bits_per_character(self) -> float | None:
        """Bits per Unicode character, not below bpb; None for tokenised sources, whose text is not known."""
        if self.total.num_characters == 0:
            return None
        return self.total.total_nats / (math.log(2) * self.total.num_characters)

    @property
    def token_perplexity(self) -> float:
        """e to the nats per token: not comparable across tokenizers."""
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
