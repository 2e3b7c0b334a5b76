"""Composition: tasks or documents to requests, to their sums, to results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from hf_core_bpb.distributed import main_process_first, process_group
from hf_core_bpb.errors import NonFiniteError, RunError
from hf_core_bpb.evaluation.sampling import SEED, Stratum, draw_order, first_sizes, half_width, next_sizes
from hf_core_bpb.evaluation.task_run import TaskStage
from hf_core_bpb.metrics.centering import core_weight
from hf_core_bpb.metrics.results import BpbResult, CoreResult, Sample, TaskResult
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.protocols import Protocol
from hf_core_bpb.scoring.scorer import Scorer, Workload, prepare
from hf_core_bpb.signature import digest, sign
from hf_core_bpb.tokenization.encode import first_token_id
from hf_core_bpb.tokenization.windows import Windows, text_requests
from hf_core_bpb.types import Baselines, Document, Request, Scored, Task, TaskData, Work


@dataclass(frozen=True, slots=True)
class CoreRun:
    """What a CORE run is asked for: tasks, where their rows come from, the protocol by name, what to warn of.

    `content` pins a bundle that came as a zip file by its sha256. precision: half the interval of CORE at which
    enough items are scored, None for all of them.
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
    precision: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreparedCore:
    """A CORE run made ready for a tokenizer and context length; models that share these can be scored one by one.

    strata: what is sampled from, with `sizes` of each to begin with; all of it where no precision is asked for.
    workload: the requests of these items.
    """

    run: CoreRun
    stages: Mapping[str, TaskStage]
    strata: Sequence[Stratum]
    sizes: Sequence[int]
    workload: Workload


def prepare_core(lm: LanguageModel, run: CoreRun) -> PreparedCore:
    """Return a run's items as requests; all rows are loaded here, and the prompts of what is scored first tokenised."""
    data = main_process_first(lambda: {task.name: run.load(task) for task in run.tasks})
    stages = {task.name: TaskStage(lm, task, data[task.name], run.protocol, run.limit) for task in run.tasks}
    strata = [stratum for stage in stages.values() for stratum in _strata(stage, run)]
    everything = [len(stratum.places) for stratum in strata]
    sizes = everything if run.precision is None else first_sizes(strata)
    return PreparedCore(run, stages, strata, sizes, _workload(stages, _places(strata, [0] * len(strata), sizes)))


def _strata(stage: TaskStage, run: CoreRun) -> list[Stratum]:
    name = stage.task.name
    places = stage.places_by_category()
    weight = core_weight(len(run.tasks), stage.task.baselines[run.baselines], len(places))
    if run.precision is None:
        return [Stratum(name, range(len(stage.items)), weight)]
    return [Stratum(name, draw_order(held, f"{name} {category}"), weight) for category, held in places.items()]


def _places(strata: Sequence[Stratum], begins: Sequence[int], ends: Sequence[int]) -> dict[str, list[int]]:
    """Return the places of these stretches of the strata by task, in their order; tasks without any are left out."""
    places: dict[str, list[int]] = {}
    for stratum, begin, end in zip(strata, begins, ends, strict=True):
        if begin < end:
            places.setdefault(stratum.task, []).extend(stratum.places[begin:end])
    return {name: sorted(held) for name, held in places.items()}


def _workload(stages: Mapping[str, TaskStage], places: Mapping[str, Sequence[int]]) -> Workload:
    return prepare({name: partial(stages[name].requests, held) for name, held in places.items()})


