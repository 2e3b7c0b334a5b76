"""The benchmark of a GPU, small, on this CPU."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def printed(pytestconfig, shared):
    """What all parts print."""
    program = pytestconfig.rootpath / "benchmarks" / "gpu.py"
    options = ["--bundle", str(shared / "bundle"), "--tokenizer", str(shared / "hub" / "models" / "gpt2-mini")]
    finished = subprocess.run(
        [sys.executable, str(program), *options, "--small"], capture_output=True, text=True, timeout=300, env=os.environ
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.mark.parametrize(
    ("part", "num_lines"), [("verdicts", 5 * 3), ("calls", 3), ("busy", 3 * 4), ("heads", 2 * 5), ("memory", 2)]
)
def test_every_part_of_the_gpu_benchmark_prints_its_table(printed, part, num_lines):
    table = printed.partition(f"## {part}: ")[2].partition("\n## ")[0]
    assert len([line for line in table.splitlines() if line.startswith("| ")]) == 1 + num_lines


def test_the_gpu_benchmark_keeps_every_fast_path_of_full_attention(printed):
    lines = [line for line in printed.splitlines() if line.startswith(("| gpt2-0.1b | ", "| neox-1b | "))]
    verdicts = [line for line in lines if "| replayed |" in line]
    assert len(verdicts) == 6
    assert all(line.endswith("| prefix, prefix+tree, tree |  |") for line in verdicts)
