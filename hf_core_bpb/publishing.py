"""A finished run as evaluation results of its model's repository on the Hub, shown before anything is written."""

import difflib
import json
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
    ModelCard,
    eval_result_entries_to_yaml,
    hf_hub_download,
)
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError

from hf_core_bpb.comparing.saved import SavedRun
from hf_core_bpb.errors import InputError, RunError, reason

SOURCE = "hf_core_bpb"
_URL = "https://pypi.org/project/hf-core-bpb/"
_SOURCE: dict[str, Any] = {"source_name": SOURCE, "source_url": _URL, "task_type": "text-generation"}
_CARD, _ENTRIES, _RESULTS = "README.md", f".eval_results/{SOURCE}.yaml", f"{SOURCE}/results.json"


def show_publication(run: SavedRun, repo: str, push: bool, create_pr: bool) -> None:
    """Print what publishing a run would change in a model's repository, and write it where that was asked for.

    Raises InputError for a repository that there is not and for a run on demo rows, RunError where the Hub
    does not take it.
    """
    try:
        HfApi().model_info(repo)
        before = {path: _read(repo, path) for path in (_CARD, _ENTRIES, _RESULTS)}
        after = files_of(run, repo, before[_CARD])
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
    except RepositoryNotFoundError:
        raise InputError(f"--repo: expected a model's repository that can be read, got {repo!r}") from None
    except (HfHubHTTPError, OSError) as error:
        raise RunError(f"publish: expected the Hub to take it, got: {reason(error)}") from None


def files_of(run: SavedRun, repo: str, card: str | None) -> dict[str, str]:
    """Return the texts of all files to be written, by path; the card keeps what others wrote in it.

    Raises InputError for a run on demo rows, and for a card whose front matter cannot be read.
    """
    core = run.results.get("core")
    if core is not None and core["source"] == "demo":
        raise InputError(f"{run.folder}: expected a run on rows of the Hub or of a bundle, got one on demo rows")
    try:
        made = ModelCard(card if card is not None else f"---\nlibrary_name: transformers\n---\n\n# {repo}\n")
        data: Any = made.data
        others = [result for result in data.eval_results or [] if result.source_name != SOURCE]
        data.model_name = data.get("model_name") or repo.split("/")[-1]
        data.eval_results = [*others, *_eval_results(run)]
        text = str(made)
    except KeyError as error:
        raise InputError(
            f"{run.folder}: expected results.json as this version writes it, got one without {error}"
        ) from None
    except (ValueError, TypeError, yaml.YAMLError) as error:
        raise InputError(f"{repo}/{_CARD}: expected a card with front matter, got: {reason(error)}") from None
    entries = yaml.safe_dump(eval_result_entries_to_yaml(_entries(run)), sort_keys=False, allow_unicode=True)
    files = {_CARD: text, _RESULTS: json.dumps(run.results, indent=2) + "\n"}
    return files | ({_ENTRIES: entries} if core is not None and core["source"] == "hub" else {})


def _eval_results(run: SavedRun) -> list[EvalResult]:
    found: list[EvalResult] = []
    core = run.results.get("core")
    if core is not None:
        name = "CORE" if core["suite"] == "core-22" else core["suite"]
        setup = {name: core[name] for name in ("protocol", "baselines", "ci95", "sample") if name in core}
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
    if path == _RESULTS:
        return f"{'new' if before is None else 'changed'}: {path}, {len(after.encode()):,} bytes"
    lines = difflib.unified_diff(
        (before or "").splitlines(), after.splitlines(), path if before is not None else "/dev/null", path, lineterm=""
    )
    return "\n".join(lines)