def score_core(scorer: Scorer, prepared: PreparedCore) -> tuple[CoreResult, Work]:
    """Return the results of a prepared run on a model, and what they took.

    Where a precision is asked for, more items are scored until CORE of all of them is known to it.
    """
    run, strata = prepared.run, prepared.strata
    sums: dict[str, dict[int, tuple[Scored, ...]]] = {name: {} for name in prepared.stages}
    work = Work()
    sizes, workload = prepared.sizes, prepared.workload
    places = _places(strata, [0] * len(strata), sizes)
    sample: Sample | None = None
    while True:
        try:
            scored, done = scorer.score(workload)
        except NonFiniteError as error:
            items = prepared.stages[error.stage].places_of(places[error.stage], error.numbers)
            raise RunError(error.said("items", items)) from None
        work += done
        for name, held in places.items():
            sums[name] |= prepared.stages[name].by_item(held, scored[name])
        results = {name: stage.result(sums[name]) for name, stage in prepared.stages.items()}
        if run.precision is None:
            break
        right = _count_right(results, strata, sizes)
        sample = Sample(run.precision, half_width(strata, right, sizes), sum(len(s.places) for s in strata), SEED)
        wanted = next_sizes(strata, right, sizes, run.precision)
        if wanted is None:
            break
        scorer.progress.note(
            f"{run.suite} is known to ±{sample.half_width:.4f} after {sum(sizes):,} items: {sum(wanted):,} of "
            f"{sample.num_all:,} for ±{run.precision:g}."
        )
        places = _places(strata, sizes, wanted)
        sizes, workload = wanted, _workload(prepared.stages, places)
    result = CoreResult(
        suite=run.suite,
        protocol=run.protocol_name,
        source=run.source,
        baselines=run.baselines,
        tasks=results,
        signature=_sign_core(scorer, run, results),
        sample=sample,
    )
    return result, work


def _count_right(results: Mapping[str, TaskResult], strata: Sequence[Stratum], sizes: Sequence[int]) -> list[int]:
    right = {name: {item.index for item in result.items if item.correct} for name, result in results.items()}
    return [
        len(right[stratum.task].intersection(stratum.places[:size]))
        for stratum, size in zip(strata, sizes, strict=True)
    ]


def run_core(scorer: Scorer, run: CoreRun) -> tuple[CoreResult, Work]:
    """Return the results of a run's tasks, and what they took."""
    return score_core(scorer, prepare_core(scorer.lm, run))


def _sign_core(scorer: Scorer, run: CoreRun, results: Mapping[str, TaskResult]) -> str:
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
            **({"precision": f"{run.precision:g}({SEED})"} if run.precision is not None else {}),
            **_sign_tokens(scorer),
            **({"first": "tokenizer"} if run.protocol.own_specials else {}),
            "truncation": "left",
            "data": digest(repr(recipes)),
        },
    )


def _recipe(task: Task) -> list[str]:
    """Return what of a task its numbers depend on, as text."""
    parts = [task.kind, task.delimiter, sorted(task.baselines.items()), task.dataset, task.fewshot, task.prompt]
    return [repr(part) for part in parts]


def _sign_tokens(scorer: Scorer) -> dict[str, object]:
    lm = scorer.lm
    batches = {"batch-tokens": scorer.batch_tokens, "processes": process_group().num_processes}
    return {
        **({"tokenizer": lm.tokenizer_name} if lm.tokenizer_name != lm.name else {}),
        "first": describe_first_token(lm),
        "max-length": lm.max_length,
        "dtype": lm.dtype,
        **lm.loading,
        **(batches if lm.depends_on_batches else {}),
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
    try:
        scored, work = scorer.score(prepared.workload)
    except NonFiniteError as error:
        broken = sorted({prepared.owners[error.stage][number] for number in error.numbers})
        raise RunError(error.said("documents", broken)) from None
    results = {}
    for source in prepared.sources:
        documents = [Scored() for _ in source.documents]
        for owner, sums in zip(prepared.owners[source.name], scored[source.name], strict=True):
            documents[owner] += sums
        recipe = {"text": source.revision, **_sign_tokens(scorer), **prepared.windows.recipe}
        results[source.name] = BpbResult(sum(documents, Scored()), tuple(documents), sign("bpb", recipe))
    return results, work


def run_bpb(scorer: Scorer, sources: Sequence[TextSource], windows: Windows) -> tuple[dict[str, BpbResult], Work]:
    """Return each source's bits per byte, by name, and what they took."""
    return score_bpb(scorer, prepare_bpb(scorer.lm, sources, windows))
