"""Experiment trackers: the numbers they are given, and trackers that fail or are missing."""

import json

import pytest
import yaml
from support.command import run_command

from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.report import trackers
from hf_core_bpb.report.trackers import check_trackers, track


@pytest.fixture(scope="module")
def tracked_run(tmp_path_factory):
    """The output folder of a run that TensorBoard tracked, and its results."""
    folder = tmp_path_factory.mktemp("tracked") / "out"
    finished = run_command("--tasks", "piqa", "--output", str(folder), "--report-to", "tensorboard", "--quiet")
    assert finished.returncode == 0, finished.stderr
    return folder, json.loads((folder / "results.json").read_text())


@pytest.mark.slow
def test_tensorboard_has_the_numbers_of_a_run(tracked_run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, results = tracked_run
    values = {}
    for path in {path.parent for path in (folder / "tensorboard").rglob("events.out.tfevents*")}:
        board = EventAccumulator(str(path))
        board.Reload()
        values |= {tag: board.Scalars(tag)[0].value for tag in board.Tags()["scalars"]}
    assert values["eval_core"] == pytest.approx(results["core"]["core"])
    assert values["eval_core/piqa"] == pytest.approx(results["core"]["tasks"]["piqa"]["accuracy"])
    assert values["eval_bpb/python-reference"] == pytest.approx(results["bpb"]["python-reference"]["bpb"])


@pytest.mark.slow
def test_tensorboard_has_the_signature_of_a_run(tracked_run):
    folder, results = tracked_run
    (hparams,) = (folder / "tensorboard").rglob("hparams.yml")
    assert yaml.safe_load(hparams.read_text())["signature"] == results["signature"]


def test_an_unknown_tracker_is_rejected():
    with pytest.raises(InputError, match="`report_to`: expected names of tensorboard, wandb, trackio, got 'mlflow'"):
        check_trackers(["mlflow"])


def test_a_tracker_that_is_not_installed_is_rejected(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="`report_to`: wandb is not installed: pip install wandb"):
        check_trackers(["wandb"])


def test_a_failure_of_a_tracker_names_the_folder_of_the_results(tmp_path, monkeypatch):
    def fail(**_):
        raise ValueError("no such run")

    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "trackio", fail)
    message = f"`report_to`: trackio failed: no such run. The results are in {tmp_path}."
    with pytest.raises(RunError, match=message):
        track(["trackio"], tmp_path, "m", {})
