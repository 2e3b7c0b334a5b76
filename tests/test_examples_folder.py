"""The examples and the README's Python, run as they stand."""

import os
import re
import subprocess
import sys


def run(code_or_path, *arguments):
    return subprocess.run(
        [sys.executable, *code_or_path, *arguments], capture_output=True, text=True, env=dict(os.environ), timeout=300
    )


def test_evaluate_in_python_prints_both_numbers(hub, pytestconfig):
    finished = run([str(pytestconfig.rootpath / "examples" / "evaluate_in_python.py")], "tiny")
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"^\d+\.\d{4} bits per byte over 46 bytes$", finished.stdout, re.MULTILINE)
    assert re.search(r"^piqa: accuracy \d\.\d{3}, centered [+-]\d\.\d{3}$", finished.stdout, re.MULTILINE)


def test_the_readme_s_python_runs(hub, pytestconfig):
    code = "".join(re.findall(r"```python\n(.*?)```", (pytestconfig.rootpath / "README.md").read_text(), re.DOTALL))
    batches = "import torch\nvalidation_batches = [(torch.tensor([[5, 6]]), torch.tensor([[6, 7]]))] * 200\n"
    finished = run(["-c", batches + code.replace('"gpt2"', '"tiny"')])
    assert finished.returncode == 0, finished.stderr
    assert len([float(line) for line in finished.stdout.split()]) == 4


def test_the_readme_s_example_by_hand_is_right(pytestconfig):
    import math

    from hf_core_bpb.metrics.centering import centered_accuracy, unweighted_mean
    from hf_core_bpb.metrics.results import BpbResult
    from hf_core_bpb.types import Scored

    readme = " ".join((pytestconfig.rootpath / "README.md").read_text().split())
    scored = Scored(total_nats=3.5, num_tokens=3, num_bytes=len("海 a".encode()), num_characters=3)
    result = BpbResult(scored, (scored,), "")
    bits = 3.5 / math.log(2)
    assert f"3.5 / ln 2 = {bits:.4f} bits, and {bits:.4f} / 5 = {result.bpb:.4f} bits per byte" in readme
    assert f"{bits:.4f} / 3 = {result.bits_per_character:.4f} bits" in readme
    assert f"e^(3.5 / 3) = {result.token_perplexity:.4f}" in readme
    centered = centered_accuracy(0.41, 0.25)
    assert f"(0.41 - 0.25) / (1 - 0.25) = {centered:.4f}" in readme
    assert f"the mean of the two is {unweighted_mean([centered, 0.06]):.4f}" in readme


def test_training_with_the_callback_ends_in_what_it_was_for(hub, pytestconfig, tmp_path):
    example = str(pytestconfig.rootpath / "examples" / "train_with_callback.py")
    finished = run([example], "--output", str(tmp_path / "run"), "--tokens", "30000", "--evaluations", "7")
    assert finished.returncode == 0, finished.stderr
    # 8 steps of 4 rows of 1,024, whose first tokens nothing predicts.
    assert f"trained on {8 * 4 * 1023:,} tokens" in finished.stdout
    assert re.search(r"^best bits per byte: \d\.\d{4} at step \d+$", finished.stdout, re.MULTILINE)
    assert "'scale/forecast_bpb'" in finished.stdout
    assert re.search(r"^CORE on the demo's rows at the end: [+-]\d\.\d{4}$", finished.stdout, re.MULTILINE)


def test_the_readme_s_ratios_are_those_of_the_rules(pytestconfig):
    from hf_core_bpb.scaling.laws import LAWS, RATIOS

    readme = (pytestconfig.rootpath / "README.md").read_text()
    for rule in [*LAWS.values(), *RATIOS.values()]:
        best = rule.optimal(1e20)
        interval = best.ratio_ci95
        shown = f"{best.ratio:.3g}" + (f" ({interval[0]:.1f} to {interval[1]:.1f})" if interval is not None else "")
        counts = {"total": "all parameters", "matmul": "weight matrices and head"}[rule.convention]
        assert f"| `{rule.name}` | {counts} | {shown} |" in readme
