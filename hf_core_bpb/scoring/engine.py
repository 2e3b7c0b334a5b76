"""Score requests on one model: verified fast paths, planned jobs, sums per request."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hf_core_bpb.errors import RunError, reason
from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.inspect import (
    attention_of,
    device_of,
    is_sharded,
    positions_of,
    processes_per_copy,
    rescaled_beyond,
)
from hf_core_bpb.progress import Progress
from hf_core_bpb.scoring.device_errors import is_out_of_memory
from hf_core_bpb.scoring.forward import Forward
from hf_core_bpb.scoring.head import Head
from hf_core_bpb.scoring.jobs import Costs, Job, Mode
from hf_core_bpb.scoring.plan import plan_jobs
from hf_core_bpb.scoring.probe import probe_length
from hf_core_bpb.scoring.trie import Trie, build_trie, last_ends
from hf_core_bpb.scoring.verdicts import verdicts_of
from hf_core_bpb.types import Request, Scored, Work

Record = Callable[[Mapping[int, Scored], Work], None]


def record_nothing(sums: Mapping[int, Scored], work: Work) -> None:
    """Record nothing."""


FAST_PATHS: frozenset[Mode] = frozenset({"tree", "prefix", "prefix+tree"})
# The implementations of attention that take a mask of four dimensions. Others, such as FlashAttention, ignore it or
# read memory that is not theirs, which ends the process on CUDA: a trial would come too late.
_TAKES_TREE_MASKS = (None, "eager", "sdpa")

# The cost of one more call of the model, in tokens: reading the weights, starting the kernels.
# (GPT-2 small on two cores: 12 to 25.)
_FORWARD_TOKENS = {"cpu": 12.0}
_FORWARD_TOKENS_ACCELERATOR = 512.0
_COPY_TOKENS = 0.01


class Engine:
    """Scores requests on a model by every fast path that passed the accuracy check on it."""

    def __init__(self, model: torch.nn.Module, modes: frozenset[Mode] = FAST_PATHS, head: Head | None = None) -> None:
        """Take a causal language model on its device; raises InputError if it is not causal.

        If other processes hold parts of the model, all of them must call it equally often, so that only the fast path
        of a single call, `tree`, is allowed.

        Args:
            modes: the fast paths to allow.
            head: the strategy for the head; None for the cheapest that gives the same losses.
        """
        self.model = model
        self.processes_per_copy = processes_per_copy(model)
        self.in_lockstep = self.processes_per_copy > 1 or is_sharded(model)
        self.modes = modes & {"tree"} if self.in_lockstep else modes
        if attention_of(model) not in _TAKES_TREE_MASKS:
            self.modes -= {"tree", "prefix+tree"}
        self.verdicts = verdicts_of(model, replay=not self.in_lockstep)
        self.verdicts.check_causal(model)
        if head is None:
            head = self.verdicts.choose_head(model, replay=not self.in_lockstep)
        self.forward = Forward(model, head)
        self.device = device_of(model)
        self.rescaled_beyond = rescaled_beyond(model)
        self.costs = _costs_of(model, self.device)
        self.verified_lengths: dict[Mode, int] = {}
        self.disabled: dict[Mode, str] = {}
        self.used_modes: set[Mode] = set()

    def plan(self, trie: Trie, batch_tokens: int) -> list[Job]:
        """Return the forwards of a trie by the cheapest modes that are allowed and not disabled.

        Paths longer than `rescaled_beyond` are forwarded whole: a shorter part would get other rotary factors.
        """
        modes = self.modes - self.disabled.keys()
        if self.rescaled_beyond is not None and trie.longest > self.rescaled_beyond:
            modes = frozenset()
        return plan_jobs(trie, batch_tokens, self.costs, modes, positions_of(self.model))

    def build_tries(self, requests: Sequence[Request], indices: Iterable[int] | None = None) -> list[Trie]:
        """Return the tries of all requests, or of those at the given indices: one, or two split at `rescaled_beyond`.

        The split is by forwarded tokens: up to the last span of the array of ids that a request shares with others.
        """
        indices = range(len(requests)) if indices is None else list(indices)
        if self.rescaled_beyond is None:
            return [build_trie(requests, indices)]
        ends = last_ends(requests, indices)
        short: list[int] = []
        long: list[int] = []
        for index in indices:
            num_forwarded = ends[id(requests[index].ids)] - 1
            (long if num_forwarded > self.rescaled_beyond else short).append(index)
        return [build_trie(requests, group) for group in (short, long) if group]

    def unverified(self, jobs: Iterable[Job], longest: int) -> list[Mode]:
        """Return the modes of jobs that are not verified yet for requests of up to `longest` tokens."""
        length = probe_length(self.model, longest)
        return sorted(
            {job.mode for job in jobs if job.mode != "full" and self.verified_lengths.get(job.mode, 0) < length}
        )

    def verify(self, modes: Iterable[Mode], longest: int) -> dict[Mode, str | None]:
        """Return why each mode cannot be used for requests of up to `longest` tokens, None for modes that can."""
        length = probe_length(self.model, longest)
        if self.rescaled_beyond is not None:
            length = min(length, self.rescaled_beyond)
        return self.verdicts.failures(self.model, self.forward.headed.head, list(modes), length)

    def apply_verdicts(self, verdicts: Sequence[Mapping[Mode, str | None]], longest: int) -> dict[Mode, str]:
        """Disable the modes that failed `verify` on any process, and return them with the reason."""
        disabled: dict[Mode, str] = {}
        for verdict in verdicts:
            for mode, failure in verdict.items():
                self.verified_lengths[mode] = probe_length(self.model, longest)
                if failure is not None:
                    disabled.setdefault(mode, failure)
        self.disabled |= disabled
        return disabled

    def score(
        self,
        requests: Sequence[Request],
        trie: Trie,
        jobs: Sequence[Job],
        progress: Progress,
        record: Record = record_nothing,
    ) -> tuple[dict[int, Scored], Work, bool]:
        """Return the sums of the jobs' requests by index, their cost, and whether all jobs finished.

        Jobs are left out if memory runs out. Raises RunError if it runs out on a single row. record: called after
        every job.
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
                job_work = Work(job.num_forwards, job.num_tokens, self.forward.headed.head_rows - head_rows)
                record(sums, job_work)
                scored |= sums
                work += job_work
                progress.advance(job.num_tokens)
        return scored, work, True

    def non_finite_requests(self, requests: Sequence[Request], indices: Iterable[int]) -> tuple[int, ...]:
        """Return the indices of requests whose losses are not finite when scored alone.

        One request with NaN can make the losses of others in its row NaN.
        """
        non_finite = []
        with evaluation_mode(self.model):
            for index in indices:
                request = requests[index]
                ids_T = request.ids[: request.end].astype(np.int64)
                target_positions_T = np.arange(1, len(ids_T))
                keep_T = target_positions_T >= request.start
                nats_N, _ = self.forward.losses(ids_T[None, :-1], ids_T[None, 1:], keep_T[None])
                if not np.isfinite(nats_N).all():
                    non_finite.append(index)
        return tuple(non_finite)

    def describe(self) -> str:
        """Return the modes that were used and the strategy for the head, such as `full, tree; head replayed`."""
        return f"{', '.join(sorted(self.used_modes))}; head {self.forward.headed.head}"

    def run_dummy_forwards(self, num_forwards: int) -> None:
        """Call the model without scoring, for a process that must call it as often as others do."""
        ids_BxT = torch.zeros((1, 2), dtype=torch.long, device=self.device)
        with evaluation_mode(self.model):
            for _ in range(num_forwards):
                self.model(input_ids=ids_BxT, use_cache=False)


def _costs_of(model: torch.nn.Module, device: torch.device) -> Costs:
    """Return the costs on a device.

    A pair of query and key costs 4 d FLOPs in a transformer's layer of width d, a token 24 d^2.
    """
    config: Any = getattr(model, "config", None)
    width = getattr(config.get_text_config(), "hidden_size", None) if config is not None else None
    forward = _FORWARD_TOKENS.get(device.type, _FORWARD_TOKENS_ACCELERATOR)
    return Costs(pair=1 / (6 * (width or 1024)), forward=forward, copy=_COPY_TOKENS)
