"""Requests of many stages to their sums: shortcuts agreed on, work shared out, parts gathered once."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from hashlib import sha256

from hf_core_bpb.distributed import fail_at_once, gather_parts, process_group
from hf_core_bpb.errors import InputError, NonFiniteError
from hf_core_bpb.models.inspect import check_known
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.progress import Progress, SilentProgress
from hf_core_bpb.scoring.engine import Engine, Record, forget
from hf_core_bpb.scoring.head import Head
from hf_core_bpb.scoring.journal import Journal
from hf_core_bpb.scoring.memory import auto_batch_tokens
from hf_core_bpb.scoring.plan import Job, share_out
from hf_core_bpb.scoring.trie import Trie, build_trie
from hf_core_bpb.types import Request, Scored, Work


@dataclass(frozen=True)
class Workload:
    """The requests of every stage by its name, and their tries: all that is known before there is a model."""

    requests: Mapping[str, list[Request]]
    tries: Mapping[str, Trie]

    @cached_property
    def digests(self) -> dict[str, str]:
        """What tells the requests of every stage from all others, another stage's of the same content too."""
        return {name: _digest(name, requests) for name, requests in self.requests.items()}

    @property
    def longest(self) -> int:
        """Tokens of the longest path."""
        return max((trie.longest for trie in self.tries.values()), default=0)

    @property
    def largest_id(self) -> int:
        """The largest token id of all."""
        return max((int(r.ids.max()) for requests in self.requests.values() for r in requests), default=0)

    @property
    def minimum_tokens(self) -> int:
        """The fewest tokens that any way of scoring the stages one by one forwards."""
        return sum(trie.num_tokens for trie in self.tries.values())


