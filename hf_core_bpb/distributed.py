"""The group of processes that share a run: the only file that touches accelerate's process state."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from hf_core_bpb.errors import InputError, RunError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OneProcess:
    """A process that shares its work with no other, whatever else was launched."""

    device: torch.device
    process_index: int = 0
    num_processes: int = 1
    is_main_process: bool = True


_alone: ContextVar[OneProcess | None] = ContextVar("alone", default=None)


@contextmanager
def alone() -> Iterator[None]:
    """Have this process work by itself, on texts that the others need not have and without waiting for them."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    number = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cpu") if accelerator is None else torch.device(accelerator.type, number)
    token = _alone.set(OneProcess(device))
    try:
        yield
    finally:
        _alone.reset(token)


def process_group() -> PartialState | OneProcess:
    """Return the group this process belongs to, forming it at the first call; `alone`, one of its own.

    Processes started by torchrun on a machine without an accelerator would each believe that they are
    alone, so there the CPU group is asked for.
    """
    if (by_itself := _alone.get()) is not None:
        return by_itself
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return PartialState(cpu=launched and not torch.accelerator.is_available())


def gather_parts(make: Callable[[], T]) -> list[T]:
    """Return what every process makes, by rank, on every process.

    Where one of them fails, all raise the error of the first that did, so that none waits for it.
    """
    part, failure = _attempt(make)
    if _alone.get() is not None:
        if failure is not None:
            raise failure
        return [part]
    parts: list[tuple[T, BaseException | None]] = gather_object([(part, failure)])
    for _, raised in parts:
        if raised is not None:
            raise raised
    return [made for made, _ in parts]


def fail_at_once(make: Callable[[], T]) -> T:
    """Return what this process makes in step with the others; where it fails, say so and raise without asking them.

    They wait for it in the middle of a forward, where nothing can be told them: the launcher ends them.
    """
    try:
        return make()
    except Exception as error:
        if not process_group().is_main_process:
            print(f"process {process_group().process_index} failed: {error}", file=sys.stderr, flush=True)
        raise


def sum_over_processes(values: list[int]) -> list[int]:
    """Return the sums of what every process counted, on every process."""
    return [sum(column) for column in zip(*gather_parts(lambda: values), strict=True)]


def main_process_first(make: Callable[[], T]) -> T:
    """Return what each process makes, the main one first, as it fills the caches that the others read.

    Where one fails, all raise its error.
    """
    group = process_group()
    if _alone.get() is not None:
        return make()
    made: Any = None
    failure: BaseException | None = None
    if group.is_main_process:
        made, failure = _attempt(make)
    (failure,) = broadcast_object_list([failure])
    if failure is not None:
        raise failure
    return all_together(lambda: made if group.is_main_process else make())


def all_together(make: Callable[[], T]) -> T:
    """Return what each process makes, all at the same time; where one fails, all raise its error."""
    made, failure = _attempt(make)
    gather_parts(partial(_raise, failure))
    kept: T = made
    return kept


def from_main_process(make: Callable[[], T]) -> T:
    """Return what the main process makes, on every process; where it fails, all raise its error."""
    attempt = _attempt(make) if process_group().is_main_process else (None, None)
    ((made, failure),) = broadcast_object_list([attempt])
    if failure is not None:
        raise failure
    kept: T = made
    return kept


def _raise(failure: BaseException | None) -> None:
    if failure is not None:
        raise failure


def _attempt(make: Callable[[], T]) -> tuple[Any, BaseException | None]:
    try:
        return make(), None
    except (InputError, RunError) as error:
        return None, error
    except Exception as error:
        if process_group().num_processes == 1:
            raise
        traceback.print_exc()
        # The libraries' own errors do not all survive the way to another process, their words do.
        return None, RunError(f"process {process_group().process_index}: {type(error).__name__}: {error}")


def leave() -> None:
    """Take the group down once all are done, as torch asks of a process that formed one."""
    group = process_group()
    if isinstance(group, PartialState):
        group.wait_for_everyone()
        group.destroy_process_group()
