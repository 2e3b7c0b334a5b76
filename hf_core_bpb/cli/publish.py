"""`hf-core-bpb publish`: a run as evaluation results in its model's repository on the Hub."""

import argparse
from pathlib import Path

from hf_core_bpb.cli.main import PROG
from hf_core_bpb.report.publish import plan_publication, publish
from hf_core_bpb.results.saved import SavedRun, read_run


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
    saved = read_run(Path(args.run))
    _show_publication(saved, args.repo or saved.name, args.push or args.create_pr, args.create_pr)


def _show_publication(saved: SavedRun, repo: str, push: bool, create_pr: bool) -> None:
    """Print what publishing a run changes in a model's repository, and write it with `push` or `create_pr`."""
    publication = plan_publication(saved, repo)
    for difference in publication.differences():
        print(difference)
    if not publication.changed:
        print(f"{repo} has these results already.")
    elif not (push or create_pr):
        print(f"Nothing was written to {repo}. Add --push to write it, or --create-pr to propose it.")
    else:
        print(f"Written: {publish(publication, create_pr)}")