def prepare(stages: Mapping[str, Callable[[], list[Request]]]) -> Workload:
    """Return the requests that the stages make; every process makes the same."""
    requests: dict[str, list[Request]] = {}
    tries: dict[str, Trie] = {}

    def make() -> None:
        for name, make_requests in stages.items():
            requests[name] = make_requests()
            tries[name] = build_trie(requests[name])

    gather_parts(make)
    return Workload(requests, tries)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some requests of a stage, as a trie, and the jobs of each share of the processes."""

    stage: str
    trie: Trie
    shares: Sequence[Sequence[Job]]


@dataclass(frozen=True, slots=True)
class Part:
    """What one process scored: sums by stage and request number, and whether its memory was enough."""

    scored: Mapping[str, Mapping[int, Scored]]
    work: Work
    finished: bool


@dataclass(slots=True)
class Scorer:
    """Scores workloads on one model, by itself or as one of a group of processes.

    batch_tokens: tokens that a forward holds at most, found from the device's memory where None. journal: where
    every forward is written down as it is done, and whose forwards need not be done again.
    """

    lm: LanguageModel
    batch_tokens: int | None = None
    progress: Progress = field(default_factory=SilentProgress)
    journal: Journal | None = None
    _engine: Engine | None = field(default=None, init=False)

    @property
    def engine(self) -> Engine:
        """The model with what has been found out about it."""
        if self._engine is None:
            self._engine = Engine(self.lm.model)
        return self._engine

    @property
    def backend(self) -> str:
        """What scoring was done by, in words for a report."""
        return self.engine.describe()

    def score(self, workload: Workload) -> tuple[dict[str, list[Scored]], Work]:
        """Return the sums of every stage's requests, in their order, on every process, and what that took.

        All processes plan the same forwards, run their shares, and gather all parts once at the end. Where
        memory runs out on any, all of them halve the budget for what is left.
        """
        check_known(workload.largest_id, self.lm.model)
        if process_group().num_processes > 1 and len(set(map(str, gather_parts(lambda: workload.digests)))) > 1:
            raise InputError(
                "expected the same texts and tasks on every process, which share the work, got different ones; "
                "each by itself is what the metrics of evaluate do"
            )
        head = self.engine.forward.headed.head
        budget = self._budget(head)
        scored: dict[str, dict[int, Scored]] = {name: {} for name in workload.requests}
        work = Work(minimum_tokens=workload.minimum_tokens)
        if self.journal is not None:
            for name, digest in workload.digests.items():
                scored[name] |= self.journal.scored.get(digest, {})
                work += self.journal.work.get(digest, Work())
        # Planned as if nothing were done yet, so that what is left runs as it would have run.
        tries = self._tries(workload, {name: {} for name in workload.requests})
        while True:
            pieces = self._share_out(tries, budget, scored)
            score_share = partial(self._score_share, workload, pieces)
            if self.engine.in_step:
                own = fail_at_once(score_share)
                score_share = partial(_unchanged, own)
            parts = gather_parts(score_share)
            for part in parts:
                work += part.work
                for name, sums in part.scored.items():
                    # Of a job that was only partly new, what was there before stays.
                    scored[name] = {**sums, **scored[name]}
            # What was found out holds for the next workload on this model as well.
            self.batch_tokens = budget
            if all(part.finished for part in parts):
                return {name: [sums[i] for i in range(len(sums))] for name, sums in scored.items()}, work
            budget = max(1, budget // 2)
            _warn(f"a forward ran out of memory: going on with --batch-tokens {budget}")
            tries = self._tries(workload, scored)

    def _budget(self, head: Head) -> int:
        journal = self.journal
        asked = self.batch_tokens or (journal.batch_tokens if journal is not None else None)
        budget = asked or min(gather_parts(partial(auto_batch_tokens, self.lm.model, head)))
        if journal is not None and journal.batch_tokens != budget:
            gather_parts(lambda: journal.plan(process_group().process_index, budget))
        return budget

    def _tries(self, workload: Workload, scored: Mapping[str, Mapping[int, Scored]]) -> list[tuple[str, Trie]]:
        """Return the tries of what is not yet scored, with the stage of each."""
        if self.engine.rescaled_beyond is None and not any(scored.values()):
            return list(workload.tries.items())
        return [
            (name, trie)
            for name, requests in workload.requests.items()
            for trie in self.engine.tries(requests, [n for n in range(len(requests)) if n not in scored[name]])
        ]

    def _share_out(
        self, tries: Sequence[tuple[str, Trie]], budget: int, scored: Mapping[str, Mapping[int, Scored]]
    ) -> list[Piece]:
        """Return the jobs of every trie that score something new, by shortcuts that all have found right, in shares."""
        longest = max((trie.longest for _, trie in tries), default=0)
        while True:
            planned = [self.engine.plan(trie, budget) for _, trie in tries]
            jobs_of_all = [job for jobs in planned for job in jobs]
            # A window may count the columns of a tree, which are more than any of its paths has tokens.
            widest = max([longest, *(job.num_columns for job in jobs_of_all)])
            untried = self.engine.untried(jobs_of_all, widest)
            if not untried:
                break
            outcomes = gather_parts(partial(self.engine.try_out, untried, widest))
            for mode, failure in self.engine.settle(outcomes, widest).items():
                model = type(self.lm.model).__name__
                _warn(f"{model} is scored without the shortcut '{mode}', as right but slower: {failure}")
        self.engine.used |= {job.mode for jobs in planned for job in jobs}
        loads = [0.0] * (process_group().num_processes // self.engine.processes_a_copy)
        pieces = []
        for (name, trie), jobs in zip(tries, planned, strict=True):
            left = [job for job in jobs if not all(number in scored[name] for number in job.numbers(trie))]
            pieces.append(Piece(name, trie, share_out(left, self.engine.costs, loads)))
        return pieces

    def _score_share(self, workload: Workload, pieces: Sequence[Piece]) -> Part:
        number, place = divmod(process_group().process_index, self.engine.processes_a_copy)
        scored: dict[str, dict[int, Scored]] = {}
        work = Work()
        finished = True
        self.progress.begin(sum(job.num_tokens for piece in pieces for job in piece.shares[number]))
        for piece in pieces:
            jobs = piece.shares[number]
            if jobs and finished:
                self.progress.stage(piece.stage, sum(job.num_tokens for job in jobs))
                requests = workload.requests[piece.stage]
                record = self._recorder(workload, piece.stage, place)
                try:
                    sums, done, finished = self.engine.score(requests, piece.trie, jobs, self.progress, record)
                except NonFiniteError as error:
                    # A sharded model is called in step, which a failure ends.
                    alone = () if self.engine.in_step else self.engine.not_finite(requests, error.numbers)
                    raise NonFiniteError(piece.stage, alone or error.numbers, error.count) from None
                scored.setdefault(piece.stage, {}).update(sums)
                work += done
        if self.engine.in_step:
            counts = [
                sum(job.num_forwards for piece in pieces for job in piece.shares[i])
                for i in range(process_group().num_processes // self.engine.processes_a_copy)
            ]
            self.engine.idle(max(counts) - counts[number])
        # Processes that hold parts of one copy of the model have done the same work together.
        return Part(scored, work if place == 0 else Work(), finished)

    def _recorder(self, workload: Workload, stage: str, place: int) -> Record:
        """Return what writes a job of a stage down; one of the processes that hold a copy together does it."""
        journal = self.journal
        if journal is None or place > 0:
            return forget
        return partial(journal.record, process_group().process_index, workload.digests[stage])


def _unchanged(part: Part) -> Part:
    return part


def _digest(name: str, requests: Sequence[Request]) -> str:
    digest = sha256(repr(name).encode())
    for request in requests:
        numbers = (request.start, request.end, request.num_bytes, request.num_characters, len(request.ids))
        digest.update(repr(numbers).encode())
        digest.update(request.ids.tobytes())
    return digest.hexdigest()[:32]


def _warn(message: str) -> None:
    if process_group().is_main_process:
        warnings.warn(message, stacklevel=2)
