"""Read tasks and rows of a CORE evaluation bundle: core.yaml, eval_meta_data.csv and eval_data/."""

import csv
import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hf_core_bpb.data.jsonl import json_rows
from hf_core_bpb.data.rows import read_examples
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.types import Baselines as Version
from hf_core_bpb.types import DatasetSource, Kind, PromptTemplates, Task, TaskData

_PROMPTS: dict[Kind, PromptTemplates] = {
    "multiple_choice": PromptTemplates("{{ query }}", None, "choices", None, "gold"),
    "schema": PromptTemplates(None, "context_options", None, "{{ continuation }}", "gold"),
    "language_modeling": PromptTemplates("{{ context }}", None, None, "{{ continuation }}", None),
}


def list_bundle_tasks(bundle: Path, known: Mapping[str, Task]) -> list[Task]:
    """Return the tasks in a bundle's core.yaml with the baselines in its eval_meta_data.csv.

    The layout is that of nanochat's evaluation bundle, which has one baseline per task. A task in `known` has
    the baselines of both versions, and the bundle's must equal one of them.

    Raises:
        InputError: A file is missing or invalid; the message names it.
    """
    config = bundle / "core.yaml"
    if not config.is_file():
        raise InputError(f"`bundle`: expected a folder with core.yaml, eval_meta_data.csv and eval_data, got {bundle}")
    try:
        entries = _parse_yaml(config.read_text(encoding="utf-8"))["icl_tasks"]
        table = _read_baselines(bundle)
        tasks = [_read_task(entry, bundle, table, known) for entry in entries]
    except InputError:
        raise
    except (
        OSError, yaml.YAMLError, KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError,
    ) as error:  # fmt: skip
        raise InputError(
            f"{config}: expected a list icl_tasks with label, dataset_uri, num_fewshot and icl_task_type, "
            f"got {type(error).__name__}: {reason(error)}"
        ) from None
    names = [task.name for task in tasks]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{config}: expected each label once, got {name!r} {names.count(name)} times")
    return tasks


def _parse_yaml(text: str) -> Any:
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            # Aliases of aliases can expand a few lines to more than fits in memory.
            raise ValueError(f"the alias *{event.anchor}")
    return yaml.safe_load(text)


def _read_baselines(bundle: Path) -> dict[str, float]:
    path = bundle / "eval_meta_data.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {row["Eval Task"]: float(row["Random baseline"]) / 100 for row in csv.DictReader(file)}
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path}: expected a CSV with columns 'Eval Task' and 'Random baseline' in percent, got: {reason(error)}"
        ) from None


def _read_task(entry: dict[str, Any], bundle: Path, table: Mapping[str, float], known: Mapping[str, Task]) -> Task:
    name, kind = str(entry["label"]), entry["icl_task_type"]
    if kind not in _PROMPTS:
        raise InputError(
            f"{bundle / 'core.yaml'}: {name}: icl_task_type: expected one of {', '.join(_PROMPTS)}, got {kind!r}"
        )
    num_fewshot, delimiter = entry["num_fewshot"][0], entry.get("continuation_delimiter", " ")
    if type(num_fewshot) is not int or num_fewshot < 0 or not isinstance(delimiter, str):
        raise InputError(
            f"{bundle / 'core.yaml'}: {name}: expected num_fewshot of 0 or more and a continuation_delimiter of text, "
            f"got {num_fewshot!r} and {delimiter!r}"
        )
    prompt = _PROMPTS[kind]
    if entry.get("has_categories", False):
        prompt = dataclasses.replace(prompt, category="{{ category }}")
    return Task(
        name=name,
        kind=kind,
        num_fewshot=num_fewshot,
        delimiter=delimiter,
        baselines=_match_baselines(name, bundle, table, known),
        dataset=DatasetSource(str(entry["dataset_uri"]), None, "bundle", None),
        prompt=prompt,
        fewshot=None,
        suites=known[name].suites if name in known else (),
        license="",
        citation="",
        differs="",
        origin=str(bundle / "core.yaml"),
    )


def _match_baselines(
    name: str, bundle: Path, table: Mapping[str, float], known: Mapping[str, Task]
) -> Mapping[Version, float]:
    where = f"{bundle / 'eval_meta_data.csv'}: Random baseline"
    if name not in table:
        raise InputError(f"{where}: expected a row for {name!r}, got none")
    if not 0 <= table[name] < 1:
        raise InputError(f"{where}: expected 0 to below 100 for {name!r}, got {100 * table[name]:g}")
    if name not in known:
        return {"v1": table[name], "v2": table[name]}
    versions = known[name].baselines
    if all(abs(table[name] - value) > 1e-9 for value in versions.values()):
        expected = " or ".join(f"{100 * value:g}" for value in sorted(set(versions.values())))
        raise InputError(f"{where}: expected {expected} for {name!r}, got {100 * table[name]:g}")
    return versions


def load_bundle_task(task: Task, bundle: Path) -> TaskData:
    """Return the examples of a bundle's task in file order.

    Raises:
        InputError: The file is missing or invalid; the message names the file and line.
    """
    path = bundle / "eval_data" / task.dataset.path
    try:
        is_inside = path.resolve().is_relative_to(bundle.resolve())
    except (OSError, ValueError, RuntimeError):
        # A null byte or a surrogate in the path, or circular links.
        is_inside = False
    if not is_inside:
        raise InputError(f"{task.origin}: dataset_uri: expected a file in the bundle, got {task.dataset.path!r}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected the rows of {task.name}, got {error.strerror}") from None
    rows = [row for _, row in json_rows(content, path)]
    columns = sorted(set.intersection(*(set(row) for row in rows))) if rows else []
    examples = read_examples(task, rows, columns, str(path))
    return TaskData(examples, None, f"sha256:{hashlib.sha256(content).hexdigest()[:16]}")
