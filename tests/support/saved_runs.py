"""Copies of finished runs with other contents."""

import contextlib
import json
import shutil


@contextlib.contextmanager
def edit_results(folder):
    """Yield the values of results.json, and write them back."""
    path = folder / "results.json"
    results = json.loads(path.read_text())
    yield results
    path.write_text(json.dumps(results))


def copy_run(run, folder, name, parameters=10**6, core=0.1, bpb=1.5, trained=None):
    """Copy a run as one of another model with other numbers, and return the folder."""
    shutil.copytree(run, folder)
    with edit_results(folder) as results:
        results["model"]["id"] = name
        results["model"]["parameters"]["total"] = parameters
        results["core"]["core"] = core
        if trained is not None:
            results["model"]["trained"] = trained
        for text in results["bpb"].values():
            text["bpb"] = bpb
    return folder
