"""Interrupted runs resume with the results of an uninterrupted one, and damaged journals are rejected."""

import os
import random
import shutil
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest
from filelock import FileLock
from support.command import run_command
from support.interrupted_runs import ONE_THREAD, OPTIONS, results_of, rows_of, start, wait_for_rows
from support.tiny_models import build_tiny_model

from hf_core_bpb.cli import run_evaluation
from hf_core_bpb.cli.main import main
from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.results.folder import RunFolder
from hf_core_bpb.scoring.journal import open_journal
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.scoring.workload import build_workload
from hf_core_bpb.types import Request, Scored, Work

RUN = {"model": "m", "requests": "r"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    finished = run_command("--output", str(folder), *OPTIONS, **ONE_THREAD)
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.mark.slow
def test_a_run_that_is_killed_repeatedly_gives_the_results_of_an_uninterrupted_one(tmp_path, whole):
    folder = tmp_path / "run"
    rng = random.Random(3)
    scored, kills = [], 0
    for _ in range(3):
        process = start(folder)
        if wait_for_rows(folder, process, (scored and rows_of(folder)[1] + rng.randint(1, 6)) or 3):
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        if (folder / "results.json").exists():
            break
        requests, _ = rows_of(folder)
        # No attempt scores a request again.
        assert len(set(requests)) == len(requests)
        assert scored == requests[: len(scored)]
        scored = requests
    assert kills >= 2
    finished = run_command("--output", str(folder), *OPTIONS, **ONE_THREAD)
    assert finished.returncode == 0, finished.stderr
    assert results_of(folder) == results_of(whole)
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "results.json", "samples"]


@pytest.mark.slow
def test_a_run_whose_process_was_killed_resumes_with_another_number_of_processes(tmp_path, whole):
    folder = tmp_path / "run"
    process = start(folder, launcher=("torchrun", "--nproc_per_node", "2"))
    assert wait_for_rows(folder, process, 6)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, error = process.communicate(timeout=120)
    assert process.returncode != 0, error
    assert {path.name[5:9] for path in (folder / "partial").glob("*.jsonl")} == {"0000", "0001"}
    finished = run_command("--output", str(folder), *OPTIONS[:-1], **ONE_THREAD)
    assert finished.returncode == 0, finished.stderr
    assert "requests are scored already." in finished.stderr
    assert results_of(folder) == results_of(whole)


@pytest.mark.slow
def test_an_interrupted_run_with_overwrite_resumes(tmp_path, whole):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    process = start(folder, "--overwrite")
    assert wait_for_rows(folder, process, 8)
    process.kill()
    process.wait()
    assert (folder / "results.json").exists()
    finished = run_command("--output", str(folder), *OPTIONS[:-1], **ONE_THREAD)
    assert finished.returncode == 0, finished.stderr
    assert "requests are scored already." in finished.stderr
    assert results_of(folder) == results_of(whole)


@pytest.mark.slow
def test_a_run_interrupted_before_its_page_was_written_is_finished(tmp_path, whole, monkeypatch):
    arguments = ["--output", str(tmp_path / "run"), *OPTIONS]

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run_evaluation, "write_page", interrupt)
        assert main(arguments) == 130
    assert (tmp_path / "run" / "results.json").exists()
    assert main(arguments) == 0
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["report.html", "results.json", "samples"]


def test_the_work_on_identical_texts_is_counted_once_after_resuming(tmp_path):
    ids = np.arange(1, 40, dtype=np.int32)
    workload = build_workload({name: lambda: [Request(ids, 1, 39, 38)] for name in ("a", "b")})
    first = Scorer(build_tiny_model(), 400, journal=open_journal(tmp_path / "x", RUN)).score(workload)
    again = Scorer(build_tiny_model(), 400, journal=open_journal(tmp_path / "x", RUN)).score(workload)
    assert again.work == first.work


def test_a_journal_with_an_unknown_file_is_rejected(tmp_path):
    open_journal(tmp_path, RUN)
    (tmp_path / "partial" / "notes.jsonl").write_text("hi\n")
    with pytest.raises(InputError, match=r"notes.jsonl: not a file of this run"):
        open_journal(tmp_path, RUN)


def test_a_journal_without_run_json_is_rejected(tmp_path):
    journal = open_journal(tmp_path, RUN)
    journal.record(0, "stage", {0: Scored(1.0, 1, 1, 1, True)}, Work(1, 2, 3))
    (tmp_path / "partial" / "run.json").unlink()
    with pytest.raises(InputError, match=r"run.json is missing beside 0001-0000.jsonl"):
        open_journal(tmp_path, {"model": "other", "requests": "r"})


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_an_error_and_the_run_resumes_later(tmp_path, whole):
    folder = tmp_path / "run"
    # The limit on file sizes replaces a full disk; it is set after the imports, because torch writes files then.
    limited = (
        "import resource, signal, sys\nimport hf_core_bpb.cli.run_evaluation\nfrom hf_core_bpb.cli.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nsys.exit(main(sys.argv[1:]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", limited, "--output", str(folder), *OPTIONS], cwd=tmp_path,
        env=os.environ | ONE_THREAD, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "failed: --output: cannot write to" in ended.stderr
    assert f"Progress saved. Run the same command with --output {folder} to resume." in ended.stderr
    assert "Traceback" not in ended.stderr
    assert rows_of(folder)[1] > 1
    finished = run_command("--output", str(folder), *OPTIONS, **ONE_THREAD)
    assert finished.returncode == 0, finished.stderr
    assert results_of(folder) == results_of(whole)


@pytest.fixture
def unfinished(tmp_path):
    """Return the folder of a run that was killed."""
    folder = tmp_path / "run"
    process = start(folder)
    assert wait_for_rows(folder, process, 2)
    process.kill()
    process.wait()
    return folder


