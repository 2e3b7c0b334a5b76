"""Composition: tasks or documents to requests, to their sums, to results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from hf_core_bpb.distributed import main_process_first
from hf_core_bpb.metrics import decide
from hf_core_bpb.model import LanguageModel
from hf_core_bpb.protocols import Protocol
from hf_core_bpb.scorer import Scorer, Workload, prepare
from hf_core_bpb.signature import digest, sign
from hf_core_bpb.text import Windows, text_requests
from hf_core_bpb.tokens import first_token_id
from hf_core_bpb.types import (
    Baselines,
    BpbResult,
    CoreResult,
    Document,
    Example,
    ItemResult,
    Request,
    Scored,
    Task,
    TaskData,
    TaskResult,
    Work,
)

_ITEMS_AT_ONCE = 256


@dataclass(slots=True)
class TaskStage:
    """One task on its way: the items in the protocol's order, and what each one's requests were."""

    lm: LanguageModel
    task: Task
    data: TaskData
    protocol: Protocol
    limit: int | None
    items: list[Example] = field(init=False)
    shots: list[list[Example]] = field(init=False)
    num_requests: list[int] = field(default_factory=list)
    truncated: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take the items that the protocol takes, with the shots it draws or those that the task brings."""
        self.items = self.protocol.select(self.task.kind, self.data.examples, self.limit)
        if self.data.shots is None:
            self.shots = self.protocol.draw(self.items, self.task.num_fewshot)
        else:
            pool = self.data.shots
            self.shots = [pool.get(item.group, [])[: self.task.num_fewshot] for item in self.items]

    def requests(self) -> list[Request]:
        """Return the requests of all items, one after another."""
        made: list[Request] = []
        for begin in range(0, len(self.items), _ITEMS_AT_ONCE):
            some = slice(begin, begin + _ITEMS_AT_ONCE)
            for options in self.protocol.requests(
                self.lm.tokenizer, self.task, self.items[some], self.shots[some], self.lm.max_length, begin
            ):
                self.num_requests.append(len(options))
                self.truncated.append(any(request.truncated for request in options))
                made += options
        return made

    def result(self, scored: Sequence[Scored]) -> TaskResult:
        """Return the verdicts that follow from the requests' sums."""
        verdicts = []
        begin = 0
        for index, (item, count) in enumerate(zip(self.items, self.num_requests, strict=True)):
            options = tuple(scored[begin : begin + count])
            begin += count
            prediction, correct = decide(self.task.kind, options, item.gold)
            verdicts.append(
                ItemResult(
                    index=index,
                    gold=None if self.task.kind == "language_modeling" else item.gold,
                    prediction=prediction,
                    correct=correct,
                    options=options,
                    truncated=self.truncated[index],
                    category=self.protocol.category_of(item),
                )
            )
        num_fewshot = max(len(shots) for shots in self.shots)
        return TaskResult(self.task, num_fewshot, self.data.revision, tuple(verdicts))


@dataclass(frozen=True, slots=True)
class CoreRun:
    """What a CORE run is asked for: tasks, where their rows come from, the protocol by name, what to warn of.

    `content` pins a bundle that came as a zip file by its sha256.
    """

    suite: str
    tasks: Sequence[Task]
    load: Callable[[Task], TaskData]
    source: str
    content: str
    protocol_name: str
    protocol: Protocol
    limit: int | None
    baselines: Baselines
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreparedCore:
    """A CORE run made ready for a tokenizer and context length; models that share these can be scored one by one."""

    run: CoreRun
    stages: Mapping[str, TaskStage]
    workload: Workload


def prepare_core(lm: LanguageModel, run: CoreRun) -> PreparedCore:
    """Return a run's items as requests; all rows are loaded here, and all prompts tokenised."""
    data = main_process_first(lambda: {task.name: run.load(task) for task in run.tasks})
    stages = {task.name: TaskStage(lm, task, data[task.name], run.protocol, run.limit) for task in run.tasks}
    return PreparedCore(run, stages, prepare({name: stage.requests for name, stage in stages.items()}))


