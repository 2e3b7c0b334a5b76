"""The documented commands for several machines, run as two groups of processes on one machine."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import run_command
from support.interrupted_runs import results_of

from hf_core_bpb.data.demo import DEMO_MODEL

pytestmark = pytest.mark.slow

OPTIONS = ["--tasks", "piqa,boolq,squad", "--max-length", "128", "--quiet"]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    finished = run_command("--output", str(folder), *OPTIONS, OMP_NUM_THREADS="1")
    assert finished.returncode == 0, finished.stderr
    return folder


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def documented_command(pytestconfig, launcher, port):
    """Return the command of docs/big-models.md, changed to two machines with one process each."""
    text = (pytestconfig.rootpath / "docs" / "big-models.md").read_text()
    (line,) = re.findall(rf"^{launcher} .*?--output results/ID$", text, re.DOTALL | re.MULTILINE)
    words = line.replace("\\\n", " ").split()
    small = {"16": "2", "8": "1", "HOST": "127.0.0.1", "29500": port}
    words = [small.get(word, word) for word in words[: words.index("--model")]]
    return [str(BIN / words[0]), *words[1:]]


@pytest.mark.parametrize("launcher", ["accelerate launch", "torchrun"])
def test_two_machines_give_the_results_of_one(pytestconfig, tmp_path, whole, launcher):
    words = documented_command(pytestconfig, launcher, free_port())
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    machines = [
        subprocess.Popen(
            [word.replace("$R", str(number)) for word in words] + ["--output", str(tmp_path / "run"), *OPTIONS],
            cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    for machine in machines:
        _, error = machine.communicate(timeout=200)
        assert machine.returncode == 0, error
    assert '"processes": 2' in (tmp_path / "run" / "results.json").read_text()
    assert results_of(tmp_path / "run") == results_of(whole)


def test_the_slurm_script_starts_processes_on_each_machine(pytestconfig, tmp_path):
    """Replace the commands of Slurm by scripts for two machines that are both this one."""
    tools = tmp_path / "tools"
    tools.mkdir()
    port = free_port()
    for name, script in {
        "scontrol": "echo 127.0.0.1; echo 127.0.0.2",
        "srun": f'for _ in 0 1; do "${{@//:29500/:{port}}}" & done; wait -n; one=$?; wait -n; exit $((one + $?))',
    }.items():
        (tools / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (tools / name).chmod(0o755)
    script = pytestconfig.rootpath / "examples" / "slurm.sh"
    environment = os.environ | {
        "PATH": f"{tools}:{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "a,b", "SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "1",
    }  # fmt: skip
    finished = subprocess.run(
        ["bash", str(script), str(DEMO_MODEL), "--source", "demo", "--eval", "core", *OPTIONS],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    (results,) = (tmp_path / "results").glob("*/results.json")
    assert '"processes": 2' in results.read_text()


def test_the_slurm_script_without_a_model_prints_its_usage(pytestconfig, tmp_path):
    script = pytestconfig.rootpath / "examples" / "slurm.sh"
    finished = subprocess.run(["bash", str(script)], cwd=tmp_path, capture_output=True, text=True)
    assert "expected a model: sbatch examples/slurm.sh MODEL" in finished.stderr
