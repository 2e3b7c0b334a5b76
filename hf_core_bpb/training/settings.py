"""The settings of CoreBpbCallback, checked in one place."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.scaling.laws import Convention, find_rule

CoreLimit = int | Literal["auto"] | None

_AUTO_LIMIT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSettings:
    """What CoreBpbCallback measures and when; the callback documents each value and has the defaults.

    Raises InputError for a value that does not fit.
    """

    texts: Sequence[str] | None
    bpb_every: int | None
    core_every: int | None
    core_limit: CoreLimit
    core_precision: float | None
    suite: str
    tasks: Sequence[str] | None
    source: str
    bundle: str | Path | None
    convention: Convention
    law: str
    target_ratio: float | None
    stop_at_target: bool
    device_flops: float | None
    tokenizer: Any
    max_length: int | None
    batch_tokens: int | None

    def __post_init__(self) -> None:
        """Check every value, and which values need another."""
        _check_steps("bpb_every", self.bpb_every)
        _check_steps("core_every", self.core_every)
        _check_positive("target_ratio", self.target_ratio)
        _check_positive("device_flops", self.device_flops)
        if self.convention not in get_args(Convention):
            known = ", ".join(get_args(Convention))
            raise InputError(f"`convention`: expected one of {known}, got {self.convention!r}")
        if self.texts is not None and (isinstance(self.texts, str) or not self.texts):
            got = "a single string" if self.texts else "no text"
            raise InputError(f"`texts`: expected a list of one or more documents, got {got}")
        if self.stop_at_target and self.target_ratio is None:
            raise InputError("`stop_at_target`: expected `target_ratio` with it, got none")
        if self.core_precision is not None and self.core_every is None:
            raise InputError("`core_precision`: expected `core_every` with it, got none")
        find_rule(self.law)
        self.core_options()

    def core_options(self) -> CoreOptions | None:
        """Return the options of the CORE evaluation, None without one."""
        if self.core_every is None:
            return None
        try:
            return CoreOptions(
                suite=self.suite,
                tasks=self.tasks,
                source=self.source,
                bundle=None if self.bundle is None else str(self.bundle),
                limit=self._items_per_task,
                precision=self.core_precision,
                max_length=self.max_length,
                batch_tokens=self.batch_tokens,
            )
        except InputError as error:
            message = str(error).replace("`limit`", "`core_limit`").replace("`precision`", "`core_precision`")
            raise InputError(message) from None

    @property
    def _items_per_task(self) -> int | None:
        """The limit of items per task; "auto" is none with a precision, which chooses the items itself."""
        if self.core_limit == "auto":
            return _AUTO_LIMIT if self.core_precision is None else None
        return self.core_limit


def _check_steps(name: str, steps: Any) -> None:
    if steps is not None and not (isinstance(steps, int) and steps > 0):
        raise InputError(f"`{name}`: expected a whole number of steps, 1 or more, got {steps!r}")


def _check_positive(name: str, value: Any) -> None:
    if value is not None and not (isinstance(value, int | float) and value > 0):
        raise InputError(f"`{name}`: expected a number above 0, got {value!r}")