def score_core(scorer: Scorer, prepared: PreparedCore) -> tuple[CoreResult, Work]:
    """Return the results of a prepared run on a model, and what they took."""
    run = prepared.run
    scored, work = scorer.score(prepared.workload)
    results = {name: stage.result(scored[name]) for name, stage in prepared.stages.items()}
    result = CoreResult(
        suite=run.suite,
        protocol=run.protocol_name,
        source=run.source,
        baselines=run.baselines,
        tasks=results,
        signature=_sign_core(scorer.lm, run, results),
    )
    return result, work


def run_core(scorer: Scorer, run: CoreRun) -> tuple[CoreResult, Work]:
    """Return the results of a run's tasks, and what they took."""
    return score_core(scorer, prepare_core(scorer.lm, run))


def _sign_core(lm: LanguageModel, run: CoreRun, results: Mapping[str, TaskResult]) -> str:
    recipes = [(name, result.revision, result.num_fewshot, *_recipe(result.task)) for name, result in results.items()]
    return sign(
        "core",
        {
            "suite": run.suite,
            "tasks": len(recipes) if run.suite != "custom" else ",".join(results),
            "protocol": run.protocol_name,
            "seeds": run.protocol.seeds,
            "source": f"{run.source}({run.content})" if run.content.startswith("sha256:") else run.source,
            "baselines": run.baselines,
            "limit": run.limit if run.limit is not None else "all",
            **_sign_tokens(lm),
            **({"first": "tokenizer"} if run.protocol.own_specials else {}),
            "truncation": "left",
            "data": digest(repr(recipes)),
        },
    )


def _recipe(task: Task) -> list[str]:
    """Return what of a task its numbers depend on, as text."""
    parts = [task.kind, task.delimiter, sorted(task.baselines.items()), task.dataset, task.fewshot, task.prompt]
    return [repr(part) for part in parts]


def _sign_tokens(lm: LanguageModel) -> dict[str, object]:
    return {
        **({"tokenizer": lm.tokenizer_name} if lm.tokenizer_name != lm.name else {}),
        "first": describe_first_token(lm),
        "max-length": lm.max_length,
        "dtype": lm.dtype,
    }


def describe_first_token(lm: LanguageModel) -> str:
    """Say what goes in front of every sequence: bos, eos or none."""
    first = first_token_id(lm.tokenizer)
    if first is None:
        return "none"
    return "bos" if lm.tokenizer.bos_token_id is not None else "eos"


@dataclass(frozen=True, slots=True)
class TextSource:
    """Documents under the name that the user gave them, with what pins their content."""

    name: str
    documents: Sequence[Document]
    revision: str


@dataclass(frozen=True, slots=True)
class PreparedBpb:
    """Texts made ready for a tokenizer and context length: requests, and the document that each belongs to."""

    sources: Sequence[TextSource]
    windows: Windows
    owners: Mapping[str, list[int]]
    workload: Workload


def prepare_bpb(lm: LanguageModel, sources: Sequence[TextSource], windows: Windows) -> PreparedBpb:
    """Return the documents of all sources as requests."""
    owners: dict[str, list[int]] = {}

    def requests_of(source: TextSource) -> list[Request]:
        requests, owners[source.name] = text_requests(lm.tokenizer, source.documents, windows, source.name)
        return requests

    workload = prepare({source.name: partial(requests_of, source) for source in sources})
    return PreparedBpb(sources, windows, owners, workload)


def score_bpb(scorer: Scorer, prepared: PreparedBpb) -> tuple[dict[str, BpbResult], Work]:
    """Return each source's bits per byte on a model, by name, and what they took."""
    scored, work = scorer.score(prepared.workload)
    results = {}
    for source in prepared.sources:
        documents = [Scored() for _ in source.documents]
        for owner, sums in zip(prepared.owners[source.name], scored[source.name], strict=True):
            documents[owner] += sums
        recipe = {"text": source.revision, **_sign_tokens(scorer.lm), **prepared.windows.recipe}
        results[source.name] = BpbResult(sum(documents, Scored()), tuple(documents), sign("bpb", recipe))
    return results, work


def run_bpb(scorer: Scorer, sources: Sequence[TextSource], windows: Windows) -> tuple[dict[str, BpbResult], Work]:
    """Return each source's bits per byte, by name, and what they took."""
    return score_bpb(scorer, prepare_bpb(scorer.lm, sources, windows))
