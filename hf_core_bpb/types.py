"""The vocabulary of the package: plain frozen values that pass between its steps."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from hf_core_bpb.metrics.centering import centered_accuracy, mean_centered, unweighted_mean

Kind = Literal["multiple_choice", "schema", "language_modeling"]
Baselines = Literal["v1", "v2"]
Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """Where rows come from; `revision` is what was asked for, None for the newest."""

    path: str
    config: str | None
    split: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class PromptTemplates:
    """jinja2 over a row's columns: templates give text, expressions give values.

    `each` gives a list: the row stands for as many items, each with its element under the name `each`.
    """

    context: str | None
    contexts: str | None
    choices: str | None
    continuation: str | None
    gold: str | None
    preamble: str | None = None
    category: str | None = None
    each: str | None = None


@dataclass(frozen=True, slots=True)
class FewshotSource:
    """Shots taken as the first rows of another split whose `match` column equals the item's."""

    split: str
    match: str


@dataclass(frozen=True, slots=True)
class Task:
    """One task as its file declares it; baselines are fractions by version, `origin` is the file.

    `differs` says how its rows differ from those of the CORE bundle, empty where they do not.
    """

    name: str
    kind: Kind
    num_fewshot: int
    delimiter: str
    baselines: Mapping[Baselines, float]
    dataset: DatasetSource
    prompt: PromptTemplates
    fewshot: FewshotSource | None
    suites: tuple[str, ...]
    licence: str
    citation: str
    differs: str
    origin: str


@dataclass(frozen=True, slots=True)
class Example:
    """One item: 1 context x n continuations (multiple choice), n x 1 (schema), 1 x 1 (language modeling)."""

    contexts: tuple[str, ...]
    continuations: tuple[str, ...]
    gold: int
    preamble: str = ""
    group: str = ""
    category: str = ""

    @property
    def gold_context(self) -> str:
        """The context that belongs to the right answer."""
        return self.contexts[self.gold] if len(self.contexts) > 1 else self.contexts[0]

    @property
    def gold_continuation(self) -> str:
        """The continuation that belongs to the right answer."""
        return self.continuations[self.gold] if len(self.continuations) > 1 else self.continuations[0]


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task's rows as examples, the shots it brings along by group, and the revision that was read."""

    examples: list[Example]
    shots: Mapping[str, list[Example]] | None
    revision: str


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be scored whole, or its ids where it comes tokenised."""

    text: str
    ids: Ids | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Token ids and the span [start, end) to score, standing for so much source text.

    1 <= start < end <= len(ids): the first id is only ever context.
    """

    ids: Ids
    start: int
    end: int
    num_bytes: int
    num_characters: int = 0
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """Sums over scored tokens; `greedy` is whether every one of them was the model's argmax."""

    total_nats: float = 0.0
    num_tokens: int = 0
    num_bytes: int = 0
    num_characters: int = 0
    greedy: bool = True

    def __add__(self, other: "Scored") -> "Scored":
        """Merge two disjoint sets of scored tokens."""
        return Scored(
            self.total_nats + other.total_nats,
            self.num_tokens + other.num_tokens,
            self.num_bytes + other.num_bytes,
            self.num_characters + other.num_characters,
            self.greedy and other.greedy,
        )

    @property
    def mean_nats(self) -> float:
        """Nats per scored token."""
        return self.total_nats / self.num_tokens

    @property
    def bits_per_byte(self) -> float:
        """total_nats / (ln 2 * num_bytes)."""
        return self.total_nats / (math.log(2) * self.num_bytes)


@dataclass(frozen=True, slots=True)
class Work:
    """What scoring cost: calls of the model, tokens in them (padding included), rows of the vocabulary head.

    minimum_tokens: the fewest tokens that it could have forwarded, every shared prefix once.
    """

    forwards: int = 0
    forward_tokens: int = 0
    head_rows: int = 0
    minimum_tokens: int = 0

    def __add__(self, other: "Work") -> "Work":
        """Add the work of another part of the run."""
        return Work(
            self.forwards + other.forwards,
            self.forward_tokens + other.forward_tokens,
            self.head_rows + other.head_rows,
            self.minimum_tokens + other.minimum_tokens,
        )


Rule = Literal["sum", "token", "byte"]
RULES: tuple[Rule, ...] = ("sum", "token", "byte")


def choose(options: Sequence[Scored], rule: Rule) -> int:
    """Return the option with the fewest nats in all, by token or by byte of the answer; the first of equals."""
    sizes: Callable[[Scored], int] = {
        "sum": lambda _: 1,
        "token": lambda option: option.num_tokens,
        "byte": lambda option: option.num_bytes,
    }[rule]
    losses = [option.total_nats / max(sizes(option), 1) for option in options]
    return losses.index(min(losses))


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
