"""The examples, run as they are."""

import os
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def run_example(pytestconfig, name, *arguments):
    path = pytestconfig.rootpath / "examples" / name
    command = [sys.executable, str(path), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), timeout=300)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def evaluated(hub, pytestconfig):
    return run_example(pytestconfig, "evaluate_in_python.py", "tiny")


def test_evaluate_in_python_prints_bits_per_byte(evaluated):
    assert re.search(r"^\d+\.\d{4} bits per byte over 46 bytes$", evaluated, re.MULTILINE)


def test_evaluate_in_python_prints_accuracies(evaluated):
    assert re.search(r"^piqa: accuracy \d\.\d{3}, centered [+-]\d\.\d{3}$", evaluated, re.MULTILINE)


@pytest.fixture(scope="module")
def trained(hub, pytestconfig, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    options = ("--output", str(folder), "--tokens", "30000", "--evaluations", "7")
    return run_example(pytestconfig, "train_with_callback.py", *options)


def test_training_with_the_callback_prints_the_tokens_that_were_targets(trained):
    # 8 steps of 4 rows of 1,024 tokens, the first of which is no target.
    assert f"trained on {8 * 4 * 1023:,} tokens" in trained


def test_training_with_the_callback_prints_the_best_bits_per_byte(trained):
    assert re.search(r"^best bits per byte: \d\.\d{4} at step \d+$", trained, re.MULTILINE)


def test_training_with_the_callback_logs_a_forecast(trained):
    assert "'scale/forecast_bpb'" in trained


def test_training_with_the_callback_prints_core_at_the_end(trained):
    assert re.search(r"^CORE on the demo's rows at the end: [+-]\d\.\d{4}$", trained, re.MULTILINE)