@pytest.mark.slow
def test_a_second_run_in_the_folder_of_a_running_one_is_rejected(unfinished):
    with FileLock(unfinished / ".lock"):
        second = run_command("--output", str(unfinished), *OPTIONS, **ONE_THREAD)
    assert second.returncode == 2
    assert "--output: another run is writing to" in second.stderr


@pytest.mark.slow
def test_another_command_in_the_folder_of_an_unfinished_run_is_rejected(unfinished):
    other = run_command("--output", str(unfinished), *OPTIONS[2:], "--tasks", "piqa", **ONE_THREAD)
    assert other.returncode == 2
    assert "holds another, unfinished run (requests " in other.stderr


@pytest.mark.slow
def test_overwrite_restarts_an_unfinished_run(unfinished, whole):
    finished = run_command("--output", str(unfinished), *OPTIONS, "--overwrite", **ONE_THREAD)
    assert finished.returncode == 0, finished.stderr
    assert results_of(unfinished) == results_of(whole)


@pytest.fixture
def journal_file(tmp_path):
    """Return the journal file of one process with three forward passes."""
    journal = open_journal(tmp_path, RUN)
    journal.record_batch_tokens(0, 512)
    journal.record(0, "s", {0: Scored(1.5, 2, 3, 4, True), 1: Scored(0.1, 1, 1, 1, False)}, Work(1, 20, 3))
    journal.record(0, "s", {2: Scored(1e-300, 2, 3, 4, True)}, Work(2, 10, 2))
    return tmp_path / "partial" / "0001-0000.jsonl"


def test_a_journal_is_read_back_exactly(tmp_path, journal_file):
    journal = open_journal(tmp_path, RUN)
    assert journal.scored == {
        "s": {0: Scored(1.5, 2, 3, 4, True), 1: Scored(0.1, 1, 1, 1, False), 2: Scored(1e-300, 2, 3, 4, True)}
    }
    assert journal.work == {"s": Work(3, 30, 5)}
    assert (journal.batch_tokens, journal.attempt) == (512, 2)


@pytest.mark.parametrize("text", ["`", "[" * 5_000, "1", "[]", "{}", '{"requests": "a", "sums": {"1": [0]}}'])
def test_an_invalid_line_with_a_valid_checksum_is_rejected(tmp_path, text):
    open_journal(tmp_path, RUN)
    line = f"{zlib.crc32(text.encode()):08x} {text}\n"
    (tmp_path / "partial" / "0001-0000.jsonl").write_text(line)
    damaged = r"0001-0000\.jsonl(, line 1: the line is damaged|: expected rows of this version)"
    with pytest.raises(InputError, match=damaged):
        open_journal(tmp_path, RUN)


def test_an_incomplete_last_line_is_ignored(tmp_path, journal_file):
    content = journal_file.read_bytes()
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    for length in range(last, len(content)):
        journal_file.write_bytes(content[:length])
        assert set(open_journal(tmp_path, RUN).scored["s"]) == {0, 1}


def test_every_changed_byte_is_detected(tmp_path, journal_file):
    content = journal_file.read_bytes()
    for index in range(0, len(content) - 1, 3):
        journal_file.write_bytes(content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :])
        with pytest.raises(InputError, match=r"0001-0000.jsonl, line \d: the line is damaged"):
            open_journal(tmp_path, RUN)


def test_a_journal_of_another_run_is_rejected_with_the_difference(tmp_path, journal_file):
    with pytest.raises(InputError, match=r"another, unfinished run \(model m, now other\); choose another folder"):
        open_journal(tmp_path, RUN | {"model": "other"})


def test_a_journal_with_a_damaged_run_json_is_rejected(tmp_path, journal_file):
    (tmp_path / "partial" / "run.json").write_text("{}")
    with pytest.raises(InputError, match=r"run.json: the file is damaged"):
        open_journal(tmp_path, RUN)


def test_the_first_of_two_scores_of_a_request_counts(tmp_path):
    for nats in (1.0, 2.0):
        open_journal(tmp_path, RUN).record(0, "a", {3: Scored(nats, 1)}, Work(1, 2, 3))
    assert open_journal(tmp_path, RUN).scored == {"a": {3: Scored(1.0, 1)}}


def test_a_journal_that_cannot_be_written_is_an_error(tmp_path, journal_file):
    journal = open_journal(tmp_path, RUN)
    shutil.rmtree(tmp_path / "partial")
    (tmp_path / "partial").touch()
    with pytest.raises(RunError, match="`output`: cannot write to .*partial: .*File exists"):
        journal.record(0, "s", {}, Work())


def test_a_folder_is_locked_while_a_run_writes_to_it(tmp_path):
    folder = RunFolder(tmp_path / "run", overwrite=False)
    folder.begin(RUN)
    with pytest.raises(InputError, match="another run is writing to"):
        RunFolder(tmp_path / "run", overwrite=False).begin(RUN)
    folder.end()
    RunFolder(tmp_path / "run", overwrite=False).begin(RUN)


@pytest.fixture
def unfinished_folder(tmp_path):
    for name in ("partial", "samples"):
        (tmp_path / "run" / name).mkdir(parents=True)
    return RunFolder(tmp_path / "run", overwrite=False)


def test_the_folder_of_an_unfinished_run_is_accepted_as_output(unfinished_folder):
    unfinished_folder.check()


def test_a_folder_with_other_files_is_rejected_as_output(tmp_path, unfinished_folder):
    (tmp_path / "run" / "notes.txt").touch()
    with pytest.raises(InputError, match="expected a new or empty folder, or that of an earlier run"):
        unfinished_folder.check()
