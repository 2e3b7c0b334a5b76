"""`hf-core-bpb tasks`: the task files as a table, one task with a prompt, or one item as a model sees it."""

import argparse

from rich.console import Console
from rich.table import Table

from hf_core_bpb.cli.evaluate_options import default_source
from hf_core_bpb.cli.main import PROG
from hf_core_bpb.cli.model_options import add_model_options, read_model_options
from hf_core_bpb.data import task_files
from hf_core_bpb.data.demo import DEMO_ROWS
from hf_core_bpb.data.hub import load_hub_task
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.protocols import PROTOCOLS
from hf_core_bpb.types import Task

# The options of a schema differ in their contexts; of the long ones the end is shown.
_SCHEMA_CHARACTERS = 200


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the tasks command."""
    parser = argparse.ArgumentParser(prog=f"{PROG} tasks", description="List the task files, or show one.")
    parser.add_argument(
        "name", nargs="*", metavar="[show] NAME", help="show this task's file and a prompt rendered from demo rows"
    )
    group = parser.add_argument_group("one item as a model sees it: prompt, scored tokens, losses")
    group.add_argument("--index", type=int, metavar="I", help="index of the item, after shuffle and limit")
    add_model_options(group)
    group.add_argument("--source", choices=["hub", "bundle", "demo"], help="where rows come from (default: hub)")
    group.add_argument("--bundle", metavar="PLACE", help="CORE bundle: a folder, a zip file, or its https address")
    group.add_argument("--protocol", choices=["nanochat", "dclm"], help="default: nanochat")
    group.add_argument("--limit", type=int, metavar="N", help="the limit of the run in question: it changes the shots")
    group.add_argument("--max-length", type=int, metavar="N", help="context length (default: the model's positions)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Print all tasks, one task, or one item of it."""
    names = args.name[1:] if args.name[:1] == ["show"] else args.name
    if len(names) > 1 or (not names and (args.name or args.index is not None)):
        raise InputError(f"tasks: expected one name, got {' '.join(names) or 'none'}")
    if args.index is not None:
        _show_item(names[0], args)
        return
    for name, value in vars(args).items():
        if name not in ("name", "index") and value is not None and value is not False and value != "auto":
            raise InputError(f"`{name}`: expected `index` with it, got none")
    tasks = task_files.list_tasks()
    if not names:
        Console().print(_table(tasks))
        return
    (task,) = task_files.select_tasks(tasks, names, "", "the task folder")
    print(_describe(task))


def _show_item(name: str, args: argparse.Namespace) -> None:
    from hf_core_bpb.cli.logs import quiet_libraries
    from hf_core_bpb.distributed import process_group
    from hf_core_bpb.evaluation.inspect_item import inspect_item
    from hf_core_bpb.evaluation.resolve import resolve_core
    from hf_core_bpb.models.loading import load_language_model

    quiet_libraries(show_downloads=False)
    model = read_model_options(args)
    options = CoreOptions(
        tasks=(name,),
        source=args.source or default_source(args, model),
        bundle=args.bundle,
        protocol=args.protocol if args.protocol is not None else "nanochat",
        limit=args.limit,
        max_length=args.max_length,
    )
    core = resolve_core(options)
    lm = load_language_model(model, process_group().device, options.max_length)
    view = inspect_item(lm, core, args.index)
    (task,) = core.tasks
    print(
        f"{task.name}, item {args.index} of {view.num_items}, {options.protocol} protocol, rows from {options.source}"
    )
    print(f"model {lm.name}\n")
    print(view.options[view.gold or 0].prompt)
    for number, option in enumerate(view.options):
        marks = [
            word
            for word, applies in (("correct", number == view.gold), ("chosen", number == view.prediction))
            if applies
        ]
        suffix = f" ({', '.join(marks)})" if marks else ""
        cut = ", truncated on the left" if option.truncated else ""
        print(f"\noption {number}{suffix}: {option.num_context_tokens} tokens of context{cut}")
        if task.kind == "schema" and number != view.gold:
            print(f"  ...{option.prompt[-_SCHEMA_CHARACTERS:]!r}")
        for token in option.tokens:
            print(f"  {token.nats:9.4f} nats  {token.id:>7}  {token.text!r}")
        sums = option.sums
        per_byte = f", {sums.bits_per_byte:.4f} bits per byte of the answer" if sums.num_bytes else ""
        print(f"  {sums.total_nats:9.4f} nats in total, {sums.mean_nats:.4f} per token{per_byte}")
    print(f"\n{'correct' if view.correct else 'wrong'}")


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
        f"{task.name}: {task.kind}, {task.num_fewshot}-shot, baselines {versions}",
        f"dataset: {source.path}, config {source.config or 'default'}, split {source.split}, "
        f"revision {source.revision or 'newest'}",
        f"license: {task.license}",
        f"citation: {task.citation}",
        *([f"differs from the CORE bundle: {task.differs}"] if task.differs else []),
        f"file: {task.origin}",
    ]
    has_demo_rows = (DEMO_ROWS / source.path).is_dir()
    return "\n".join(lines + (_describe_prompt(task) if has_demo_rows else []))


def _describe_prompt(task: Task) -> list[str]:
    import datasets

    datasets.disable_progress_bars()
    data = load_hub_task(task, DEMO_ROWS)
    protocol = PROTOCOLS["nanochat"]
    items = protocol.select(task.kind, data.examples, None)
    item = items[0]
    shots = protocol.draw(items, task.num_fewshot)[0] if data.shots is None else data.shots[item.group]
    prompts = protocol.render(task.kind, item, shots[: task.num_fewshot], task.delimiter)
    lines = [
        f"prompt of a demo row, {len(shots[: task.num_fewshot])}-shot, with its correct answer:",
        "",
        prompts[item.gold] if task.kind != "language_modeling" else prompts[-1],
    ]
    options = item.contexts if task.kind == "schema" else item.continuations
    return lines + (["", "options: " + " | ".join(options)] if len(options) > 1 else [])
