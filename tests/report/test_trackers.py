"""A run's numbers read back from a tracker's own files, and trackers that cannot be had."""

import json

import pytest
import yaml
from support.command import run_command

from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.report import trackers
from hf_core_bpb.report.trackers import check_trackers, track


@pytest.mark.slow
def test_tensorboard_has_the_numbers_and_the_recipe_of_a_run(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "out"
    finished = run_command("--tasks", "piqa", "--output", str(folder), "--report-to", "tensorboard", "--quiet")
    assert finished.returncode == 0, finished.stderr
    results = json.loads((folder / "results.json").read_text())
    seen, texts = {}, ""
    for path in {path.parent for path in (folder / "tensorboard").rglob("events.out.tfevents*")}:
        board = EventAccumulator(str(path))
        board.Reload()
        seen |= {tag: board.Scalars(tag)[0].value for tag in board.Tags()["scalars"]}
        texts += " ".join(board.Tags()["tensors"])
    assert seen["eval_core"] == pytest.approx(results["core"]["core"])
    assert seen["eval_core/piqa"] == pytest.approx(results["core"]["tasks"]["piqa"]["accuracy"])
    assert seen["eval_bpb/python-reference"] == pytest.approx(results["bpb"]["python-reference"]["bpb"])
    (hparams,) = (folder / "tensorboard").rglob("hparams.yml")
    assert yaml.safe_load(hparams.read_text())["signature"] == results["signature"]


def test_a_tracker_that_cannot_be_had_is_refused_before_anything_runs(monkeypatch):
    with pytest.raises(InputError, match="--report-to: expected some of tensorboard, wandb, trackio, got 'mlflow'"):
        check_trackers(["mlflow"])
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"--report-to wandb: expected it to be installed \(pip install wandb\)"):
        check_trackers(["wandb"])


def test_a_tracker_that_fails_says_where_the_results_are(tmp_path, monkeypatch):
    def fail(**_):
        raise ValueError("no such run")

    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "trackio", fail)
    with pytest.raises(RunError, match=f"which are in {tmp_path}, got: no such run"):
        track(["trackio"], tmp_path, "m", {})
