"""Workloads to sums: fast paths agreed on, work shared among processes, parts gathered once at the end."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch

from hf_core_bpb.distributed import Gathering, gather_parts, process_group
from hf_core_bpb.errors import InputError, NonFiniteError
from hf_core_bpb.models.inspect import check_largest_id
from hf_core_bpb.progress import Progress, SilentProgress
from hf_core_bpb.scoring.engine import Engine, Record, record_nothing
from hf_core_bpb.scoring.journal import Journal
from hf_core_bpb.scoring.memory import auto_batch_tokens
from hf_core_bpb.scoring.plan import Job, share_out
from hf_core_bpb.scoring.trie import Trie
from hf_core_bpb.scoring.workload import Workload
from hf_core_bpb.types import Scored, Work


@dataclass(frozen=True, slots=True)
class ScoredWorkload:
    """The sums of every request by the name of its task or text, what they cost, and the budget of the last forward."""

    sums: Mapping[str, list[Scored]]
    work: Work
    batch_tokens: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """A trie of some requests of a task or text, and the jobs of each share of the processes."""

    name: str
    trie: Trie
    shares: Sequence[Sequence[Job]]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one process scored: sums by name and request number, and whether its memory sufficed."""

    sums: Mapping[str, Mapping[int, Scored]]
    work: Work
    finished: bool


