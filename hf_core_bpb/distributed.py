"""The processes that share a run: the only file that touches accelerate's process state."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Generic, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from hf_core_bpb.errors import InputError, RunError

T = TypeVar("T")

# Processes wait for one that loads a model, or has more work, far longer than torch's ten minutes for NCCL and thirty
# for gloo. The launcher notices one that died.
_TIMEOUT = timedelta(days=1)
_CUDA_BACKENDS = "cpu:gloo,cuda:nccl"


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
    """Let this process work by itself, on data that the others need not have, without waiting for them."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    device = torch.device("cpu")
    if accelerator is not None:
        # As accelerate does: processes may outnumber the devices that they can see.
        index = int(os.environ.get("LOCAL_RANK", "0")) % torch.accelerator.device_count()
        device = torch.device(accelerator.type, index)
    token = _alone.set(OneProcess(device))
    try:
        yield
    finally:
        _alone.reset(token)


def process_group() -> PartialState | OneProcess:
    """Return the group of this process, formed at the first call; within `alone`, a group of one.

    Processes that torchrun starts on a machine without an accelerator would each believe to be the only one, so there
    the CPU group is requested. On CUDA, objects are exchanged through the CPU, in a group of its own.
    """
    if (single := _alone.get()) is not None:
        return single
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not launched or torch.distributed.is_initialized():
        return PartialState(cpu=launched and not torch.accelerator.is_available())
    if torch.cuda.is_available():
        return PartialState(backend=_CUDA_BACKENDS, timeout=_TIMEOUT)
    return PartialState(cpu=not torch.accelerator.is_available(), timeout=_TIMEOUT)


class Gathering(Generic[T]):
    """Gathers what every process sets as `part` in a with block; `parts` has them by rank, on every process.

    If one process fails in the block, all raise the error of the first that did, so that none waits for it. In lockstep
    the others wait in the middle of a forward pass, where nothing can be told them: the process reports its error and
    raises it at once, and the launcher ends the others.
    """

    part: T

    def __init__(self, lockstep: bool = False) -> None:
        """Start without parts."""
        self.lockstep = lockstep
        self.parts: list[T] = []

    def __enter__(self) -> "Gathering[T]":
        """Begin the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Exchange the parts, or raise the first failure."""
        if _alone.get() is not None:
            if error is None:
                self.parts = [self.part]
            return
        if error is not None and self.lockstep:
            if not process_group().is_main_process:
                print(f"process {process_group().process_index} failed: {error}", file=sys.stderr, flush=True)
            return
        failure = None if error is None else _portable(error)
        exchanged = gather_object([(None if failure is not None else self.part, failure)])
        for _, failed in exchanged:
            if failed is not None:
                raise failed from None
        self.parts = [part for part, _ in exchanged]


def gather_parts(make: Callable[[], T]) -> list[T]:
    """Return what every process makes, by rank, on every process; if one fails, all raise its error."""
    gathering: Gathering[T] = Gathering()
    with gathering:
        gathering.part = make()
    return gathering.parts


def sum_over_processes(values: list[int]) -> list[int]:
    """Return the sums of the counts of every process, on every process."""
    return [sum(column) for column in zip(*gather_parts(lambda: values), strict=True)]


def main_process_first(make: Callable[[], T]) -> T:
    """Return what each process makes, the main one first, as it fills the caches that the others read.

    If one fails, all raise its error.
    """
    if _alone.get() is not None:
        return make()
    is_main = process_group().is_main_process
    attempt: tuple[Any, BaseException | None] = _attempt(make) if is_main else (None, None)
    (failure,) = broadcast_object_list([attempt[1]])
    if failure is not None:
        raise failure
    result: T = all_together(lambda: attempt[0] if is_main else make())
    return result


def all_together(make: Callable[[], T]) -> T:
    """Return what each process makes, all at the same time; if one fails, all raise its error."""
    gathering: Gathering[None] = Gathering()
    with gathering:
        value = make()
        # What a process makes for itself need not travel.
        gathering.part = None
    return value


def from_main_process(make: Callable[[], T]) -> T:
    """Return what the main process makes, on every process; if it fails, all raise its error."""
    attempt = _attempt(make) if process_group().is_main_process else (None, None)
    ((value, failure),) = broadcast_object_list([attempt])
    if failure is not None:
        raise failure
    result: T = value
    return result


def _attempt(make: Callable[[], T]) -> tuple[Any, BaseException | None]:
    try:
        return make(), None
    except Exception as error:
        return None, _portable(error)


def _portable(error: BaseException) -> BaseException:
    """Return an error that survives the way to another process; raises it here if there is no other."""
    if isinstance(error, InputError | RunError):
        return error
    if process_group().num_processes == 1 or not isinstance(error, Exception):
        raise error
    traceback.print_exception(error)
    return RunError(f"process {process_group().process_index}: {type(error).__name__}: {error}")


def leave() -> None:
    """Take the group down once all are done, as torch asks of a process that formed one."""
    group = process_group()
    if isinstance(group, PartialState):
        group.wait_for_everyone()
        group.destroy_process_group()
