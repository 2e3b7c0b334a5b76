"""A Hub that is slow, away, half there or closed: asked again, gone on with, or one line."""

import json
import shutil
from pathlib import Path

import pytest
from support.command import run_command

from hf_core_bpb.cli.main import main
from hf_core_bpb.results.folder import RunFolder

ARGUMENTS = ("--eval", "core", "--source", "demo", "--tasks", "piqa", "--max-length", "128", "--quiet")


@pytest.fixture
def model(hub, tmp_path):
    """A model of a name of its own, of which nothing is in the cache."""
    name = f"flaky/{tmp_path.name}"
    shutil.copytree(hub.root / "models" / "tiny", hub.root / "models" / name)
    yield name
    hub.failures = hub.stalls = hub.cuts = 0
    hub.gated.clear()
    hub.moved.clear()


def core_in(folder):
    return json.loads((folder / "results.json").read_text())["core"]["tasks"]["piqa"]


@pytest.fixture(scope="module")
def expected(hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected") / "run"
    assert main(["--model", "tiny", *ARGUMENTS, "--output", str(folder)]) == 0
    return core_in(folder)


def test_a_model_is_loaded_from_a_hub_that_answers_503_at_first(hub, model, expected, tmp_path):
    hub.failures = 2
    assert main(["--model", model, *ARGUMENTS, "--output", str(tmp_path / "run")]) == 0
    assert hub.failures == 0
    assert core_in(tmp_path / "run") == expected


@pytest.mark.slow
def test_a_download_that_is_cut_off_is_gone_on_with(hub, model, expected, tmp_path):
    hub.cuts = 2
    finished = run_command("--model", model, *ARGUMENTS, "--output", str(tmp_path / "run"), HF_HOME=str(tmp_path / "h"))
    assert finished.returncode == 0, finished.stderr
    assert hub.cuts == 0
    assert core_in(tmp_path / "run") == expected


@pytest.mark.slow
def test_a_hub_that_answers_late_is_asked_again(hub, model, expected, tmp_path):
    hub.stalls = 1
    short = {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HOME": str(tmp_path / "h")}
    finished = run_command("--model", model, *ARGUMENTS, "--output", str(tmp_path / "run"), **short)
    assert finished.returncode == 0, finished.stderr
    assert hub.stalls == 0
    assert core_in(tmp_path / "run") == expected


def test_a_closed_model_and_a_closed_dataset_are_one_line(hub, model, tmp_path, capsys):
    hub.gated.add(model)
    assert main(["--model", model, *ARGUMENTS, "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert f"--model: expected a causal language model at '{model}', got: " in said
    assert "gated" in said
    assert said.count("\n") == 1
    closed = hub.root / "datasets" / model
    closed.mkdir(parents=True)
    (closed / "test.jsonl").write_text('{"text": "one"}\n')
    assert main(["--eval", "bpb", "--text", f"{model}:default:test:text", "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("hf-core-bpb: error: --text")
    assert "gated" in said
    assert "Traceback" not in said


def test_a_run_whose_model_moved_on_the_hub_is_not_gone_on_with(hub, model, tmp_path, capsys, monkeypatch):
    arguments = ["--model", model, *ARGUMENTS, "--output", str(tmp_path / "run")]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write", stop)
        assert main(arguments) == 130
    hub.moved[model] = "7" * 40
    capsys.readouterr()
    assert main(arguments) == 2
    assert f"unfinished run (revision {'5' * 40}, now {'7' * 40})" in capsys.readouterr().err
    # The revision that it was begun with is still to be had.
    assert main([*arguments, "--revision", "5" * 40]) == 0


@pytest.mark.slow
def test_offline_a_full_cache_is_enough_and_an_empty_one_is_one_line(hub, model, expected, tmp_path):
    home = {"HF_HOME": str(tmp_path / "h")}
    offline = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9", **home}
    arguments = ("--model", model, *ARGUMENTS)
    finished = run_command(*arguments, "--output", str(tmp_path / "a"), **offline)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1].startswith("hf-core-bpb: error: --model: expected a causal language model")
    assert "Traceback" not in finished.stderr
    assert run_command(*arguments, "--output", str(tmp_path / "b"), **home).returncode == 0
    finished = run_command(*arguments, "--output", str(tmp_path / "c"), **offline)
    assert finished.returncode == 0, finished.stderr
    assert core_in(tmp_path / "c") == expected


@pytest.mark.slow
def test_a_token_is_in_nothing_that_is_written_or_said(hub, model, tmp_path):
    secret = "hf_" + "Secret" * 6
    arguments = ("--model", model, *ARGUMENTS[:-1], "--log-level", "debug", "--output", str(tmp_path / "run"))
    finished = run_command(*arguments, "--report-to", "tensorboard", HF_TOKEN=secret, HF_HOME=str(tmp_path / "h"))
    assert finished.returncode == 0, finished.stderr
    assert secret not in finished.stdout + finished.stderr
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"results.json", "report.html", "piqa.jsonl"} <= {path.name for path in files}
    for path in files:
        assert secret.encode() not in Path(path).read_bytes(), path
