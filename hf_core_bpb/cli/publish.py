"""The publish command: show what a run would change in its model's repository, and write it if requested."""

from hf_core_bpb.report.publish import plan_publication, publish
from hf_core_bpb.results.saved import SavedRun


def show_publication(run: SavedRun, repo: str, push: bool, create_pr: bool) -> None:
    """Print what publishing a run changes in a model's repository, and write it with `push` or `create_pr`."""
    publication = plan_publication(run, repo)
    for difference in publication.differences():
        print(difference)
    if not publication.changed:
        print(f"{repo} has these results already.")
    elif not (push or create_pr):
        print(f"Nothing was written to {repo}. Add --push to write it, or --create-pr to propose it.")
    else:
        print(f"Written: {publish(publication, create_pr)}")
