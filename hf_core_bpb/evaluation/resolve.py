"""From names to data: the tasks and texts that options name, and how to load them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hf_core_bpb.data import task_files
from hf_core_bpb.data.bundle import list_bundle_tasks, load_bundle_task
from hf_core_bpb.data.bundle_archive import open_bundle
from hf_core_bpb.data.demo import DEMO_ROWS, DEMO_SCRIPTS, read_topics, split_topics
from hf_core_bpb.data.documents import load_hub_documents, make_document, read_jsonl_file, read_text_file
from hf_core_bpb.data.hub import load_hub_task
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.options import CoreOptions, TextOptions
from hf_core_bpb.protocols import PROTOCOLS, Protocol
from hf_core_bpb.signature import digest
from hf_core_bpb.types import Baselines, DatasetSource, Document, Task, TaskData

DEFAULT_TEXT = "EleutherAI/wikitext_document_level:wikitext-2-raw-v1:test:page"


@dataclass(frozen=True, slots=True)
class ResolvedCore:
    """A CORE evaluation with its tasks, how to load one, and warnings about its rows.

    bundle_digest: the sha256 of a bundle's zip file, empty without one.
    """

    options: CoreOptions
    tasks: Sequence[Task]
    load: Callable[[Task], TaskData]
    bundle_digest: str
    warnings: tuple[str, ...]

    @property
    def suite(self) -> str:
        """The suite's name, custom for tasks that were named one by one."""
        return self.options.suite if self.options.tasks is None else "custom"

    @property
    def protocol(self) -> Protocol:
        """The protocol by its name."""
        return PROTOCOLS[self.options.protocol]

    @property
    def baselines(self) -> Baselines:
        """The version of the baselines, by default the protocol's."""
        return self.options.baselines if self.options.baselines is not None else self.protocol.baselines


@dataclass(frozen=True, slots=True)
class TextSource:
    """Documents under the name that the user gave them; `revision` pins their content."""

    name: str
    documents: Sequence[Document]
    revision: str


def resolve_core(options: CoreOptions) -> ResolvedCore:
    """Return the tasks of an evaluation; raises InputError for a suite, task or bundle that does not exist."""
    known = task_files.list_tasks()
    if options.source == "bundle":
        tasks, load, content = _resolve_bundle(options, known, *open_bundle(str(options.bundle)))
        return ResolvedCore(options, tasks, load, content, ())
    root = DEMO_ROWS if options.source == "demo" else None
    tasks = task_files.select_tasks(known, options.tasks, options.suite, "the task folder")
    resolved = ResolvedCore(options, tasks, lambda task: load_hub_task(task, root), "", ())
    if options.source == "demo":
        return resolved
    warnings = tuple(_warnings(tasks, resolved.baselines, options.suite))
    return ResolvedCore(options, tasks, resolved.load, "", warnings)


def _warnings(tasks: Sequence[Task], version: Baselines, suite: str) -> Iterator[str]:
    """Yield why the Hub's rows do not give the numbers that are published under a suite's name."""
    for task in tasks:
        if task.differs and suite == "core-22":
            yield f"{task.name}: rows from the Hub differ from those of the CORE bundle: {task.differs}"
        if version == "v2" and task.baselines["v1"] != task.baselines["v2"]:
            yield (
                f"{task.name}: baselines v2 ({task.baselines['v2']}) belong to the bundle's options; the Hub's "
                f"rows have the original options, to which v1 ({task.baselines['v1']}) belongs"
            )


def _resolve_bundle(
    options: CoreOptions, known: list[Task], folder: Path, content: str
) -> tuple[list[Task], Callable[[Task], TaskData], str]:
    available = list_bundle_tasks(folder, {task.name: task for task in known})
    names = options.tasks
    if names is None:
        names = [task.name for task in task_files.suite_tasks(known, options.suite)]
        missing = sorted(set(names) - {task.name for task in available})
        if missing:
            raise InputError(
                f"`suite` {options.suite}: {folder} lacks {', '.join(missing)}; name the tasks to run with `tasks`"
            )
    for name in names:
        if name.endswith(".toml"):
            raise InputError(f"`tasks`: expected names of tasks in the bundle, got the file {name}")
    tasks = task_files.select_tasks(available, names, options.suite, "the bundle")
    return tasks, lambda task: load_bundle_task(task, folder), content if content.startswith("sha256:") else ""


def resolve_texts(options: TextOptions) -> list[TextSource]:
    """Return the documents of every text; raises InputError for a source that cannot be read."""
    if options.texts is not None:
        return [read_text(name) for name in options.texts]
    if options.source == "demo":
        return _demo_texts()
    try:
        return [read_text(DEFAULT_TEXT)]
    except InputError as error:
        raise InputError(
            f"{error}; this text of the Hub is the default: give a file as `text`, or set `eval` core"
        ) from None


def read_text(name: str) -> TextSource:
    """Return the documents of a text: a file, a JSONL file, or a column of a dataset on the Hub."""
    if _is_file(name):
        if Path(name).suffix == ".jsonl":
            return _read_jsonl(name, Path(name), "text")
        documents, revision = read_text_file(Path(name))
        return TextSource(name, documents, revision)
    file, _, column = name.rpartition(":")
    if file.endswith(".jsonl") and _is_file(file):
        return _read_jsonl(name, Path(file), column)
    fields = name.split(":")
    if len(fields) != 4 or not all(fields):
        raise InputError(
            f"`text`: no such file: {name[:100]!r}; expected a file, FILE.jsonl, FILE.jsonl:COLUMN or "
            "DATASET:CONFIG:SPLIT:COLUMN"
        )
    dataset, config, split, column = fields
    documents, revision = load_hub_documents(DatasetSource(dataset, config, split, None), column)
    return TextSource(name, documents, f"{name}@{revision}")


def _read_jsonl(name: str, path: Path, column: str) -> TextSource:
    documents, revision = read_jsonl_file(path, column)
    return TextSource(name, documents, f"{revision}:{column}")


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _demo_texts() -> list[TextSource]:
    """Return topics that the demo model was not trained on, and a page in several scripts."""
    _, held_out = split_topics(read_topics())
    topics = [make_document(text, "pydoc_data.topics") for text in held_out]
    scripts, revision = read_text_file(DEMO_SCRIPTS)
    return [
        TextSource("python-reference", topics, f"sha256:{digest(''.join(held_out))}"),
        TextSource("scripts", scripts, revision),
    ]
