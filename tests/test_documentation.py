"""README.md and the pages in docs/ agree with the code."""

import importlib.util
import math
import os
import platform
import re
import subprocess
import sys
from typing import get_args

import pytest
import yaml
from support.trainers import TEXTS, make_trainer, rows

import hf_core_bpb
from hf_core_bpb import CoreBpbCallback
from hf_core_bpb.metrics.centering import centered_accuracy, unweighted_mean
from hf_core_bpb.metrics.results import BpbResult
from hf_core_bpb.scaling.laws import LAWS, RATIOS
from hf_core_bpb.training.alerts import AlertKind
from hf_core_bpb.types import Scored

# Variables that the examples expect the reader to define.
READER_VARIABLES = """
import torch
validation_batches = [(torch.tensor([[5, 6]]), torch.tensor([[6, 7]]))] * 200
held_out = ["The river ran to the sea.", "What is it? The other one."]
rows = [{"input_ids": list(range(1, 9)), "labels": list(range(1, 9))}] * 16
max_steps = 2
"""
NUMBER = r"-?\d+\.\d+(e-?\d+)?"
# Options of torchrun, accelerate and the scripts of this repository.
OTHER_OPTIONS = {
    "--nproc_per_node", "--nnodes", "--node_rank", "--master_addr", "--master_port", "--num_processes", "--use_fsdp",
    "--multi_gpu", "--num_machines", "--machine_rank", "--main_process_ip", "--main_process_port", "--rdzv_id",
    "--rdzv_backend", "--rdzv_endpoint", "--namespace", "--evaluations", "--help",
}  # fmt: skip


@pytest.fixture
def root(pytestconfig):
    return pytestconfig.rootpath


@pytest.fixture
def readme(root):
    return (root / "README.md").read_text()


