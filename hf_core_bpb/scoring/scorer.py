"""Score workloads: agree on fast paths, share jobs among processes, gather their sums once at the end."""

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
from hf_core_bpb.scoring.jobs import Job, assign_jobs
from hf_core_bpb.scoring.journal import Journal
from hf_core_bpb.scoring.memory import auto_batch_tokens
from hf_core_bpb.scoring.trie import Trie
from hf_core_bpb.scoring.workload import Workload
from hf_core_bpb.types import Scored, Work


@dataclass(frozen=True, slots=True)
class ScoredWorkload:
    """The sums of all requests, in order, by task or text; the cost; and the token budget of the last forward."""

    sums: Mapping[str, list[Scored]]
    work: Work
    batch_tokens: int


@dataclass(frozen=True, slots=True)
class _PlannedTrie:
    """A trie of requests of one task or text, and its jobs by share of the processes."""

    name: str
    trie: Trie
    shares: Sequence[Sequence[Job]]


@dataclass(frozen=True, slots=True)
class _ShareResult:
    """The sums of one process by name and request index, their cost, and whether all its jobs finished."""

    sums: Mapping[str, Mapping[int, Scored]]
    work: Work
    finished: bool


@dataclass(slots=True)
class Scorer:
    """Scores workloads on one model, in one process or as one of a group.

    batch_tokens: maximum tokens per forward pass, from the device's memory if None. journal: records every finished
    job; jobs that it has already are not repeated.
    """

    model: torch.nn.Module
    batch_tokens: int | None = None
    progress: Progress = field(default_factory=SilentProgress)
    journal: Journal | None = None
    _engine: Engine | None = field(default=None, init=False)
    _budget: int | None = field(default=None, init=False)

    @property
    def engine(self) -> Engine:
        """The model with its fast paths."""
        if self._engine is None:
            self._engine = Engine(self.model)
            if self._engine.forward.headed.head == "full":
                _warn(
                    f"{type(self.model).__name__} computes logits at every position, as no other way gives the same "
                    "losses. Results are unaffected, the run is slower and its batches are smaller."
                )
        return self._engine

    def budget(self, longest: int) -> int:
        """Return the maximum tokens per forward pass, the same on all processes, which must call this together.

        longest: tokens of the longest row.
        """
        if self._budget is None:
            journal = self.journal
            requested = self.batch_tokens or (journal.batch_tokens if journal is not None else None)
            head = self.engine.forward.headed.head
            self._budget = requested or min(gather_parts(partial(auto_batch_tokens, self.model, head, longest)))
        return self._budget

    def score(self, workload: Workload) -> ScoredWorkload:
        """Return the sums of all requests on every process.

        All processes plan the same jobs, run their shares, and gather the sums once at the end. If memory runs out on
        any process, all of them halve the token budget for the remaining requests.
        """
        self._check(workload)
        budget = self.budget(max((trie.longest for trie in workload.tries.values()), default=0))
        self._record_budget(budget)
        sums: dict[str, dict[int, Scored]] = {name: {} for name in workload.requests}
        work = Work(minimum_tokens=workload.minimum_tokens)
        if self.journal is not None:
            for name, digest in workload.digests.items():
                sums[name] |= self.journal.scored.get(digest, {})
                work += self.journal.work.get(digest, Work())
        # Plan as if nothing were scored yet, so that a resumed run has the same jobs as an uninterrupted one.
        tries = self._tries(workload, {name: {} for name in workload.requests})
        while True:
            planned = self._plan(tries, budget, sums)
            gathering: Gathering[_ShareResult] = Gathering(self.engine.in_lockstep)
            with gathering:
                gathering.part = self._score_share(workload, planned)
            for part in gathering.parts:
                work += part.work
                for name, scored in part.sums.items():
                    # Sums from before win: a job can repeat requests that are already scored.
                    sums[name] = {**scored, **sums[name]}
            # The next workload on this model starts with the budget that fits.
            self._budget = budget
            if all(part.finished for part in gathering.parts):
                ordered = {name: [scored[i] for i in range(len(scored))] for name, scored in sums.items()}
                return ScoredWorkload(ordered, work, budget)
            budget = max(1, budget // 2)
            _warn(f"a forward pass ran out of memory: continuing with `batch_tokens` {budget}")
            tries = self._tries(workload, sums)

    def _check(self, workload: Workload) -> None:
        """Raise InputError for ids without an embedding, and if processes have different workloads."""
        check_largest_id(workload.largest_id, self.model)
        if process_group().num_processes > 1 and len(set(map(str, gather_parts(lambda: workload.digests)))) > 1:
            raise InputError(
                "expected the same texts and tasks on every process, as processes share the work, got different ones; "
                "the evaluate metrics score on each process by itself"
            )

    def _record_budget(self, budget: int) -> None:
        journal = self.journal
        if journal is not None and journal.batch_tokens != budget:
            gather_parts(lambda: journal.record_batch_tokens(process_group().process_index, budget))

    def _tries(self, workload: Workload, sums: Mapping[str, Mapping[int, Scored]]) -> list[tuple[str, Trie]]:
        """Return the tries of the requests without sums, each with the name of its task or text."""
        if self.engine.rescaled_beyond is None and not any(sums.values()):
            return list(workload.tries.items())
        return [
            (name, trie)
            for name, requests in workload.requests.items()
            for trie in self.engine.build_tries(requests, [i for i in range(len(requests)) if i not in sums[name]])
        ]

    def _plan(
        self, tries: Sequence[tuple[str, Trie]], budget: int, sums: Mapping[str, Mapping[int, Scored]]
    ) -> list[_PlannedTrie]:
        """Return the jobs with requests that have no sums yet, in one share per copy of the model."""
        jobs_by_trie = self._plan_verified(tries, budget)
        self.engine.used_modes |= {job.mode for jobs in jobs_by_trie for job in jobs}
        loads = [0.0] * (process_group().num_processes // self.engine.processes_per_copy)
        planned = []
        for (name, trie), jobs in zip(tries, jobs_by_trie, strict=True):
            remaining = [job for job in jobs if not all(index in sums[name] for index in job.request_indices(trie))]
            planned.append(_PlannedTrie(name, trie, assign_jobs(remaining, self.engine.costs, loads)))
        return planned

    def _plan_verified(self, tries: Sequence[tuple[str, Trie]], budget: int) -> list[list[Job]]:
        """Return the jobs of each trie by fast paths that pass the accuracy check on all processes."""
        longest = max((trie.longest for _, trie in tries), default=0)
        while True:
            jobs_by_trie = [self.engine.plan(trie, budget) for _, trie in tries]
            jobs = [job for trie_jobs in jobs_by_trie for job in trie_jobs]
            # A window may count the columns of a tree, which has more of them than its longest path has tokens.
            widest = max([longest, *(job.num_columns for job in jobs)])
            unverified = self.engine.unverified(jobs, widest)
            if not unverified:
                return jobs_by_trie
            verdicts = gather_parts(partial(self.engine.verify, unverified, widest))
            for mode, failure in self.engine.apply_verdicts(verdicts, widest).items():
                _warn(
                    f"Fast path '{mode}' disabled for {type(self.model).__name__}: {failure}. Results are unaffected, "
                    "the run is slower."
                )

    def _score_share(self, workload: Workload, planned: Sequence[_PlannedTrie]) -> _ShareResult:
        share, member = divmod(process_group().process_index, self.engine.processes_per_copy)
        sums: dict[str, dict[int, Scored]] = {}
        work = Work()
        finished = True
        self.progress.begin(sum(job.num_tokens for item in planned for job in item.shares[share]))
        for item in planned:
            jobs = item.shares[share]
            if not jobs or not finished:
                continue
            self.progress.stage(item.name, sum(job.num_tokens for job in jobs))
            requests = workload.requests[item.name]
            record = self._recorder(workload, item.name, member)
            try:
                scored, item_work, finished = self.engine.score(requests, item.trie, jobs, self.progress, record)
            except NonFiniteError as error:
                # Processes in lockstep cannot score single requests: the others would wait for them.
                culprits = () if self.engine.in_lockstep else self.engine.non_finite_requests(requests, error.indices)
                raise NonFiniteError(item.name, culprits or error.indices, error.count) from None
            sums.setdefault(item.name, {}).update(scored)
            work += item_work
        if self.engine.in_lockstep:
            num_shares = process_group().num_processes // self.engine.processes_per_copy
            counts = [sum(job.num_forwards for item in planned for job in item.shares[i]) for i in range(num_shares)]
            self.engine.run_dummy_forwards(max(counts) - counts[share])
        # The processes of one copy of the model did the same work: count it once.
        return _ShareResult(sums, work if member == 0 else Work(), finished)

    def _recorder(self, workload: Workload, name: str, member: int) -> Record:
        """Return the function that records a job; only the first process of each copy of the model records."""
        if self.journal is None or member > 0:
            return record_nothing
        return partial(self.journal.record, process_group().process_index, workload.digests[name])


def _warn(message: str) -> None:
    if process_group().is_main_process:
        warnings.warn(message, stacklevel=2)
