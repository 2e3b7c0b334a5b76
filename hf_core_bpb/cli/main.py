"""The command line: its commands, and how errors end it."""

import io
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module

from hf_core_bpb.errors import InputError, RunError

PROG = "hf-core-bpb"
# Each is a module of this package with build_parser() and run(args), imported when the command is used.
COMMANDS = {
    "tasks": "tasks",
    "compare": "compare",
    "report": "report",
    "publish": "publish",
    "install-metric": "install_metric",
    "scaling": "scaling",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 for a run that failed, 2 for input that does not fit."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character shows its escape.
            stream.reconfigure(errors="backslashreplace")
    name = "evaluate"
    if arguments and arguments[0] in COMMANDS:
        name = COMMANDS[arguments.pop(0)]
    command = import_module(f"hf_core_bpb.cli.{name}")
    try:
        command.run(command.build_parser().parse_args(arguments))
    except InputError as error:
        _report(f"error: {with_dashes(str(error))}")
        return 2
    except RunError as error:
        _report(f"failed: {with_dashes(str(error))}")
        return 1
    except KeyboardInterrupt:
        _report("interrupted")
        return 130
    return 0


def with_dashes(message: str) -> str:
    """Return a message with the options in it, such as `max_length`, as they are typed: --max-length."""
    return re.sub(r"`(\w+)`", lambda match: f"--{match[1].replace('_', '-')}", message)


def _report(message: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(f"{PROG}: {message}", file=sys.stderr)