@dataclass(slots=True)
class Scorer:
    """Scores workloads on one model, by itself or as one process of a group.

    batch_tokens: maximum tokens per forward pass, from the device's memory if None. journal: where every finished
    forward is recorded, and whose forwards are not repeated.
    """

    model: torch.nn.Module
    batch_tokens: int | None = None
    progress: Progress = field(default_factory=SilentProgress)
    journal: Journal | None = None
    _engine: Engine | None = field(default=None, init=False)
    _budget: int | None = field(default=None, init=False)

    @property
    def engine(self) -> Engine:
        """The model with the fast paths that hold on it."""
        if self._engine is None:
            self._engine = Engine(self.model)
        return self._engine

    @property
    def budget(self) -> int:
        """Tokens per forward pass that every process can hold; all processes must ask together."""
        if self._budget is None:
            journal = self.journal
            requested = self.batch_tokens or (journal.batch_tokens if journal is not None else None)
            head = self.engine.forward.headed.head
            self._budget = requested or min(gather_parts(partial(auto_batch_tokens, self.model, head)))
        return self._budget

    def score(self, workload: Workload) -> ScoredWorkload:
        """Return the sums of all requests, in their order, on every process.

        All processes plan the same forwards, run their shares, and gather all parts once at the end. If memory runs
        out on any process, all of them halve the budget for what is left.
        """
        self._check(workload)
        budget = self.budget
        self._record_budget(budget)
        sums: dict[str, dict[int, Scored]] = {name: {} for name in workload.requests}
        work = Work(minimum_tokens=workload.minimum_tokens)
        if self.journal is not None:
            for name, digest in workload.digests.items():
                sums[name] |= self.journal.scored.get(digest, {})
                work += self.journal.work.get(digest, Work())
        # Planned as if nothing were scored yet, so that what is left runs as it would have run.
        tries = self._tries(workload, {name: {} for name in workload.requests})
        while True:
            pieces = self._share_out(tries, budget, sums)
            gathering: Gathering[_Part] = Gathering(self.engine.in_lockstep)
            with gathering:
                gathering.part = self._score_share(workload, pieces)
            for part in gathering.parts:
                work += part.work
                for name, scored in part.sums.items():
                    # A job that was only partly new keeps the sums that were there before.
                    sums[name] = {**scored, **sums[name]}
            # A budget that fitted holds for the next workload on this model as well.
            self._budget = budget
            if all(part.finished for part in gathering.parts):
                ordered = {name: [scored[i] for i in range(len(scored))] for name, scored in sums.items()}
                return ScoredWorkload(ordered, work, budget)
            budget = max(1, budget // 2)
            _warn(f"a forward pass ran out of memory: continuing with `batch_tokens` {budget}")
            tries = self._tries(workload, sums)

    def _check(self, workload: Workload) -> None:
        """Raise InputError for ids that the model does not know, and for processes with different workloads."""
        check_largest_id(workload.largest_id, self.model)
        if process_group().num_processes > 1 and len(set(map(str, gather_parts(lambda: workload.digests)))) > 1:
            raise InputError(
                "expected the same texts and tasks on every process, as processes share the work, got different ones; "
                "the evaluate metrics score on each process by itself"
            )

    def _record_budget(self, budget: int) -> None:
        journal = self.journal
        if journal is not None and journal.batch_tokens != budget:
            gather_parts(lambda: journal.plan(process_group().process_index, budget))

    def _tries(self, workload: Workload, sums: Mapping[str, Mapping[int, Scored]]) -> list[tuple[str, Trie]]:
        """Return the tries of what is not scored yet, each with the name of its task or text."""
        if self.engine.rescaled_beyond is None and not any(sums.values()):
            return list(workload.tries.items())
        return [
            (name, trie)
            for name, requests in workload.requests.items()
            for trie in self.engine.tries(requests, [n for n in range(len(requests)) if n not in sums[name]])
        ]

    def _share_out(
        self, tries: Sequence[tuple[str, Trie]], budget: int, sums: Mapping[str, Mapping[int, Scored]]
    ) -> list[_Piece]:
        """Return the jobs with something new to score, by fast paths that hold on all processes, in shares."""
        longest = max((trie.longest for _, trie in tries), default=0)
        while True:
            planned = [self.engine.plan(trie, budget) for _, trie in tries]
            jobs = [job for trie_jobs in planned for job in trie_jobs]
            # A window may count the columns of a tree, which are more than the tokens of any of its paths.
            widest = max([longest, *(job.num_columns for job in jobs)])
            untried = self.engine.untried(jobs, widest)
            if not untried:
                break
            outcomes = gather_parts(partial(self.engine.try_out, untried, widest))
            for mode, failure in self.engine.settle(outcomes, widest).items():
                _warn(
                    f"Fast path '{mode}' disabled for {type(self.model).__name__}: {failure}. Results are unaffected, "
                    "the run is slower."
                )
        self.engine.used |= {job.mode for job in jobs}
        loads = [0.0] * (process_group().num_processes // self.engine.processes_per_copy)
        pieces = []
        for (name, trie), trie_jobs in zip(tries, planned, strict=True):
            left = [job for job in trie_jobs if not all(number in sums[name] for number in job.numbers(trie))]
            pieces.append(_Piece(name, trie, share_out(left, self.engine.costs, loads)))
        return pieces

    def _score_share(self, workload: Workload, pieces: Sequence[_Piece]) -> _Part:
        share, member = divmod(process_group().process_index, self.engine.processes_per_copy)
        sums: dict[str, dict[int, Scored]] = {}
        work = Work()
        finished = True
        self.progress.begin(sum(job.num_tokens for piece in pieces for job in piece.shares[share]))
        for piece in pieces:
            jobs = piece.shares[share]
            if not jobs or not finished:
                continue
            self.progress.stage(piece.name, sum(job.num_tokens for job in jobs))
            requests = workload.requests[piece.name]
            record = self._recorder(workload, piece.name, member)
            try:
                scored, done, finished = self.engine.score(requests, piece.trie, jobs, self.progress, record)
            except NonFiniteError as error:
                # A sharded model is called in lockstep, which a failure ends.
                alone = () if self.engine.in_lockstep else self.engine.not_finite(requests, error.indices)
                raise NonFiniteError(piece.name, alone or error.indices, error.count) from None
            sums.setdefault(piece.name, {}).update(scored)
            work += done
        if self.engine.in_lockstep:
            num_shares = process_group().num_processes // self.engine.processes_per_copy
            counts = [sum(job.num_forwards for piece in pieces for job in piece.shares[i]) for i in range(num_shares)]
            self.engine.idle(max(counts) - counts[share])
        # Processes that hold parts of one copy of the model have done the same work together.
        return _Part(sums, work if member == 0 else Work(), finished)

    def _recorder(self, workload: Workload, name: str, member: int) -> Record:
        """Return the function that records a job; of the processes that hold a copy together, one records."""
        if self.journal is None or member > 0:
            return record_nothing
        return partial(self.journal.record, process_group().process_index, workload.digests[name])


def _warn(message: str) -> None:
    if process_group().is_main_process:
        warnings.warn(message, stacklevel=2)
