"""The group of processes: its timeout, its backends, and when it ends."""

import json

import pytest
import torch
from support.command import run_script

from hf_core_bpb import distributed
from hf_core_bpb.cli import run_evaluation
from hf_core_bpb.cli.main import main

SCRIPT = """
import json, torch
from hf_core_bpb.distributed import leave, process_group
group = process_group()
backend = torch.distributed.group.WORLD._get_backend(torch.device("cpu"))
if group.is_main_process:
    print(json.dumps([group.num_processes, backend.options._timeout.total_seconds()]))
leave()
"""


@pytest.mark.slow
def test_processes_wait_for_each_other_for_hours(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    finished = run_script(path, launcher=("torchrun", "--nproc_per_node", "2"))
    assert finished.returncode == 0, finished.stderr
    num_processes, timeout_seconds = json.loads(finished.stdout)
    assert num_processes == 2
    assert timeout_seconds >= 6 * 3600


@pytest.fixture
def group_arguments(monkeypatch):
    """Pretend that processes were launched on CUDA, and return the arguments with which the group is formed."""
    arguments = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(distributed, "PartialState", lambda **given: arguments.update(given))
    distributed.process_group()
    return arguments


def test_processes_on_cuda_wait_for_hours(group_arguments):
    assert group_arguments["timeout"].total_seconds() >= 6 * 3600


def test_processes_on_cuda_exchange_objects_through_the_cpu(group_arguments):
    assert group_arguments["backend"] == "cpu:gloo,cuda:nccl"


def test_a_process_alone_uses_a_device_that_exists(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "5")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    with distributed.alone():
        assert distributed.process_group().device == torch.device("cuda", 1)


def test_the_group_ends_before_the_report_is_written(monkeypatch, tmp_path):
    files_at_end = []
    monkeypatch.setattr(run_evaluation, "leave", lambda: files_at_end.extend(tmp_path.rglob("results.json")))
    assert main(["--eval", "core", "--tasks", "sciq", "--output", str(tmp_path / "run"), "--quiet"]) == 0
    assert (tmp_path / "run" / "results.json").exists()
    assert not files_at_end
