"""MkDocs hooks: the parts of pages that are made from the code each time the site is built."""

import argparse
import html
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hf_core_bpb.cli.subcommands import COMMANDS

import hf_core_bpb
from hf_core_bpb.cli.main import build_parser

OPTIONS_MARK = "<!-- options of every command -->"
API_MARK = "<!-- every name of the package root -->"
TASKS_MARK = "<!-- every task file -->"
TASKS = Path(__file__).parents[1] / "tasks"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page by what they name. MkDocs calls this for every page."""
    if OPTIONS_MARK in markdown:
        markdown = markdown.replace(OPTIONS_MARK, "\n".join(describe_commands()))
    if API_MARK in markdown:
        markdown = markdown.replace(API_MARK, "\n\n".join(describe_api()))
    if TASKS_MARK in markdown:
        markdown = markdown.replace(TASKS_MARK, "\n".join(describe_tasks()))
    return markdown


def describe_tasks() -> Iterator[str]:
    """Yield the lines of a table of the task files."""
    yield "| task | kind | shots | baseline | suites |"
    yield "|---|---|---|---|---|"
    for path in sorted(TASKS.glob("*.toml")):
        task = tomllib.loads(path.read_text(encoding="utf-8"))
        baseline = task["random_baseline"]
        versions = baseline.values() if isinstance(baseline, dict) else [baseline]
        baselines = " or ".join(f"{value:g}" for value in versions)
        suites = ", ".join(task["suites"])
        yield f"| {task['name']} | {task['kind'].replace('_', ' ')} | {task['num_fewshot']} | {baselines} | {suites} |"


def describe_api() -> Iterator[str]:
    """Yield a reference entry for each public name of the package root, functions first."""
    names = [name for name in hf_core_bpb.__all__ if not name.startswith("__")]
    for name in sorted(names, key=lambda name: (name[0].isupper(), name)):
        yield f"::: hf_core_bpb.{name}"


def describe_commands() -> Iterator[str]:
    """Yield the lines on every command, as its parser has it."""
    yield from describe_command(build_parser())
    for build, _ in COMMANDS.values():
        parser = build()
        subcommands = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not subcommands:
            yield from describe_command(parser)
        for action in subcommands:
            for subparser in action.choices.values():
                yield from describe_command(subparser)


def describe_command(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the lines on one command: its name, its description, and its options by group."""
    yield f"\n## `{parser.prog}`\n"
    yield f"{html.escape(parser.description or '')}\n"
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if not actions:
            continue
        if group.title not in ("positional arguments", "options"):
            yield f"**{(group.title or '').capitalize()}**\n"
        for action in actions:
            yield f"`{_spelling(action)}`"
            yield f":   {_help(action, parser)}\n"


def _spelling(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings)
    if action.nargs == 0:
        return name
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    return f"{name} {value}".strip()


def _help(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    text = (action.help or "") % {**vars(action), "prog": parser.prog}
    required = ["required"] if action.required and action.option_strings else []
    return html.escape("; ".join([*required, *([text] if text else [])])) or "(no further description)"
