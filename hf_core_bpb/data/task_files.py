"""Read task files: list the folder, parse the TOML, check every key."""

import dataclasses
import tomllib
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from hf_core_bpb.errors import InputError
from hf_core_bpb.types import Baselines, DatasetSource, FewshotSource, Kind, PromptTemplates, Task

T = TypeVar("T")

KINDS: tuple[Kind, ...] = get_args(Kind)
PROMPT_KEYS: dict[Kind, tuple[str, ...]] = {
    "multiple_choice": ("context", "choices", "gold"),
    "schema": ("contexts", "continuation", "gold"),
    "language_modeling": ("context", "continuation"),
}


class _Table:
    """A TOML table whose keys are each read once and checked; `close` rejects those that were not read."""

    def __init__(self, values: dict[str, Any], path: Path, prefix: str = "") -> None:
        self.values = dict(values)
        self.path = path
        self.prefix = prefix

    def fail(self, key: str, expected: str, got: object) -> InputError:
        return InputError(f"{self.path}: {self.prefix}{key}: expected {expected}, got {got}")

    def pop(self, key: str, expected: str, accept: Callable[[Any], bool]) -> Any:
        if key not in self.values:
            raise self.fail(key, expected, "nothing")
        value = self.values.pop(key)
        if not accept(value):
            raise self.fail(key, expected, repr(value))
        return value

    def text(self, key: str) -> str:
        return str(self.pop(key, "a string", lambda value: isinstance(value, str)))

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if key in self.values else None

    def table(self, key: str) -> "_Table":
        return _Table(
            self.pop(key, "a table", lambda value: isinstance(value, dict)),
            self.path,
            f"{self.prefix}{key}.",
        )

    def close(self, known: str) -> None:
        for key in self.values:
            raise self.fail(key, f"one of the known keys ({known})", "an unknown key")


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


def _read_baselines(table: _Table) -> dict[Baselines, float]:
    versions: tuple[Baselines, ...] = get_args(Baselines)
    value = table.values.get("random_baseline")
    if isinstance(value, dict):
        by_version = table.table("random_baseline")
        baselines: dict[Baselines, float] = {
            version: float(by_version.pop(version, "a fraction in [0, 1)", _is_fraction)) for version in versions
        }
        by_version.close(", ".join(versions))
        return baselines
    fraction = float(table.pop("random_baseline", "a fraction in [0, 1)", _is_fraction))
    return dict.fromkeys(versions, fraction)


def _read_dataset(table: _Table) -> DatasetSource:
    source = DatasetSource(
        path=table.text("path"),
        config=table.optional_text("config"),
        split=table.text("split"),
        revision=table.optional_text("revision"),
    )
    table.close("path, config, split, revision")
    return source


def _read_prompt(table: _Table, kind: Kind) -> PromptTemplates:
    required = PROMPT_KEYS[kind]
    optional = ("preamble", "category", "each")
    templates: dict[str, str | None] = {key: table.text(key) for key in required}
    templates |= {key: table.optional_text(key) for key in optional}
    table.close(f"{', '.join([*required, *optional])} for kind {kind}")
    return PromptTemplates(**{field.name: templates.get(field.name) for field in dataclasses.fields(PromptTemplates)})


def _read_fewshot(table: _Table) -> FewshotSource:
    source = FewshotSource(split=table.text("split"), match=table.text("match"))
    table.close("split, match")
    return source


def _is_text_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def parse_task(text: str, path: Path) -> Task:
    """Return the task that a TOML text declares.

    Raises:
        InputError: The text is invalid; the message names the file, the key, and the expected and actual value.
    """
    try:
        table = _Table(tomllib.loads(text), path)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected TOML, got a syntax error: {error}") from None
    kind: Kind = table.pop("kind", f"one of {', '.join(KINDS)}", lambda value: value in KINDS)
    task = Task(
        name=table.pop(
            "name",
            f"the file's name, {path.stem!r}",
            lambda value: value == path.stem,
        ),
        kind=kind,
        num_fewshot=table.pop(
            "num_fewshot",
            "a whole number, 0 or more",
            lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
        ),
        delimiter=table.text("delimiter"),
        baselines=_read_baselines(table),
        dataset=_read_dataset(table.table("dataset")),
        prompt=_read_prompt(table.table("prompt"), kind),
        fewshot=_read_fewshot(table.table("fewshot")) if "fewshot" in table.values else None,
        suites=tuple(table.pop("suites", "a list of strings", _is_text_list)),
        license=table.text("license"),
        citation=table.text("citation"),
        differs=table.optional_text("differs") or "",
        origin=str(path),
    )
    table.close(
        "name, kind, num_fewshot, delimiter, random_baseline, suites, license, citation, differs, "
        "dataset, prompt, fewshot"
    )
    return task


def load_task(path: Path) -> Task:
    """Return the task that a TOML file declares; raises InputError if the file is missing or invalid."""
    try:
        return parse_task(path.read_text(encoding="utf-8"), path)
    except FileNotFoundError:
        raise InputError(f"no such task file: {path}") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected a readable UTF-8 task file, got {error}") from None


def tasks_folder() -> Path:
    """Return the folder of task files: in the installed package, or beside the package in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "tasks"
    return installed if installed.is_dir() else package.parent / "tasks"


def list_tasks() -> list[Task]:
    """Return all tasks of the task folder, sorted by name."""
    return [load_task(path) for path in sorted(tasks_folder().glob("*.toml"))]


def select_tasks(tasks: list[Task], names: Sequence[str] | None, suite: str, known: str) -> list[Task]:
    """Return the tasks with the given names, in that order, or the tasks of the suite without names.

    A name that ends in .toml is the path of a task file. `known` names the origin of `tasks` in errors.
    """
    if names is None:
        return suite_tasks(tasks, suite)
    by_name = {task.name: task for task in tasks}
    selected = []
    for name in names:
        if name.endswith(".toml"):
            selected.append(load_task(Path(name)))
        elif name in by_name:
            selected.append(by_name[name])
        else:
            similar = get_close_matches(name, by_name, n=1)
            hint = f" (did you mean {similar[0]!r}?)" if similar else ""
            raise InputError(
                f"`tasks`: expected names, separated by commas, or paths of .toml files, got {name!r}{hint}; "
                f"{known} has {', '.join(by_name)}"
            )
    _reject_repeats([task.name for task in selected])
    return selected


def suite_tasks(tasks: list[Task], suite: str) -> list[Task]:
    """Return the tasks of a suite; raises InputError for an unknown suite."""
    selected = [task for task in tasks if suite in task.suites]
    if not selected:
        suites = sorted({name for task in tasks for name in task.suites})
        raise InputError(f"`suite`: expected one of {', '.join(suites)}, got {suite!r}")
    return selected


def _reject_repeats(names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise InputError(f"`tasks`: expected each task once, got {name!r} twice")
        seen.add(name)
