"""A finished run as evaluation results of its model's repository on the Hub, shown before anything is written."""

import difflib
import json
import re
from collections.abc import Mapping
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


def show_publication(run: SavedRun, repo: str, push: bool, create_pr: bool) -> None:
    """Print what publishing a run would change in a model's repository, and write it where that was asked for.

    Raises InputError for a repository that there is not and for a run on demo rows, RunError where the Hub
    does not take it.
    """
    try:
        HfApi().model_info(repo)
        before = {path: _read(repo, path) for path in (_CARD, _ENTRIES, results_path(run))}
        after = files_of(run, repo, before)
        changed = {path: text for path, text in after.items() if text != before[path]}
        for path, text in changed.items():
            print(_difference(path, before[path], text))
        if not changed:
            print(f"{repo} has these results already.")
        elif not push:
            print(f"Nothing was written to {repo}. Add --push to write it, or --create-pr to propose it.")
        else:
            operations = [CommitOperationAdd(path, text.encode()) for path, text in changed.items()]
            message = "Add evaluation results by hf_core_bpb"
            made = HfApi().create_commit(repo, operations=operations, commit_message=message, create_pr=create_pr)
            print(f"Written: {made.pr_url or made.commit_url}")
    except InputError:
        raise
    except (RepositoryNotFoundError, HFValidationError):
        raise InputError(f"--repo: expected a model's repository that can be read, got {repo!r}") from None
    except Exception as error:  # what a Hub that does not answer raises is of the library below the library
        raise RunError(f"publish: expected the Hub to take it, got: {reason(error)}") from None


def results_path(run: SavedRun) -> str:
    """Return where a run's results.json lies in the model's repository: one place for each recipe."""
    return f"{SOURCE}/{digest(' '.join(run.signatures))}.json"


def files_of(run: SavedRun, repo: str, before: Mapping[str, str | None]) -> dict[str, str]:
    """Return the texts of all files to be written, by path, given what they are before (None for nothing).

    In the card everything stays but this package's own results of the same things; so do entries of
    .eval_results of other tasks. Raises InputError for a run on demo rows, and for a card or entries that
    cannot be read.
    """
    core = run.results.get("core")
    if core is not None and core["source"] == "demo":
        raise InputError(f"{run.folder}: expected a run on rows of the Hub or of a bundle, got one on demo rows")
    try:
        files = {
            _CARD: _with_results(before.get(_CARD) or f"---\nlibrary_name: transformers\n---\n\n# {repo}\n", run, repo),
            results_path(run): json.dumps(run.results, indent=2) + "\n",
        }
        if core is not None and core["source"] == "hub":
            files[_ENTRIES] = _with_entries(before.get(_ENTRIES), run)
    except KeyError as error:
        raise InputError(
            f"{run.folder}: expected results.json as this version writes it, got one without {error}"
        ) from None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{repo}: expected a card with front matter and entries, got: {reason(error)}") from None
    return files


def _with_results(card: str, run: SavedRun, repo: str) -> str:
    """Return a card whose model-index holds the run's results; what else is in it stays as it was read."""
    data, text = front_matter(card)
    name = repo.split("/")[-1]
    index = data.setdefault("model-index", [])
    # The only model that a card is about may go by another name.
    own = next((entry for entry in index if entry["name"] == name), index[0] if len(index) == 1 else None)
    if own is None:
        own = {"name": name, "results": []}
        index.append(own)
    made = [eval_results_to_model_index(name, [result])[0]["results"][0] for result in _eval_results(run)]
    replaced = [_thing(result) for result in made]
    kept = [result for result in own.get("results") or [] if not (_is_own(result) and _thing(result) in replaced)]
    own["results"] = [*kept, *made]
    front = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{front}---\n{text}"


def front_matter(card: str) -> tuple[dict[str, Any], str]:
    """Return the values in front of a card, and what follows. Raises ValueError for values that are none."""
    match = _FRONT_MATTER.match(card)
    if match is None:
        return {}, card
    try:
        data: Any = yaml.safe_load(match[1])
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(reason(error)) from None
    if data is not None and not isinstance(data, dict):
        raise ValueError("front matter that is no mapping")
    return data or {}, card[match.end() :]


def _is_own(result: Mapping[str, Any]) -> bool:
    return (result.get("source") or {}).get("name") == SOURCE


def _thing(result: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a result is of: the dataset by its name, and what was measured."""
    dataset, metrics = result.get("dataset") or {}, result.get("metrics") or []
    return dataset.get("type"), dataset.get("name"), tuple(metric.get("type") for metric in metrics)


def _with_entries(before: str | None, run: SavedRun) -> str:
    made = eval_result_entries_to_yaml(_entries(run))
    things = [(entry["dataset"]["id"], entry["dataset"]["task_id"]) for entry in made]
    held = yaml.safe_load(before) if before else []
    kept = [entry for entry in held or [] if (entry["dataset"]["id"], entry["dataset"]["task_id"]) not in things]
    return yaml.safe_dump([*kept, *made], sort_keys=False, allow_unicode=True)


def _eval_results(run: SavedRun) -> list[EvalResult]:
    found: list[EvalResult] = []
    core = run.results.get("core")
    if core is not None:
        # Of some items it is not what papers print under that name.
        recipe = run.recipes["core"]
        some = [f"{part} {recipe[part]}" for part in ("limit", "precision") if recipe.get(part, "all") != "all"]
        name = run.suite + (f" ({', '.join(some)})" if some else "")
        setup = {key: core[key] for key in ("protocol", "baselines", "ci95", "sample") if key in core}
        setup["signature"] = run.signatures[0]
        found.append(
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
        found += [_task_result(task_name, task) for task_name, task in core["tasks"].items()]
    for name, text in run.results.get("bpb", {}).items():
        found.append(
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
    return found


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
    # Not from the cache: what is there now is what the change is shown against.
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
