"""`hf-core-bpb publish`: a run as evaluation results in its model's repository on the Hub."""

import argparse
from pathlib import Path

from hf_core_bpb.cli.main import PROG
from hf_core_bpb.results.saved import read_run


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the publish command."""
    parser = argparse.ArgumentParser(
        prog=f"{PROG} publish",
        description="Show what a run would add to its model's repository on the Hub: the card's evaluation results, "
        ".eval_results and results.json. Nothing is written without --push or --create-pr.",
    )
    parser.add_argument("run", metavar="RUN", help="output folder of a run")
    parser.add_argument("--repo", metavar="ID", help="the model's repository (default: the model that was evaluated)")
    parser.add_argument("--push", action="store_true", help="write the changes")
    parser.add_argument("--create-pr", action="store_true", help="propose the changes as a pull request")
    return parser


def run(args: argparse.Namespace) -> None:
    """Show the changes, and write them if requested."""
    from hf_core_bpb.report.publish import show_publication

    saved = read_run(Path(args.run))
    show_publication(saved, args.repo or saved.name, args.push or args.create_pr, args.create_pr)
