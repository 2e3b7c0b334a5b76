"""A finished run as evaluation results in its model's repository on the Hub."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from huggingface_hub import (
    CommitOperationAdd,
    EvalResult,
    EvalResultEntry,
    HfApi,
    eval_result_entries_to_yaml,
    hf_hub_download,
)
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, RepositoryNotFoundError
from huggingface_hub.repocard_data import eval_results_to_model_index

from hf_core_bpb.errors import InputError, RunError, reason
from hf_core_bpb.results.saved import SavedRun
from hf_core_bpb.signature import digest

SOURCE = "hf_core_bpb"
_URL = "https://pypi.org/project/hf-core-bpb/"
_SOURCE: dict[str, Any] = {"source_name": SOURCE, "source_url": _URL, "task_type": "text-generation"}
_CARD, _ENTRIES = "README.md", f".eval_results/{SOURCE}.yaml"
_FRONT_MATTER = re.compile(r"\A(?:\ufeff)?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Publication:
    """The files of a repository before and after publishing a run, by path; None for a new file."""

    repo: str
    before: Mapping[str, str | None]
    after: Mapping[str, str]

    @property
    def changed(self) -> dict[str, str]:
        """The new texts of the files that change."""
        return {path: text for path, text in self.after.items() if text != self.before[path]}

    def differences(self) -> Iterator[str]:
        """Yield what changes in each file, as a unified diff, or as a line for a JSON file."""
        for path, text in self.changed.items():
            yield _difference(path, self.before[path], text)


def plan_publication(run: SavedRun, repo: str) -> Publication:
    """Read a model's repository and return what publishing a run would change there.

    Raises InputError for an unknown repository and for a run on demo rows, RunError if the Hub fails.
    """
    with _hub_errors(repo):
        HfApi().model_info(repo)
        before = {path: _read(repo, path) for path in (_CARD, _ENTRIES, results_path(run))}
        return Publication(repo, before, publication_files(run, repo, before))


def publish(publication: Publication, create_pr: bool) -> str:
    """Commit the changed files, or propose them as a pull request, and return its address.

    Raises InputError for an unknown repository, RunError if the Hub fails.
    """
    with _hub_errors(publication.repo):
        operations = [CommitOperationAdd(path, text.encode()) for path, text in publication.changed.items()]
        message = "Add evaluation results by hf_core_bpb"
        commit = HfApi().create_commit(
            publication.repo, operations=operations, commit_message=message, create_pr=create_pr
        )
        return str(commit.pr_url or commit.commit_url)


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (RepositoryNotFoundError, HFValidationError):
        raise InputError(f"`repo`: expected a model repository that can be read, got {repo!r}") from None
    except Exception as error:  # an unreachable Hub raises errors of several HTTP libraries
        raise RunError(f"publish: the request to the Hub failed: {reason(error)}") from None


def results_path(run: SavedRun) -> str:
    """Return the path of a run's results.json in the model's repository, one for each recipe."""
    return f"{SOURCE}/{digest(' '.join(run.signatures))}.json"


def publication_files(run: SavedRun, repo: str, before: Mapping[str, str | None]) -> dict[str, str]:
    """Return the new texts of all files by path, given their texts before (None for a missing file).

    Only this package's earlier results of the same measurements are replaced in the card, and only entries of the
    same tasks in .eval_results. Raises InputError for a run on demo rows and for an unreadable card or entries.
    """
    core = run.results.get("core")
    if core is not None and core["source"] == "demo":
        raise InputError(f"{run.folder}: expected a run on rows from the Hub or a bundle, got one on demo rows")
    try:
        files = {
            _CARD: _with_results(before.get(_CARD) or f"---\nlibrary_name: transformers\n---\n\n# {repo}\n", run, repo),
            results_path(run): json.dumps(run.results, indent=2) + "\n",
        }
        if core is not None and core["source"] == "hub":
            files[_ENTRIES] = _with_entries(before.get(_ENTRIES), run)
    except KeyError as error:
        raise InputError(f"{run.folder}: expected results.json as this version writes it: {error} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{repo}: expected a model card with valid front matter and entries: {reason(error)}"
        ) from None
    return files


def _with_results(card: str, run: SavedRun, repo: str) -> str:
    """Return a card with the run's results in its model-index; everything else stays as it was."""
    data, text = front_matter(card)
    name = repo.split("/")[-1]
    index = data.setdefault("model-index", [])
    # A card about a single model may use another name for it.
    model = next((entry for entry in index if entry["name"] == name), index[0] if len(index) == 1 else None)
    if model is None:
        model = {"name": name, "results": []}
        index.append(model)
    new = [eval_results_to_model_index(name, [result])[0]["results"][0] for result in _eval_results(run)]
    measured = [_measurement(result) for result in new]
    others = [
        result for result in model.get("results") or [] if not (_is_ours(result) and _measurement(result) in measured)
    ]
    model["results"] = [*others, *new]
    front = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{front}---\n{text}"


