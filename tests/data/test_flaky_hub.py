"""A Hub that is slow, offline, interrupted or gated: requests are retried, or the error is one line."""

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
    """A model with a new name, so that none of its files is in the cache."""
    name = f"flaky/{tmp_path.name}"
    shutil.copytree(hub.root / "models" / "tiny", hub.root / "models" / name)
    yield name
    hub.failures = hub.stalls = hub.cuts = 0
    hub.gated.clear()
    hub.moved.clear()


def piqa_results(folder):
    return json.loads((folder / "results.json").read_text())["core"]["tasks"]["piqa"]


@pytest.fixture(scope="module")
def expected(hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("expected") / "run"
    assert main(["--model", "tiny", *ARGUMENTS, "--output", str(folder)]) == 0
    return piqa_results(folder)


def test_a_model_request_that_fails_with_503_is_retried(hub, model, expected, tmp_path):
    hub.failures = 2
    assert main(["--model", model, *ARGUMENTS, "--output", str(tmp_path / "run")]) == 0
    assert hub.failures == 0
    assert piqa_results(tmp_path / "run") == expected


@pytest.mark.slow
def test_an_interrupted_download_is_resumed(hub, model, expected, tmp_path):
    hub.cuts = 2
    finished = run_command("--model", model, *ARGUMENTS, "--output", str(tmp_path / "run"), HF_HOME=str(tmp_path / "h"))
    assert finished.returncode == 0, finished.stderr
    assert hub.cuts == 0
    assert piqa_results(tmp_path / "run") == expected


@pytest.mark.slow
def test_a_request_that_times_out_is_retried(hub, model, expected, tmp_path):
    hub.stalls = 1
    short = {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HOME": str(tmp_path / "h")}
    finished = run_command("--model", model, *ARGUMENTS, "--output", str(tmp_path / "run"), **short)
    assert finished.returncode == 0, finished.stderr
    assert hub.stalls == 0
    assert piqa_results(tmp_path / "run") == expected


def test_a_gated_model_is_one_line_of_error(hub, model, tmp_path, capsys):
    hub.gated.add(model)
    assert main(["--model", model, *ARGUMENTS, "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert f"--model: expected a causal language model at '{model}', got: " in error
    assert "gated" in error
    assert error.count("\n") == 1


def test_a_gated_dataset_is_one_line_of_error(hub, model, tmp_path, capsys):
    hub.gated.add(model)
    dataset = hub.root / "datasets" / model
    dataset.mkdir(parents=True)
    (dataset / "test.jsonl").write_text('{"text": "one"}\n')
    assert main(["--eval", "bpb", "--text", f"{model}:default:test:text", "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("hf-core-bpb: error: --text")
    assert "gated" in error
    assert "Traceback" not in error


@pytest.fixture
def run_of_a_moved_model(hub, model, tmp_path, monkeypatch):
    """The arguments of an interrupted run, whose model then got a new commit on the Hub."""
    arguments = ["--model", model, *ARGUMENTS, "--output", str(tmp_path / "run")]

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "write", interrupt)
        assert main(arguments) == 130
    hub.moved[model] = "7" * 40
    return arguments


def test_a_run_does_not_resume_with_a_new_commit_of_its_model(run_of_a_moved_model, capsys):
    capsys.readouterr()
    assert main(run_of_a_moved_model) == 2
    assert f"unfinished run (revision {'5' * 40}, now {'7' * 40})" in capsys.readouterr().err


def test_a_run_resumes_with_the_commit_that_it_began_with(run_of_a_moved_model):
    assert main([*run_of_a_moved_model, "--revision", "5" * 40]) == 0


OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}


@pytest.mark.slow
def test_an_empty_cache_offline_is_one_line_of_error(hub, model, tmp_path):
    environment = OFFLINE | {"HF_HOME": str(tmp_path / "h")}
    finished = run_command("--model", model, *ARGUMENTS, "--output", str(tmp_path / "run"), **environment)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1].startswith("hf-core-bpb: error: --model: expected a causal language model")
    assert "Traceback" not in finished.stderr


@pytest.mark.slow
def test_a_full_cache_is_enough_offline(hub, model, expected, tmp_path):
    home = {"HF_HOME": str(tmp_path / "h")}
    online = run_command("--model", model, *ARGUMENTS, "--output", str(tmp_path / "online"), **home)
    assert online.returncode == 0, online.stderr
    offline = run_command("--model", model, *ARGUMENTS, "--output", str(tmp_path / "offline"), **OFFLINE, **home)
    assert offline.returncode == 0, offline.stderr
    assert piqa_results(tmp_path / "offline") == expected


@pytest.mark.slow
def test_a_token_is_never_written_or_printed(hub, model, tmp_path):
    secret = "hf_" + "Secret" * 6
    arguments = ("--model", model, *ARGUMENTS[:-1], "--log-level", "debug", "--output", str(tmp_path / "run"))
    finished = run_command(*arguments, "--report-to", "tensorboard", HF_TOKEN=secret, HF_HOME=str(tmp_path / "h"))
    assert finished.returncode == 0, finished.stderr
    assert secret not in finished.stdout + finished.stderr
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {"results.json", "report.html", "piqa.jsonl"} <= {path.name for path in files}
    for path in files:
        assert secret.encode() not in Path(path).read_bytes(), path
