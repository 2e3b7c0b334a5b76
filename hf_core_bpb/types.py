"""The vocabulary of the package: plain frozen values that pass between its steps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

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
    license: str
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
    """Token ids and the span [start, end) to score, with the bytes of its text where they belong to the span.

    1 <= start < end <= len(ids): the first id is only ever context.
    """

    ids: Ids
    start: int
    end: int
    num_bytes: int = 0
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
