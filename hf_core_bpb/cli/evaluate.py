"""The command without a subcommand: evaluate a model."""

import argparse

from hf_core_bpb import __version__
from hf_core_bpb.cli.evaluate_options import add_evaluate_options, read_options
from hf_core_bpb.cli.main import COMMANDS, PROG


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of an evaluation."""
    parser = argparse.ArgumentParser(
        prog=PROG,
        description="Bits per byte and CORE for any causal language model. Without --model: the demo model.",
        epilog=f"Other commands: {', '.join(COMMANDS)} (--help after each).",
    )
    parser.add_argument("--version", action="version", version=f"hf_core_bpb {__version__}")
    add_evaluate_options(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    """Evaluate a model, print the tables and write the results."""
    options = read_options(args)
    from hf_core_bpb.cli.run_evaluation import evaluate

    evaluate(options)
