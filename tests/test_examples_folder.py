"""The examples, run as they are."""

import os
import re
import subprocess
import sys

import pytest


def run(code_or_path, *arguments):
    return subprocess.run(
        [sys.executable, *code_or_path, *arguments], capture_output=True, text=True, env=dict(os.environ), timeout=300
    )


@pytest.mark.slow
def test_evaluate_in_python_prints_both_numbers(hub, pytestconfig):
    finished = run([str(pytestconfig.rootpath / "examples" / "evaluate_in_python.py")], "tiny")
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"^\d+\.\d{4} bits per byte over 46 bytes$", finished.stdout, re.MULTILINE)
    assert re.search(r"^piqa: accuracy \d\.\d{3}, centered [+-]\d\.\d{3}$", finished.stdout, re.MULTILINE)


@pytest.mark.slow
def test_training_with_the_callback_ends_in_what_it_was_for(hub, pytestconfig, tmp_path):
    example = str(pytestconfig.rootpath / "examples" / "train_with_callback.py")
    finished = run([example], "--output", str(tmp_path / "run"), "--tokens", "30000", "--evaluations", "7")
    assert finished.returncode == 0, finished.stderr
    # 8 steps of 4 rows of 1,024, whose first tokens nothing predicts.
    assert f"trained on {8 * 4 * 1023:,} tokens" in finished.stdout
    assert re.search(r"^best bits per byte: \d\.\d{4} at step \d+$", finished.stdout, re.MULTILINE)
    assert "'scale/forecast_bpb'" in finished.stdout
    assert re.search(r"^CORE on the demo's rows at the end: [+-]\d\.\d{4}$", finished.stdout, re.MULTILINE)
