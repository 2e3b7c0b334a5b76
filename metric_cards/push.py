"""Push the metrics' Spaces to the Hub: python metric_cards/push.py --namespace NAME [--push].

Without --push it says what would be written and writes nothing. evaluate.load("NAME/bpb") reads what is pushed;
the id in the cards is hf_core_bpb/bpb. The token is the one that `hf auth login` keeps, or HF_TOKEN.
"""

import argparse
import hashlib
import sys
from pathlib import Path

from huggingface_hub import HfApi, RepoFile
from huggingface_hub.errors import RepositoryNotFoundError

FOLDER = Path(__file__).parent
METRICS = ("bpb", "core")


def list_local(metric: str) -> dict[str, Path]:
    """The files of a Space by their names in it."""
    folder = FOLDER / metric
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): path for path in paths}


def list_remote(api: HfApi, repo: str) -> dict[str, str] | None:
    """The git blob ids of a Space's files by name, None where there is no such Space."""
    try:
        entries = list(api.list_repo_tree(repo, repo_type="space", recursive=True))
    except RepositoryNotFoundError:
        return None
    return {entry.path: entry.blob_id for entry in entries if isinstance(entry, RepoFile)}


def blob_id(path: Path) -> str:
    """The id that git gives a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def compare(api: HfApi, repo: str, metric: str) -> list[str]:
    """Print what a push would change, and return the names of the files it would write."""
    remote = list_remote(api, repo)
    print(f"{repo}: {'a new Space' if remote is None else 'a Space that is there'}")
    changed = []
    for name, path in list_local(metric).items():
        there = (remote or {}).get(name)
        verdict = "new" if there is None else "same" if there == blob_id(path) else "changed"
        print(f"  {verdict:8}{name}")
        if verdict != "same":
            changed.append(name)
    for name in sorted(set(remote or {}) - set(list_local(metric))):
        print(f"  left    {name}")
    return changed


def main() -> int:
    """Compare, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--namespace", required=True, help="the user or organisation that the Spaces belong to")
    parser.add_argument("--push", action="store_true", help="write; without it, only say what would be written")
    args = parser.parse_args()
    api = HfApi()
    repo = args.namespace
    print("The Spaces install the package from PyPI: its version in requirements.txt has to be there first.")
    try:
        for metric in METRICS:
            repo = f"{args.namespace}/{metric}"
            changed = compare(api, repo, metric)
            if args.push and changed:
                api.create_repo(repo, repo_type="space", space_sdk="gradio", exist_ok=True)
                made = api.upload_folder(
                    repo_id=repo,
                    folder_path=FOLDER / metric,
                    repo_type="space",
                    allow_patterns=changed,
                    commit_message="Update the metric's card and app",
                )
                print(f"  pushed: {made.commit_url}")
    except Exception as error:
        # Whatever the Hub or the way to it says: no token, no right to write, no network, no such name.
        said = " ".join(line.strip() for line in str(error).splitlines() if line.strip()) or type(error).__name__
        print(f"push.py: failed on {repo}: {said[:300]}", file=sys.stderr)
        return 1
    if not args.push:
        print("Nothing was written. Add --push to write it.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