def front_matter(card: str) -> tuple[dict[str, Any], str]:
    """Return the front matter of a card and the text after it. Raises ValueError for invalid front matter."""
    match = _FRONT_MATTER.match(card)
    if match is None:
        return {}, card
    try:
        data: Any = yaml.safe_load(match[1])
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(reason(error)) from None
    if data is not None and not isinstance(data, dict):
        raise ValueError("the front matter is not a mapping")
    return data or {}, card[match.end() :]


def _is_ours(result: Mapping[str, Any]) -> bool:
    return (result.get("source") or {}).get("name") == SOURCE


def _measurement(result: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the dataset and the metrics of a result."""
    dataset, metrics = result.get("dataset") or {}, result.get("metrics") or []
    return dataset.get("type"), dataset.get("name"), tuple(metric.get("type") for metric in metrics)


def _with_entries(before: str | None, run: SavedRun) -> str:
    new = eval_result_entries_to_yaml(_entries(run))
    tasks = [_task_of(entry) for entry in new]
    earlier = yaml.safe_load(before) if before else []
    others = [entry for entry in earlier or [] if _task_of(entry) not in tasks]
    return yaml.safe_dump([*others, *new], sort_keys=False, allow_unicode=True)


def _task_of(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return entry["dataset"]["id"], entry["dataset"]["task_id"]


def _eval_results(run: SavedRun) -> list[EvalResult]:
    eval_results: list[EvalResult] = []
    core = run.results.get("core")
    if core is not None:
        # The suite's name alone would mean all items, as in papers.
        recipe = run.recipes["core"]
        parts = [f"{field} {recipe[field]}" for field in ("limit", "precision") if recipe.get(field, "all") != "all"]
        name = run.suite + (f" ({', '.join(parts)})" if parts else "")
        setup = {key: core[key] for key in ("protocol", "baselines", "ci95", "sample") if key in core}
        setup["signature"] = run.signatures[0]
        eval_results.append(
            EvalResult(
                dataset_type=core["suite"],
                dataset_name=name,
                metric_type="core",
                metric_name=name,
                metric_value=core["core"],
                metric_args=setup,
                **_SOURCE,
            )
        )
        eval_results += [_task_result(task_name, task) for task_name, task in core["tasks"].items()]
    for name, text in run.results.get("bpb", {}).items():
        eval_results.append(
            EvalResult(
                dataset_type=name,
                dataset_name=name,
                metric_type="bits_per_byte",
                metric_name="bits per byte",
                metric_value=text["bpb"],
                metric_args={"bytes": text["bytes"], "ci95": text["ci95"]},
                **_SOURCE,
            )
        )
    return eval_results


def _task_result(name: str, task: Mapping[str, Any]) -> EvalResult:
    dataset = task["dataset"]
    return EvalResult(
        dataset_type=dataset["path"], dataset_name=name, dataset_config=dataset["config"],
        dataset_split=dataset["split"], dataset_revision=dataset["revision"], metric_type="accuracy",
        metric_name="accuracy", metric_value=task["accuracy"],
        metric_args={"num_few_shot": task["num_fewshot"], "items": task["n"], "ci95": task["ci95"]}, **_SOURCE,
    )  # fmt: skip


def _entries(run: SavedRun) -> list[EvalResultEntry]:
    core = run.results.get("core") or {"tasks": {}}
    return [
        EvalResultEntry(
            dataset_id=task["dataset"]["path"],
            task_id=name,
            value=task["accuracy"],
            dataset_revision=task["dataset"]["revision"],
            source_url=_URL,
            source_name=SOURCE,
            notes=run.signatures[0],
        )
        for name, task in core["tasks"].items()
    ]


def _read(repo: str, path: str) -> str | None:
    # Not from the cache, which can be older than the repository.
    try:
        with TemporaryDirectory() as scratch:
            return Path(hf_hub_download(repo, path, local_dir=scratch)).read_text(encoding="utf-8")
    except EntryNotFoundError:
        return None


def _difference(path: str, before: str | None, after: str) -> str:
    if path.endswith(".json"):
        return f"{'new' if before is None else 'changed'}: {path}, {len(after.encode()):,} bytes"
    lines = difflib.unified_diff(
        (before or "").splitlines(), after.splitlines(), path if before is not None else "/dev/null", path, lineterm=""
    )
    return "\n".join(lines)
