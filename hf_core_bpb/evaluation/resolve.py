"""What the user asked for by name, to tasks with a way to load them and documents with their origin."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

from hf_core_bpb.data import task_files as registry
from hf_core_bpb.data.bundle import list_bundle_tasks, load_bundle_task
from hf_core_bpb.data.bundle_archive import open_bundle
from hf_core_bpb.data.documents import load_hub_documents, read_jsonl_file, read_text_file
from hf_core_bpb.data.hub import load_hub_task
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.core import CoreRun, TextSource
from hf_core_bpb.protocols import PROTOCOLS
from hf_core_bpb.types import Baselines, DatasetSource, Task, TaskData

SOURCES = ("hub", "bundle", "demo")
DEMO_MODEL = Path(__file__).parents[1] / "demo" / "model"
DEFAULT_TEXT = "EleutherAI/wikitext_document_level:wikitext-2-raw-v1:test:page"


def plan_core(
    suite: str = "core-11",
    tasks: list[str] | None = None,
    source: str = "hub",
    bundle: str | Path | None = None,
    protocol: str = "nanochat",
    baselines: Baselines | None = None,
    limit: int | None = None,
    precision: float | None = None,
) -> CoreRun:
    """Return the run that these options describe.

    Raises InputError naming the option that does not fit, what was expected and what came.
    """
    if source not in SOURCES:
        raise InputError(f"--source: expected one of {', '.join(SOURCES)}, got {source!r}")
    if protocol not in PROTOCOLS:
        raise InputError(f"--protocol: expected one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    if baselines is not None and baselines not in get_args(Baselines):
        raise InputError(f"--baselines: expected one of {', '.join(get_args(Baselines))}, got {baselines!r}")
    if limit is not None and limit < 1:
        raise InputError(f"--limit: expected 1 or more items a task, got {limit}")
    if precision is not None and not 0 < precision < 1:
        raise InputError(f"--precision: expected half an interval of CORE, above 0 and below 1, got {precision}")
    if tasks is not None and not tasks:
        raise InputError("--tasks: expected one or more names, got none")
    chosen, load, content = _choose_tasks(suite, tasks, source, bundle)
    version = baselines if baselines is not None else PROTOCOLS[protocol].baselines
    return CoreRun(
        suite=suite if tasks is None else "custom",
        tasks=chosen,
        load=load,
        source=source,
        content=content,
        protocol_name=protocol,
        protocol=PROTOCOLS[protocol],
        limit=limit,
        baselines=version,
        precision=precision,
        warnings=tuple(_warnings(chosen, version, suite)) if source == "hub" else (),
    )


def _warnings(tasks: Sequence[Task], version: Baselines, suite: str) -> Iterator[str]:
    """Yield what keeps the Hub's rows from giving the numbers that are published under a suite's name."""
    for task in tasks:
        if task.differs and suite == "core-22":
            yield f"{task.name}: rows from the Hub are not those of the CORE bundle: {task.differs}"
        if version == "v2" and task.baselines["v1"] != task.baselines["v2"]:
            yield (
                f"{task.name}: baselines v2 ({task.baselines['v2']}) were made for the bundle's options; the Hub's "
                f"rows have the original ones, for which v1 ({task.baselines['v1']}) was made"
            )


Choice = tuple[list[Task], Callable[[Task], TaskData], str]


def _choose_tasks(suite: str, names: list[str] | None, source: str, bundle: str | Path | None) -> Choice:
    """Return the tasks, what loads one, and what pins the content of a bundle."""
    known = registry.list_tasks()
    if source == "bundle":
        if bundle is None:
            raise InputError("--source bundle: expected --bundle DIR, got none")
        return _choose_from_bundle(suite, names, known, *open_bundle(str(bundle)))
    if bundle is not None:
        raise InputError(f"--bundle: expected --source bundle with it, got --source {source}")
    root = demo_rows() if source == "demo" else None
    chosen = registry.select_tasks(known, names, suite, "the task folder")
    return chosen, lambda task: load_hub_task(task, root), ""


def _choose_from_bundle(suite: str, names: list[str] | None, known: list[Task], folder: Path, content: str) -> Choice:
    held = list_bundle_tasks(folder, {task.name: task for task in known})
    wanted = names if names is not None else [task.name for task in registry.members(known, suite)]
    missing = sorted(set(wanted) - {task.name for task in held}) if names is None else []
    if missing:
        raise InputError(
            f"--suite {suite}: expected all its tasks in {folder}, which lacks {', '.join(missing)}; "
            "name the ones to run with --tasks"
        )
    for name in wanted:
        if name.endswith(".toml"):
            raise InputError(f"--tasks: expected names of tasks in the bundle, got the file {name}")
    chosen = registry.select_tasks(held, wanted, suite, "the bundle")
    return chosen, lambda task: load_bundle_task(task, folder), content


def demo_rows() -> Path:
    """Return the folder of demo rows, laid out like the Hub."""
    return Path(__file__).parents[1] / "demo" / "rows"


def read_text(spec: str) -> TextSource:
    """Return the documents that a --text option names: a file, a JSONL file, or a column of a Hub dataset.

    Raises InputError where nothing of the kind is there.
    """
    if _is_file(spec):
        if Path(spec).suffix == ".jsonl":
            return _read_jsonl(spec, Path(spec), "text")
        documents, revision = read_text_file(Path(spec))
        return TextSource(spec, documents, revision)
    file, _, column = spec.rpartition(":")
    if file.endswith(".jsonl") and _is_file(file):
        return _read_jsonl(spec, Path(file), column)
    fields = spec.split(":")
    if len(fields) != 4 or not all(fields):
        raise InputError(
            "--text: expected a file, FILE.jsonl, FILE.jsonl:COLUMN or DATASET:CONFIG:SPLIT:COLUMN, "
            f"got {spec[:100]!r}, which is no file"
        )
    dataset, config, split, column = fields
    documents, revision = load_hub_documents(DatasetSource(dataset, config, split, None), column)
    return TextSource(spec, documents, f"{spec}@{revision}")


def _read_jsonl(spec: str, path: Path, column: str) -> TextSource:
    documents, revision = read_jsonl_file(path, column)
    return TextSource(spec, documents, f"{revision}:{column}")


def _is_file(place: str) -> bool:
    try:
        return Path(place).is_file()
    except (OSError, ValueError):
        return False


def demo_texts() -> list[TextSource]:
    """Return the demo's texts: topics that its model was not trained on, and a page in several scripts."""
    from hf_core_bpb.data.demo import read_topics, split_topics
    from hf_core_bpb.data.documents import make_document
    from hf_core_bpb.signature import digest

    _, held_out = split_topics(read_topics())
    topics = [make_document(text, "pydoc_data.topics") for text in held_out]
    scripts, revision = read_text_file(Path(__file__).parents[1] / "demo" / "scripts.txt")
    return [
        TextSource("python-reference", topics, f"sha256:{digest(''.join(held_out))}"),
        TextSource("scripts", scripts, revision),
    ]