def load_script(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("README.md", rf"{NUMBER}\n{NUMBER}\n(.*\n)*{NUMBER}\n1\.0098\d+\n0\.45\n"),
        ("docs/python.md", rf"{NUMBER} 21 bpb\|.*\narc_easy {NUMBER} {NUMBER}\n\d+ \(.*\)\n{NUMBER}\n"),
        ("docs/evaluate.md", r"1\.0098\d+\n0\.45\n"),
    ],
    ids=["readme", "python", "evaluate"],
)
def test_the_python_examples_of_a_page_run(hub, root, tmp_path, page, expected):
    code = "".join(re.findall(r"```python\n(.*?)```", (root / page).read_text(), re.DOTALL))
    finished = subprocess.run(
        [sys.executable, "-c", READER_VARIABLES + code.replace('"gpt2"', '"tiny"')],
        capture_output=True, text=True, env=dict(os.environ), cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert re.fullmatch(expected, finished.stdout), finished.stdout


@pytest.mark.slow
def test_the_readme_shows_the_output_of_the_demo(root, readme, monkeypatch):
    script = load_script(root / "docs" / "update_readme.py")
    monkeypatch.setenv("COLUMNS", script.COLUMNS)
    block = script.BLOCK.search(readme)
    same_python = platform.python_version_tuple()[:2] == tuple(block["python"].split(".")[:2])
    assert script.is_current(block["output"], script.run_demo(), same_python), "run python docs/update_readme.py"


@pytest.mark.parametrize(
    ("old", "new", "is_current"),
    [
        ("1.7367", "1.7301", True),  # another CPU
        ("1.7367", "1.9367", False),
        ("accuracy", "fraction correct", False),
        ("│ squad ", "│ scrod ", False),
    ],
)
def test_an_outdated_output_in_the_readme_is_detected(root, readme, old, new, is_current):
    script = load_script(root / "docs" / "update_readme.py")
    shown = script.BLOCK.search(readme)["output"]
    assert old in shown
    assert script.is_current(shown.replace(old, new), shown, same_python=True) == is_current


def test_the_readme_has_at_most_150_lines(readme):
    assert len(readme.splitlines()) <= 150


def test_links_of_the_readme_point_to_files(root, readme):
    links = re.findall(r"\]\(([^)#]+)", readme)
    assert len(links) > 15
    for link in links:
        assert link.startswith("https://") or (root / link).is_file(), link


def test_every_page_is_in_the_navigation_of_the_site(root):
    names = re.findall(r": (\S+\.md)$", (root / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(names) == sorted(path.name for path in (root / "docs").glob("*.md"))


OPTION = r"(?<![\w-])--[a-z][\w-]*"


@pytest.fixture
def options(root):
    """The options that the command line page lists."""
    return set(re.findall(OPTION, "\n".join(load_script(root / "docs" / "hooks.py").describe_commands())))


def test_the_command_line_page_lists_the_options_of_every_command(options):
    assert {"--model", "--precision", "--index", "--plot", "--create-pr", "--unique-tokens", "--final-step"} <= options


def test_pages_name_only_existing_options(root, options):
    pages = [root / "README.md", root / "CHANGELOG.md", *root.glob("docs/*.md"), *root.glob("metric_cards/*/README.md")]
    for page in pages:
        named = set(re.findall(OPTION, page.read_text()))
        assert named <= options | OTHER_OPTIONS, page


def test_the_python_page_describes_every_public_name(root):
    described = "\n".join(load_script(root / "docs" / "hooks.py").describe_api())
    names = [name for name in hf_core_bpb.__all__ if name != "__version__"]
    assert sorted(re.findall(r"^::: hf_core_bpb\.(\w+)$", described, re.MULTILINE)) == sorted(names)


def test_generated_parts_replace_their_marks_on_the_pages(root):
    hooks = load_script(root / "docs" / "hooks.py")
    for page, mark in (("command-line", hooks.OPTIONS_MARK), ("python", hooks.API_MARK), ("tasks", hooks.TASKS_MARK)):
        text = (root / "docs" / f"{page}.md").read_text()
        assert mark in text
        assert mark not in hooks.on_page_markdown(text)


@pytest.mark.slow
def test_the_callback_page_lists_exactly_the_logged_keys(root, tokenizer, tmp_path):
    callback = CoreBpbCallback(
        TEXTS, bpb_every=1, core_every=8, core_precision=0.5, tasks=["piqa"], source="demo", convention="active",
        device_flops=1e9,
    )  # fmt: skip
    trainer = make_trainer(tmp_path, tokenizer, callback, max_steps=8, data=rows(labelled=False))
    trainer.train()
    logged = {key for entry in trainer.state.log_history for key in entry if key.startswith(("scale/", "eval_"))}
    logged |= {f"alert/{kind}" for kind in get_args(AlertKind)}
    page = (root / "docs" / "callback.md").read_text()
    named = set(re.findall(r"`((?:scale/|eval_|alert/)[\w/<>]+)`", page))
    general = {
        "scale/tokens_per_parameter_<convention>": "scale/tokens_per_parameter_active",
        "eval_core/<task>": "eval_core/piqa",
    }
    assert {general.get(key, key) for key in named} == logged


def test_the_worked_example_of_the_method_page_is_correct(root):
    page = " ".join((root / "docs" / "method.md").read_text().split())
    scored = Scored(total_nats=3.5, num_tokens=3, num_bytes=len("海 a".encode()), num_characters=3)
    result = BpbResult(scored, (scored,), "")
    bits = 3.5 / math.log(2)
    assert f"3.5 / ln 2 = {bits:.4f} bits, and {bits:.4f} / 5 = {result.bpb:.4f} bits per byte" in page
    assert f"{bits:.4f} / 3 = {result.bits_per_character:.4f} bits" in page
    assert f"e^(3.5 / 3) = {result.token_perplexity:.4f}" in page
    centered = centered_accuracy(0.41, 0.25)
    assert f"(0.41 - 0.25) / (1 - 0.25) = {centered:.4f}" in page
    assert f"the mean of the two is {unweighted_mean([centered, 0.06]):.4f}" in page


def test_the_scaling_page_shows_the_ratios_of_the_rules(root):
    page = (root / "docs" / "scaling.md").read_text()
    for rule in [*LAWS.values(), *RATIOS.values()]:
        optimum = rule.optimal(1e20)
        interval = optimum.ratio_ci95
        shown = f"{optimum.ratio:.3g}" + (f" ({interval[0]:.1f} to {interval[1]:.1f})" if interval is not None else "")
        counts = {"total": "all parameters", "matmul": "weight matrices and head"}[rule.convention]
        assert f"| `{rule.name}` | {counts} | {shown} |" in page


def test_the_site_loads_nothing_from_the_network(root):
    text = (root / "mkdocs.yml").read_text()
    assert yaml.safe_load(text)["theme"]["font"] is False
    assert "http" not in text
