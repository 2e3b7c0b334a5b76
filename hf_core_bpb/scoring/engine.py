"""Requests to sums on one model: the shortcuts that hold on it, the jobs they make, the forwards."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hf_core_bpb.errors import RunError, reason
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.inspect import device_of, is_sharded, positions_of, processes_per_copy, rescaled_beyond
from hf_core_bpb.progress import Progress
from hf_core_bpb.scoring.forward import Forward
from hf_core_bpb.scoring.head import Head
from hf_core_bpb.scoring.plan import Costs, Job, Mode, plan_jobs
from hf_core_bpb.scoring.probe import Probe, check_causal, choose_head, probe_length, random_requests
from hf_core_bpb.scoring.trie import Trie, build_trie
from hf_core_bpb.types import Request, Scored, Work

Record = Callable[[Mapping[int, Scored], Work], None]


def record_nothing(sums: Mapping[int, Scored], work: Work) -> None:
    """Record nothing."""


SHORTCUTS: frozenset[Mode] = frozenset({"tree", "prefix", "prefix+tree"})

# One more call of the model costs as much as so many tokens: reading the weights, starting the kernels. (GPT-2 small on
# two cores: 12 to 25.)
_TOKENS_A_FORWARD = {"cpu": 12.0}
_TOKENS_A_FORWARD_ACCELERATOR = 512.0
_TOKENS_A_COPY = 0.01


class Engine:
    """Scores requests on a model by every shortcut that has been seen to be right on it."""

    def __init__(self, model: torch.nn.Module, modes: frozenset[Mode] = SHORTCUTS, head: Head | None = None) -> None:
        """Take a causal language model as it is, on its device; raises InputError for one that is not causal.

        modes: the shortcuts that may be taken where they are right; head: how the head runs, the leanest way
        that is right where None. Where parts of the model are on other processes, all of them must call it
        equally often, so only those shortcuts are taken that are a single call.
        """
        check_causal(model)
        self.model = model
        self.processes_per_copy = processes_per_copy(model)
        self.in_lockstep = self.processes_per_copy > 1 or is_sharded(model)
        self.modes = modes & {"tree"} if self.in_lockstep else modes
        self.forward = Forward(model, head if head is not None else choose_head(model, replay=not self.in_lockstep))
        self.device = device_of(model)
        self.rescaled_beyond = rescaled_beyond(model)
        self.costs = _costs_of(model, self.device)
        self.tried: dict[Mode, int] = {"full": 0}
        self.refused: dict[Mode, str] = {}
        self.used: set[Mode] = set()

    def plan(self, trie: Trie, batch_tokens: int) -> list[Job]:
        """Return the forwards of a trie by the cheapest modes that are allowed and not refused.

        Paths longer than `rescaled_beyond` are forwarded plainly: a part of one alone would be rescaled otherwise.
        """
        modes = self.modes - self.refused.keys()
        if self.rescaled_beyond is not None and trie.longest > self.rescaled_beyond:
            modes = frozenset()
        return plan_jobs(trie, batch_tokens, self.costs, modes, positions_of(self.model))

    def tries(self, requests: Sequence[Request], numbers: Iterable[int] | None = None) -> list[Trie]:
        """Return the tries of requests, or of some of them: one, or one on each side of `rescaled_beyond`.

        What counts is how many tokens are forwarded: all of a request's, or of the array it shares, up to the
        last that is predicted.
        """
        some = list(numbers) if numbers is not None else range(len(requests))
        if self.rescaled_beyond is None:
            return [build_trie(requests, some)]
        sides: tuple[list[int], list[int]] = ([], [])
        ends: dict[int, int] = {}
        for number in some:
            key = id(requests[number].ids)
            ends[key] = max(ends.get(key, 0), requests[number].end)
        for number in some:
            sides[ends[id(requests[number].ids)] - 1 > self.rescaled_beyond].append(number)
        return [build_trie(requests, side) for side in sides if side]

    def untried(self, jobs: Iterable[Job], longest: int) -> list[Mode]:
        """Return the modes of jobs that are yet to be tried on requests of at most `longest` tokens."""
        length = probe_length(self.model, longest)
        return sorted({job.mode for job in jobs if job.mode != "full" and self.tried.get(job.mode, 0) < length})

    def try_out(self, modes: Iterable[Mode], longest: int) -> dict[Mode, str | None]:
        """Return for each mode why it cannot be used on requests of at most `longest` tokens, None where it can."""
        length = probe_length(self.model, longest)
        if self.rescaled_beyond is not None:
            length = min(length, self.rescaled_beyond)
        probe = Probe(self.model, random_requests(self.model, length))
        return {mode: probe.failure(self.forward.headed.head, mode) for mode in modes}

    def settle(self, outcomes: Sequence[Mapping[Mode, str | None]], longest: int) -> dict[Mode, str]:
        """Take note of what every process found out, and return the modes refused by it, with the reason."""
        refused: dict[Mode, str] = {}
        for outcome in outcomes:
            for mode, failure in outcome.items():
                self.tried[mode] = probe_length(self.model, longest)
                if failure is not None:
                    refused.setdefault(mode, failure)
        self.refused |= refused
        return refused

    def score(
        self,
        requests: Sequence[Request],
        trie: Trie,
        jobs: Sequence[Job],
        progress: Progress,
        record: Record = record_nothing,
    ) -> tuple[dict[int, Scored], Work, bool]:
        """Return the sums of every request in the jobs, by its number, what that took, and whether it was all.

        It is not where memory ran out. record is told of every job that is done.
        Raises RunError where memory ran out on a single row.
        """
        scored: dict[int, Scored] = {}
        work = Work()
        with evaluation_mode(self.model):
            for job in jobs:
                head_rows = self.forward.headed.head_rows
                try:
                    sums = self.forward.run(job, trie, requests)
                except RuntimeError as error:
                    if not is_out_of_memory(error) or self.in_lockstep:
                        raise
                    if not job.is_divisible:
                        raise RunError(
                            f"out of memory in a forward pass of {job.num_tokens} tokens: {reason(error)}; try "
                            "a smaller `max_length` or `dtype`"
                        ) from None
                    return scored, work, False
                done = Work(job.num_forwards, job.num_tokens, self.forward.headed.head_rows - head_rows)
                record(sums, done)
                scored |= sums
                work += done
                progress.advance(job.num_tokens)
        return scored, work, True

    def not_finite(self, requests: Sequence[Request], numbers: Iterable[int]) -> tuple[int, ...]:
        """Return those requests whose losses are not finite by themselves: in a row of several they spoil others."""
        found = []
        with evaluation_mode(self.model):
            for number in numbers:
                request = requests[number]
                ids_T = request.ids[: request.end].astype(np.int64)
                places_T = np.arange(1, len(ids_T))
                nats_N, _ = self.forward.losses(ids_T[None, :-1], ids_T[None, 1:], (places_T >= request.start)[None])
                if not np.isfinite(nats_N).all():
                    found.append(number)
        return tuple(found)

    def describe(self) -> str:
        """Return the modes that were used and how the head ran, in words."""
        return f"{', '.join(sorted(self.used))}; head {self.forward.headed.head}"

    def idle(self, num_forwards: int) -> None:
        """Call the model with nothing to score, for processes that must call it as often as others do."""
        ids_BxT = torch.zeros((1, 2), dtype=torch.long, device=self.device)
        with evaluation_mode(self.model):
            for _ in range(num_forwards):
                self.model(input_ids=ids_BxT, use_cache=False)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Say whether a forward failed for want of memory, on an accelerator or a CPU."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in words)


def _costs_of(model: torch.nn.Module, device: torch.device) -> Costs:
    """Return the costs on a device; attention of a transformer costs 4 d of the 24 d^2 FLOPs of a token and layer."""
    config: Any = getattr(model, "config", None)
    width = getattr(config.get_text_config(), "hidden_size", None) if config is not None else None
    forward = _TOKENS_A_FORWARD.get(device.type, _TOKENS_A_FORWARD_ACCELERATOR)
    return Costs(pair=1 / (6 * (width or 1024)), forward=forward, copy=_TOKENS_A_COPY)
