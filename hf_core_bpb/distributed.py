"""The group of processes that share a run: the only file that touches accelerate's process state."""

import os
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from hf_core_bpb.errors import InputError, RunError

T = TypeVar("T")


def process_group() -> PartialState:
    """Return the group this process belongs to, forming it at the first call.

    Processes started by torchrun on a machine without an accelerator would each believe that they are
    alone, so there the CPU group is asked for.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return PartialState(cpu=launched and not torch.accelerator.is_available())


def gather_parts(make: Callable[[], T]) -> list[T]:
    """Return what every process makes, by rank, on every process.

    Where one of them fails, all raise the error of the first that did, so that none waits for it.
    """
    part, failure = _attempt(make)
    parts: list[tuple[T, BaseException | None]] = gather_object([(part, failure)])
    for _, raised in parts:
        if raised is not None:
            raise raised
    return [made for made, _ in parts]


def sum_over_processes(values: list[int]) -> list[int]:
    """Return the sums of what every process counted, on every process."""
    return [sum(column) for column in zip(*gather_parts(lambda: values), strict=True)]


def main_process_first(make: Callable[[], T]) -> T:
    """Return what each process makes, the main one first, as it fills the caches that the others read.

    Where the main process fails, all raise its error.
    """
    group = process_group()
    made: Any = None
    failure: BaseException | None = None
    if group.is_main_process:
        made, failure = _attempt(make)
    (failure,) = broadcast_object_list([failure])
    if failure is not None:
        raise failure
    return made if group.is_main_process else make()


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
    process_group().wait_for_everyone()
    process_group().destroy_process_group()
