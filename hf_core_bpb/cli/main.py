"""The command line: options and exit codes; what does the work is imported once it is asked for."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hf_core_bpb import __version__
from hf_core_bpb.cli.model_options import add_model_arguments, read_model_arguments
from hf_core_bpb.cli.subcommands import COMMANDS, PROG
from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.formatting import read_number

DESCRIPTION = "Bits per byte and CORE for any causal language model. Without --model: the demo that ships with it."
EPILOG = (
    "Other commands: tasks (list the task files), tasks NAME (show one with a rendered prompt, or "
    "with --index one item as a model sees it), compare RUN RUN, report RUN and publish RUN "
    "(output folders), "
    "scaling plan, scaling fit, scaling forecast, install-metric (--help after each)."
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of an evaluation."""
    parser = argparse.ArgumentParser(prog=PROG, description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"hf_core_bpb {__version__}")
    model = parser.add_argument_group("model")
    add_model_arguments(model)
    model.add_argument(
        "--trained-on",
        metavar="TOKENS",
        help="tokens it was trained on, such as 300B, for reports of several runs "
        "(default: what a Trainer with CoreBpbCallback left in its folder)",
    )
    work = parser.add_argument_group("what to evaluate")
    work.add_argument("--eval", default="core,bpb", metavar="LIST", help="core, bpb or both (default: core,bpb)")
    work.add_argument("--suite", help="core-11 or core-22 (default: core-11)")
    work.add_argument("--tasks", metavar="LIST", help="task names or paths of .toml files instead of a suite")
    work.add_argument(
        "--source",
        choices=["hub", "bundle", "demo"],
        help="where rows come from (default: hub; demo without --model)",
    )
    work.add_argument("--bundle", metavar="PLACE", help="a CORE bundle: a folder, a zip file, or its https address")
    work.add_argument(
        "--protocol",
        choices=["nanochat", "dclm"],
        help="how prompts are made and scored (default: nanochat)",
    )
    work.add_argument(
        "--baselines",
        choices=["v1", "v2"],
        help="random baselines for centering (default: v1 for nanochat, v2 for dclm; both are in results.json)",
    )
    work.add_argument("--limit", type=int, metavar="N", help="at most N items a task (default: all)")
    work.add_argument(
        "--precision",
        type=float,
        metavar="X",
        help="score only as many items as it takes to know CORE of all of them within X, at 95 %% (default: all)",
    )
    work.add_argument(
        "--text",
        action="append",
        metavar="SOURCE",
        help="repeatable: a text file, FILE.jsonl[:COLUMN], or DATASET:CONFIG:SPLIT:COLUMN "
        "(default: WikiText-2 test by document; the demo's texts without --model)",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--max-length", type=int, metavar="N", help="context window (default: the model's positions)")
    how.add_argument("--stride", type=int, metavar="N", help="how far the window moves over text (default: all of it)")
    how.add_argument(
        "--documents",
        choices=["alone", "packed"],
        help="each text document in windows of its own, or one after another in shared ones (default: alone)",
    )
    how.add_argument(
        "--batch-tokens", default="auto", metavar="N", help="tokens a forward holds at most (default: auto)"
    )
    how.add_argument("--output", metavar="DIR", help="default: ./results/<model>-<time>")
    how.add_argument("--overwrite", action="store_true", help="replace results that --output holds")
    how.add_argument(
        "--report-to", default="none", metavar="LIST", help="tensorboard, wandb, trackio (default: none of them)"
    )
    how.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default="warning",
        help="what this package and the libraries under it say beside (default: warning)",
    )
    how.add_argument("--quiet", action="store_true", help="no progress, only the tables and errors")
    return parser


def _say(message: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(f"{PROG}: {message}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 for a run that failed, 2 for input that does not fit."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character shows its escape.
            stream.reconfigure(errors="backslashreplace")
    try:
        if arguments and arguments[0] in COMMANDS:
            build, run = COMMANDS[arguments[0]]
            return run(build().parse_args(arguments[1:]))
        return _evaluate(build_parser().parse_args(arguments))
    except InputError as error:
        _say(f"error: {error}")
        return 2
    except RunError as error:
        _say(f"failed: {error}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 130


def _evaluate(args: argparse.Namespace) -> int:
    evaluations = _split_list(args.eval)
    if not evaluations or set(evaluations) - {"core", "bpb"}:
        raise InputError(f"--eval: expected core, bpb or both, got {args.eval!r}")
    if args.batch_tokens != "auto" and not (args.batch_tokens.isdecimal() and int(args.batch_tokens) > 0):
        raise InputError(f"--batch-tokens: expected auto or a whole number, 1 or more, got {args.batch_tokens!r}")

    model = read_model_arguments(args)

    from hf_core_bpb.cli.evaluate import Options, evaluate

    evaluate(
        Options(
            model=model,
            tokenizer=args.tokenizer,
            dtype=args.dtype,
            trained_on=read_number(args.trained_on, "--trained-on"),
            core="core" in evaluations,
            bpb="bpb" in evaluations,
            suite=args.suite,
            tasks=_split_list(args.tasks) if args.tasks is not None else None,
            source=args.source,
            bundle=args.bundle,
            protocol=args.protocol,
            baselines=args.baselines,
            limit=args.limit,
            precision=args.precision,
            texts=args.text,
            max_length=args.max_length,
            stride=args.stride,
            packed=args.documents == "packed" if args.documents is not None else None,
            batch_tokens=None if args.batch_tokens == "auto" else int(args.batch_tokens),
            output=Path(args.output) if args.output is not None else None,
            overwrite=args.overwrite,
            quiet=args.quiet,
            log_level=args.log_level,
            report_to=() if args.report_to == "none" else tuple(_split_list(args.report_to)),
        )
    )
    return 0


def _split_list(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
