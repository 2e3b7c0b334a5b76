"""Frozen values that pass between the steps of the package: tasks, items, documents, requests, scores."""

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
    """A dataset split to read rows from; `revision` is the requested revision, None for the newest."""

    path: str
    config: str | None
    split: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class PromptTemplates:
    """Jinja2 over a row's columns: `choices`, `contexts`, `gold` and `each` are expressions, the others templates.

    `each` evaluates to a list; the row becomes one item per element, which the other fields read as `each`.
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
    """Another split to take shots from: its first rows whose `match` column equals the item's."""

    split: str
    match: str


@dataclass(frozen=True, slots=True)
class Task:
    """One task as its file declares it; baselines are fractions by version, `origin` is the file.

    `differs` describes how its rows differ from those of the CORE bundle; empty if they are the same.
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
        """The context of the correct answer."""
        return self.contexts[self.gold] if len(self.contexts) > 1 else self.contexts[0]

    @property
    def gold_continuation(self) -> str:
        """The continuation of the correct answer."""
        return self.continuations[self.gold] if len(self.continuations) > 1 else self.continuations[0]


@dataclass(frozen=True, slots=True)
class TaskData:
    """A task's rows as examples, the shots of its few-shot split by group, and the revision that was read."""

    examples: list[Example]
    shots: Mapping[str, list[Example]] | None
    revision: str


@dataclass(frozen=True, slots=True)
class Document:
    """A text to score; for a tokenized document, `ids` are set and `text` is empty."""

    text: str
    ids: Ids | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """Token ids and the span [start, end) to score, where 1 <= start < end <= len(ids).

    num_bytes: UTF-8 bytes of the span's text, 0 where only the whole document's bytes are counted.
    """

    ids: Ids
    start: int
    end: int
    num_bytes: int = 0
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """Sums over scored tokens; `greedy` is whether every token was the model's argmax."""

    total_nats: float = 0.0
    num_tokens: int = 0
    num_bytes: int = 0
    num_characters: int = 0
    greedy: bool = True

    def __add__(self, other: "Scored") -> "Scored":
        """Add the sums of two disjoint sets of scored tokens."""
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
        """Bits per byte: total_nats / (ln 2 * num_bytes)."""
        return self.total_nats / (math.log(2) * self.num_bytes)


@dataclass(frozen=True, slots=True)
class Work:
    """The cost of scoring: forward passes, their tokens (padding included), rows of the vocabulary head.

    minimum_tokens: the theoretical minimum of tokens to forward, with every shared prefix forwarded once.
    """

    forwards: int = 0
    forward_tokens: int = 0
    head_rows: int = 0
    minimum_tokens: int = 0

    def __add__(self, other: "Work") -> "Work":
        """Add the cost of another part of the run."""
        return Work(
            self.forwards + other.forwards,
            self.forward_tokens + other.forward_tokens,
            self.head_rows + other.head_rows,
            self.minimum_tokens + other.minimum_tokens,
        )
