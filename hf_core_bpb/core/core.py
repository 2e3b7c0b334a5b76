"""The evaluate metric core: centered accuracies and CORE of answers, of accuracies, or of a model."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import datasets
import evaluate
import numpy as np

from hf_core_bpb import __version__
from hf_core_bpb.data.task_files import list_tasks
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluate_metrics.cached_model import MODEL_OPTIONS, CachedModel
from hf_core_bpb.evaluate_metrics.columns import as_list
from hf_core_bpb.metrics.core import AccuracyScores, check_baselines, score_accuracies
from hf_core_bpb.types import Baselines

_DESCRIPTION = """\
CORE: the mean over tasks of centered accuracies, (accuracy - baseline) / (1 - baseline): 0 for guessing, 1 for perfect
answers (DCLM, arXiv:2406.11794). Over DCLM's 22 tasks it is CORE as papers print it.
"""

_INPUTS = """
Args:
    predictions, references: answers by task, {"arc_easy": [2, 0], ...}, as indices of options or as texts (compared
        without surrounding white space); or a list of answers with a list of {"task": ..., "answer": ...}.
    accuracies: fractions by task instead, {"arc_easy": 0.41, ...}.
    model_id, or model and tokenizer: a causal language model to evaluate. With model_id: revision, dtype,
        tokenizer (an id), trust_remote_code. With either: suite, tasks, source, bundle, protocol, limit, precision,
        max_length, batch_tokens, as in hf_core_bpb.evaluate_core.
    baselines: v1 (the paper's, the default) or v2 (DCLM's since September 2025); with a model, the protocol's.
Returns:
    core, core_by_baselines, baselines, suite (None if the tasks make up no suite), tasks (accuracy, centered,
    random_baseline, n by name), signature.
Raises:
    ValueError for input that does not fit.
Example:
    >>> metric = evaluate.load("hf_core_bpb/core")
    >>> result = metric.compute(predictions={"arc_easy": [2, 0]}, references={"arc_easy": [2, 1]})
    >>> round(result["core"], 4)
    0.3333
"""

_CITATION = """\
@article{li2024datacomplm, title = {DataComp-LM: In search of the next generation of training sets for language models},
  author = {Jeffrey Li and others}, journal = {arXiv preprint arXiv:2406.11794}, year = {2024}}
