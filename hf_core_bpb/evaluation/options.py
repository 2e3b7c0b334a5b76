"""What to evaluate and how: built by the command, the Python calls, the evaluate modules and the callback alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from hf_core_bpb.errors import InputError
from hf_core_bpb.protocols import PROTOCOLS
from hf_core_bpb.types import Baselines

SOURCES = ("hub", "bundle", "demo")


@dataclass(frozen=True, slots=True)
class CoreOptions:
    """A CORE evaluation. Raises InputError for a value that does not fit.

    suite: core-11 or core-22, unless `tasks` names tasks or .toml files. source: where rows come from, with `bundle` a
    folder, zip file or https address. baselines: v1 or v2, by default those that the protocol's authors print.
    limit: items per task. precision: half-width of the 95% interval of CORE at which enough items are scored.
    max_length: context length in tokens. batch_tokens: tokens per forward pass.
    """

    suite: str = "core-11"
    tasks: Sequence[str] | None = None
    source: str = "hub"
    bundle: str | None = None
    protocol: str = "nanochat"
    baselines: Baselines | None = None
    limit: int | None = None
    precision: float | None = None
    max_length: int | None = None
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check every value, and what does not go together."""
        _check_choice("source", self.source, SOURCES)
        _check_choice("protocol", self.protocol, PROTOCOLS)
        if self.baselines is not None:
            _check_choice("baselines", self.baselines, get_args(Baselines))
        _check_count("limit", self.limit, "items per task")
        _check_forward_sizes(self.max_length, self.batch_tokens)
        if self.precision is not None and not 0 < self.precision < 1:
            raise InputError(f"`precision`: expected a half-width above 0 and below 1, got {self.precision}")
        if isinstance(self.tasks, str):
            raise InputError(f"`tasks`: expected a list of names, got a single string: {self.tasks!r}")
        if self.tasks is not None and not self.tasks:
            raise InputError("`tasks`: expected one or more names, got none")
        if self.source == "bundle" and self.bundle is None:
            raise InputError("`source` bundle: give its folder, zip file or https address as `bundle`")
        if self.source != "bundle" and self.bundle is not None:
            raise InputError(f"`bundle`: expected `source` bundle with it, got `source` {self.source}")


@dataclass(frozen=True, slots=True)
class TextOptions:
    """An evaluation of bits per byte. Raises InputError for a value that does not fit.

    texts: files, FILE.jsonl:COLUMN or DATASET:CONFIG:SPLIT:COLUMN; the test split of WikiText-2 if None, or the demo's
    texts with `source` demo. stride: tokens that the window moves by, the whole window if None. packed: whether
    documents share windows. max_length: context length in tokens. batch_tokens: tokens per forward pass.
    """

    texts: Sequence[str] | None = None
    source: str = "hub"
    stride: int | None = None
    packed: bool = False
    max_length: int | None = None
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        _check_choice("source", self.source, ("hub", "demo"))
        _check_count("stride", self.stride, "tokens")
        _check_forward_sizes(self.max_length, self.batch_tokens)
        if self.texts is not None and len(set(self.texts)) < len(self.texts):
            raise InputError(f"`text`: expected each source once, got {', '.join(self.texts)}")


def _check_choice(name: str, value: object, choices: Any) -> None:
    if value not in choices:
        raise InputError(f"`{name}`: expected one of {', '.join(choices)}, got {value!r}")


def _check_forward_sizes(max_length: int | None, batch_tokens: int | None) -> None:
    _check_count("max_length", max_length, "tokens", least=2)
    _check_count("batch_tokens", batch_tokens, "tokens")


def _check_count(name: str, value: Any, unit: str, least: int = 1) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise InputError(f"`{name}`: expected a whole number of {unit}, {least} or more, got {value!r}")
