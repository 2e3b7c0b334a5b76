"""The tasks command: the task files as a table, one of them with a prompt, or one item as a model sees it."""

from dataclasses import dataclass, replace

import datasets
from rich.console import Console
from rich.table import Table

from hf_core_bpb.cli.logs import quieten_libraries
from hf_core_bpb.data import task_files as registry
from hf_core_bpb.data.hub import load_hub_task
from hf_core_bpb.distributed import process_group
from hf_core_bpb.evaluation.core import CoreRun
from hf_core_bpb.evaluation.inspect_item import inspect_item
from hf_core_bpb.evaluation.resolve import DEMO_MODEL, demo_rows, plan_core
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.models.loading import ModelOptions, load_language_model
from hf_core_bpb.protocols import PROTOCOLS
from hf_core_bpb.types import Task


def show_tasks(name: str | None) -> None:
    """Print all tasks, or one; raises InputError for a name that no task has."""
    datasets.disable_progress_bars()
    tasks = registry.list_tasks()
    if name is None:
        Console().print(_table(tasks))
        return
    (task,) = registry.select_tasks(tasks, [name], "", "the task folder")
    print(_describe(task))


@dataclass(frozen=True, slots=True)
class ItemOptions:
    """Which item of a task to show, and by which model; None where nothing was said."""

    task: str
    index: int
    model: ModelOptions | None
    tokenizer: str | None
    dtype: str
    source: str | None
    bundle: str | None
    protocol: str | None
    limit: int | None
    max_length: int | None


def show_one(options: ItemOptions) -> None:
    """Print one item as a model sees it. Raises InputError for options that do not fit."""
    quieten_libraries(show_downloads=False)
    default = "bundle" if options.bundle is not None else "demo" if options.model is None else "hub"
    run = plan_core(
        tasks=[options.task],
        source=options.source or default,
        bundle=options.bundle,
        protocol=options.protocol if options.protocol is not None else "nanochat",
        limit=options.limit,
    )
    demo = ModelOptions(str(DEMO_MODEL), tokenizer=options.tokenizer, dtype=options.dtype)
    wanted = options.model if options.model is not None else demo
    lm = load_language_model(wanted, process_group().device, options.max_length)
    _print_item(lm if options.model is not None else replace(lm, name="demo"), run, options.index)


# Options of a schema differ in their contexts, of which the end is shown.
_SCHEMA_CHARACTERS = 200


def _print_item(lm: LanguageModel, run: CoreRun, index: int) -> None:
    view = inspect_item(lm, run, index)
    (task,) = run.tasks
    print(f"{task.name}, item {index} of {view.num_items}, {run.protocol_name} protocol, rows from {run.source}")
    print(f"model {lm.name}\n")
    print(view.options[view.gold or 0].prompt)
    for number, option in enumerate(view.options):
        sums = option.sums
        marks = [w for w, is_so in (("right", number == view.gold), ("chosen", number == view.prediction)) if is_so]
        said = f" ({', '.join(marks)})" if marks else ""
        cut = ", cut on the left" if option.truncated else ""
        print(f"\noption {number}{said}: {option.num_context_tokens} tokens of context{cut}")
        if task.kind == "schema" and number != view.gold:
            print(f"  ...{option.prompt[-_SCHEMA_CHARACTERS:]!r}")
        for token in option.tokens:
            print(f"  {token.nats:9.4f} nats  {token.number:>7}  {token.text!r}")
        per_byte = f", {sums.bits_per_byte:.4f} bits a byte of the answer" if sums.num_bytes else ""
        print(f"  {sums.total_nats:9.4f} nats in all, {sums.mean_nats:.4f} a token{per_byte}")
    print(f"\n{'right' if view.correct else 'wrong'}")


def _table(tasks: list[Task]) -> Table:
    table = Table(title="Task files", title_justify="left")
    for column in ("task", "kind"):
        table.add_column(column, no_wrap=True)
    for column in ("shots", "baseline"):
        table.add_column(column, justify="right")
    for task in tasks:
        versions = sorted(set(task.baselines.values()))
        baselines = " or ".join(f"{value:g}" for value in versions)
        table.add_row(task.name, task.kind, str(task.num_fewshot), baselines)
    return table


def _describe(task: Task) -> str:
    source = task.dataset
    versions = ", ".join(f"{version} {value}" for version, value in task.baselines.items())
    lines = [
        f"{task.name}: {task.kind}, {task.num_fewshot} shots, baselines {versions}",
        f"dataset: {source.path}, config {source.config or 'default'}, split {source.split}, "
        f"revision {source.revision or 'newest'}",
        f"license: {task.license}",
        f"citation: {task.citation}",
        *([f"differs from the CORE bundle: {task.differs}"] if task.differs else []),
        f"file: {task.origin}",
    ]
    rows = demo_rows() / source.path
    return "\n".join(lines + (_describe_prompt(task) if rows.is_dir() else []))


def _describe_prompt(task: Task) -> list[str]:
    data = load_hub_task(task, demo_rows())
    protocol = PROTOCOLS["nanochat"]
    items = protocol.select(task.kind, data.examples, None)
    item = items[0]
    shots = protocol.draw(items, task.num_fewshot)[0] if data.shots is None else data.shots[item.group]
    prompts = protocol.render(task.kind, item, shots[: task.num_fewshot], task.delimiter)
    lines = [
        f"prompt of a demo row with {len(shots[: task.num_fewshot])} shots and its right answer:",
        "",
        prompts[item.gold] if task.kind != "language_modeling" else prompts[-1],
    ]
    options = item.contexts if task.kind == "schema" else item.continuations
    return lines + (["", "options: " + " | ".join(options)] if len(options) > 1 else [])