"""

_RUN = ("suite", "tasks", "source", "bundle", "protocol", "limit", "precision", "max_length", "batch_tokens")


class Core(evaluate.Metric):  # type: ignore[misc]
    """CORE as an evaluate metric; input is checked before anything is stored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Pass on the arguments of evaluate.load."""
        super().__init__(*args, **kwargs)
        self._models = CachedModel("core")

    def _info(self) -> evaluate.MetricInfo:
        string = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": string, "references": {"task": string, "answer": string}}),
        )

    def add_batch(self, *, predictions: Any = None, references: Any = None) -> None:
        """Add answers with the correct ones; raises ValueError for answers that do not fit."""
        answers, rows = _rows(predictions, references)
        super().add_batch(predictions=answers, references=rows)

    def add(self, *, prediction: Any = None, reference: Any = None, **further: Any) -> None:
        """Add one answer, with {"task": ..., "answer": ...}."""
        # evaluate.combine passes predictions and references for single ones.
        answer, correct = further.pop("predictions", prediction), further.pop("references", reference)
        if further:
            raise InputError(f"core: expected prediction and reference, got {', '.join(further)}")
        self.add_batch(predictions=[answer], references=[correct])

    def compute(self, *, predictions: Any = None, references: Any = None, **options: Any) -> dict[str, Any] | None:
        """Return CORE of everything added, of accuracies or of a model; None on all processes but the first.

        Input that does not fit is rejected before anything is stored; what was added before is kept.
        """
        unknown = sorted(set(options) - {"accuracies", "baselines", *MODEL_OPTIONS, *_RUN})
        if unknown:
            known = ", ".join(("predictions", "references", "accuracies", "baselines", *MODEL_OPTIONS, *_RUN))
            raise InputError(f"core: expected keywords of {known}; got {', '.join(unknown)}")
        baselines = options.pop("baselines", None)
        version = check_baselines(baselines) if baselines is not None else None
        accuracies = options.pop("accuracies", None)
        has_answers = predictions is not None or references is not None
        inputs = {
            "answers": has_answers or len(self) > 0,
            "accuracies": accuracies is not None,
            "a model": options.get("model") is not None or options.get("model_id") is not None,
        }
        given = [name for name, is_given in inputs.items() if is_given]
        if len(given) != 1:
            raise InputError(f"core: expected one of {', '.join(inputs)}; got {' and '.join(given) or 'none'}")
        if given == ["a model"]:
            return self._of_model(options, version)
        if options:
            raise InputError(f"core: without a model, {', '.join(options)} would change nothing")
        if accuracies is not None:
            if not isinstance(accuracies, Mapping):
                raise InputError(f"accuracies: expected fractions by task, got a {type(accuracies).__name__}")
            return _values(score_accuracies(accuracies), version or "v1", {})
        if has_answers:
            self.add_batch(predictions=predictions, references=references)
        result: dict[str, Any] | None = super().compute(baselines=version)
        return result

    def _compute(
        self, *, predictions: Sequence[str], references: Sequence[Mapping[str, str]], baselines: Baselines | None
    ) -> dict[str, Any]:
        verdicts: dict[str, list[bool]] = {}
        for answer, row in zip(predictions, references, strict=True):
            verdicts.setdefault(row["task"], []).append(answer == row["answer"])
        accuracies = {name: sum(correct) / len(correct) for name, correct in verdicts.items()}
        counts = {name: len(correct) for name, correct in verdicts.items()}
        return _values(score_accuracies(accuracies), baselines or "v1", counts)

    def _of_model(self, options: dict[str, Any], baselines: Baselines | None) -> dict[str, Any]:
        from hf_core_bpb.api import evaluate_core
        from hf_core_bpb.distributed import alone
        from hf_core_bpb.results.serialize import core_values

        # A metric computes on the process where it is called.
        with alone():
            model, tokenizer = self._models.get(options)
            run = {name: options[name] for name in _RUN if name in options}
            result = evaluate_core(model, tokenizer, baselines=baselines, **run)
        return {**core_values(result), "signature": result.signature}


def _values(scores: AccuracyScores, version: Baselines, counts: Mapping[str, int]) -> dict[str, Any]:
    centered = scores.centered(version)
    tasks = {
        name: {
            "accuracy": accuracy,
            "centered": centered[name],
            "random_baseline": scores.tasks[name].baselines[version],
            "n": counts.get(name),
        }
        for name, accuracy in scores.accuracies.items()
    }
    return {
        "core": scores.core_by(version),
        "core_by_baselines": {known: scores.core_by(known) for known in get_args(Baselines)},
        "baselines": version,
        "suite": scores.suite,
        "tasks": tasks,
        "signature": f"core|{'answers' if counts else 'accuracies'}|baselines:{version}|version:{__version__}",
    }


def _rows(predictions: Any, references: Any) -> tuple[list[str], list[dict[str, str]]]:
    """Return answers with their rows of task and correct answer; raises InputError if they do not match."""
    if isinstance(predictions, Mapping) and isinstance(references, Mapping):
        predictions, references = _flat(predictions, references)
    answers, correct = _list(predictions, "predictions"), _list(references, "references")
    if len(answers) != len(correct) or not answers:
        counts = f"{len(answers)} and {len(correct)}"
        raise InputError(f"predictions, references: expected as many of each, one or more, got {counts}")
    known = {task.name for task in list_tasks()}
    rows = []
    for number, row in enumerate(correct):
        if not isinstance(row, Mapping) or set(row) != {"task", "answer"}:
            raise InputError(f"references[{number}]: expected a task and an answer, got {row!r}")
        if row["task"] not in known:
            raise InputError(f"references: expected tasks of {', '.join(sorted(known))}, got {row['task']!r}")
        rows.append({"task": row["task"], "answer": _answer(row["answer"], f"references[{number}]")})
    return [_answer(value, f"predictions[{number}]") for number, value in enumerate(answers)], rows


def _flat(predictions: Mapping[str, Any], references: Mapping[str, Any]) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return answers by task as answers and rows; raises InputError for tasks and counts that do not match."""
    unpaired = sorted(map(str, set(predictions) ^ set(references)))
    if unpaired:
        raise InputError(f"predictions, references: expected the same tasks, got {', '.join(unpaired)} in one")
    answers, rows = [], []
    for task in predictions:
        given, right = _list(predictions[task], str(task)), _list(references[task], str(task))
        if len(given) != len(right) or not given:
            raise InputError(
                f"{task}: expected as many predictions as references, one or more, got {len(given)} and {len(right)}"
            )
        answers += given
        rows += [{"task": task, "answer": answer} for answer in right]
    return answers, rows


def _list(values: Any, name: str) -> list[Any]:
    items = as_list(values)
    if items is None:
        raise InputError(f"{name}: expected answers by task in both, or two lists, got {type(values).__name__}")
    return items


def _answer(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value.strip()
    try:
        is_index = not isinstance(value, bool | np.bool_) and value == int(value) >= 0
    except (TypeError, ValueError, OverflowError):
        is_index = False
    if not is_index:
        raise InputError(f"{where}: expected the index of an option or a text, got {value!r}")
    return str(int(value))
