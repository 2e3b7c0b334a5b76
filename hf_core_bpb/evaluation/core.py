"""CORE of one model: tasks to requests, to their sums, to results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from hf_core_bpb.distributed import main_process_first
from hf_core_bpb.errors import NonFiniteError, RunError
from hf_core_bpb.evaluation.recipe import sign_model
from hf_core_bpb.evaluation.resolve import ResolvedCore
from hf_core_bpb.evaluation.sampling import SEED, Stratum, draw_order, first_sizes, half_width, next_sizes
from hf_core_bpb.evaluation.task_run import TaskRun
from hf_core_bpb.metrics.centering import core_weight
from hf_core_bpb.metrics.results import CoreResult, Sample, TaskResult
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.scoring.workload import Workload, build_workload
from hf_core_bpb.signature import digest, sign
from hf_core_bpb.types import Scored, Task, Work


@dataclass(frozen=True, slots=True)
class PreparedCore:
    """A CORE evaluation for one tokenizer and context length; models that share these can be scored one by one.

    strata: the items to sample from; `sizes` of each are scored first, all of them without a precision. workload: the
    requests of these items.
    """

    core: ResolvedCore
    runs: Mapping[str, TaskRun]
    strata: Sequence[Stratum]
    sizes: Sequence[int]
    workload: Workload


def prepare_core(lm: LanguageModel, core: ResolvedCore) -> PreparedCore:
    """Load the rows of all tasks, and tokenize the prompts of the items that are scored first."""
    data = main_process_first(lambda: {task.name: core.load(task) for task in core.tasks})
    runs = {
        task.name: TaskRun(task, data[task.name], core.protocol, core.options.limit, lm.tokenizer, lm.max_length)
        for task in core.tasks
    }
    strata = [stratum for run in runs.values() for stratum in _strata(run, core)]
    everything = [len(stratum.indices) for stratum in strata]
    sizes = everything if core.options.precision is None else first_sizes(strata)
    return PreparedCore(core, runs, strata, sizes, _workload(runs, _indices(strata, [0] * len(strata), sizes)))


def _strata(run: TaskRun, core: ResolvedCore) -> list[Stratum]:
    name = run.task.name
    by_category = run.indices_by_category()
    weight = core_weight(len(core.tasks), run.task.baselines[core.baselines], len(by_category))
    if core.options.precision is None:
        return [Stratum(name, range(len(run.items)), weight)]
    return [
        Stratum(name, draw_order(indices, f"{name} {category}"), weight) for category, indices in by_category.items()
    ]


def _indices(strata: Sequence[Stratum], begins: Sequence[int], ends: Sequence[int]) -> dict[str, list[int]]:
    """Return the item indices of these stretches of the strata by task, in order; tasks without any are left out."""
    indices: dict[str, list[int]] = {}
    for stratum, begin, end in zip(strata, begins, ends, strict=True):
        if begin < end:
            indices.setdefault(stratum.task, []).extend(stratum.indices[begin:end])
    return {name: sorted(items) for name, items in indices.items()}


def _workload(runs: Mapping[str, TaskRun], indices: Mapping[str, Sequence[int]]) -> Workload:
    return build_workload({name: partial(runs[name].requests, items) for name, items in indices.items()})


def score_core(lm: LanguageModel, scorer: Scorer, prepared: PreparedCore) -> tuple[CoreResult, Work]:
    """Return the results of a prepared evaluation on a model, and what they cost.

    With a precision, more items are scored until CORE of all of them is estimated to within it.
    """
    core, strata, runs = prepared.core, prepared.strata, prepared.runs
    precision = core.options.precision
    sums: dict[str, dict[int, tuple[Scored, ...]]] = {name: {} for name in runs}
    work = Work()
    sizes, workload = prepared.sizes, prepared.workload
    indices = _indices(strata, [0] * len(strata), sizes)
    sample: Sample | None = None
    while True:
        try:
            scored = scorer.score(workload)
        except NonFiniteError as error:
            items = runs[error.name].items_of(indices[error.name], error.indices)
            raise RunError(error.describe("items", items)) from None
        work += scored.work
        for name, items in indices.items():
            sums[name] |= runs[name].sums_by_item(items, scored.sums[name])
        results = {name: run.result(sums[name]) for name, run in runs.items()}
        if precision is None:
            break
        right = _count_right(results, strata, sizes)
        sample = Sample(precision, half_width(strata, right, sizes), sum(len(s.indices) for s in strata), SEED)
        next_round = next_sizes(strata, right, sizes, precision)
        if next_round is None:
            break
        scorer.progress.note(
            f"{core.suite} is estimated to within ±{sample.half_width:.4f} from {sum(sizes):,} items; scoring "
            f"{sum(next_round):,} of {sample.num_all:,} for ±{precision:g}."
        )
        indices = _indices(strata, sizes, next_round)
        sizes, workload = next_round, _workload(runs, indices)
    return _result(core, results, sample, _sign(lm, core, results, scored.batch_tokens)), work


def _result(core: ResolvedCore, tasks: Mapping[str, TaskResult], sample: Sample | None, signature: str) -> CoreResult:
    return CoreResult(
        suite=core.suite,
        protocol=core.options.protocol,
        source=core.options.source,
        baselines=core.baselines,
        tasks=tasks,
        signature=signature,
        sample=sample,
    )


def _count_right(results: Mapping[str, TaskResult], strata: Sequence[Stratum], sizes: Sequence[int]) -> list[int]:
    right = {name: {item.index for item in result.items if item.correct} for name, result in results.items()}
    return [
        len(right[stratum.task].intersection(stratum.indices[:size]))
        for stratum, size in zip(strata, sizes, strict=True)
    ]


def run_core(lm: LanguageModel, scorer: Scorer, core: ResolvedCore) -> tuple[CoreResult, Work]:
    """Return the results of an evaluation's tasks, and what they cost."""
    return score_core(lm, scorer, prepare_core(lm, core))


def _sign(lm: LanguageModel, core: ResolvedCore, results: Mapping[str, TaskResult], batch_tokens: int) -> str:
    options = core.options
    recipes = [(name, result.revision, result.num_fewshot, *_recipe(result.task)) for name, result in results.items()]
    return sign(
        "core",
        {
            "suite": core.suite,
            "tasks": len(recipes) if core.suite != "custom" else ",".join(results),
            "protocol": options.protocol,
            "seeds": core.protocol.seeds,
            "source": f"{options.source}({core.bundle_digest})" if core.bundle_digest else options.source,
            "baselines": core.baselines,
            "limit": options.limit if options.limit is not None else "all",
            **({"precision": f"{options.precision:g}({SEED})"} if options.precision is not None else {}),
            **sign_model(lm, batch_tokens),
            **({"first": "tokenizer"} if core.protocol.adds_special_tokens else {}),
            "truncation": "left",
            "data": digest(repr(recipes)),
        },
    )


def _recipe(task: Task) -> list[str]:
    """Return the parts of a task that its numbers depend on, as text."""
    parts = [task.kind, task.delimiter, sorted(task.baselines.items()), task.dataset, task.fewshot, task.prompt]
    return [repr(part) for part in parts]
