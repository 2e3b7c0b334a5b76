"""The Spaces' folders: cards that the Hub can read, examples that run, and a push that says what it does."""

import os
import re
import subprocess
import sys

import evaluate
import pytest
from huggingface_hub import ModelCard

import hf_core_bpb

METRICS = ("bpb", "core")


@pytest.fixture
def cards(pytestconfig):
    return pytestconfig.rootpath / "metric_cards"


def python(arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | environment, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
def test_the_front_matter_is_that_of_a_gradio_space_of_an_evaluate_metric(cards, metric, pytestconfig):
    card = ModelCard((cards / metric / "README.md").read_text(), ignore_metadata_errors=False)
    facts = card.data.to_dict()
    assert (facts["sdk"], facts["app_file"], facts["license"]) == ("gradio", "app.py", "apache-2.0")
    assert {"evaluate", "metric"} <= set(facts["tags"])
    assert f"gradio=={facts['sdk_version']}" in (pytestconfig.rootpath / "constraints.txt").read_text().splitlines()
    assert len(facts["short_description"]) <= 60
    for heading in ("Metric description", "How to use", "Inputs", "Output values", "Limitations and bias", "Citation"):
        assert f"\n## {heading}\n" in card.text


@pytest.mark.parametrize("metric", METRICS)
def test_the_module_of_a_space_loads_by_evaluate(cards, metric, tmp_path):
    loaded = evaluate.load(str(cards / metric), cache_dir=str(tmp_path))
    assert loaded.name == metric
    rows = {"bpb": {"predictions": [{"nats": 3.5, "bytes": 5}]}, "core": {"accuracies": {"piqa": 0.75}}}[metric]
    assert loaded.compute(**rows)[metric] == pytest.approx({"bpb": 3.5 / 0.6931471805599453 / 5, "core": 0.5}[metric])


PRINTED = {
    "bpb": r"\d+\.\d{4} bits per byte over 21 bytes\n1\.0099\n",
    "core": r"0\.5556\n0\.4500\n\d+ core\|suite:custom\|.*\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_the_examples_of_a_card_run(cards, metric, hub):
    installed = python(["-m", "hf_core_bpb", "install-metric", metric], ".")
    assert installed.returncode == 0, installed.stderr
    code = "".join(re.findall(r"```python\n(.*?)```", (cards / metric / "README.md").read_text(), re.DOTALL))
    finished = python(["-c", code.replace('"gpt2"', '"tiny"')], ".", HF_EVALUATE_OFFLINE="1")
    assert finished.returncode == 0, finished.stderr
    assert re.fullmatch(PRINTED[metric], finished.stdout)


def test_the_requirements_name_this_version_s_extra(cards):
    for metric in METRICS:
        (line,) = (cards / metric / "requirements.txt").read_text().splitlines()
        assert line == f"hf_core_bpb[space]>={hf_core_bpb.__version__}"


@pytest.mark.slow
def test_a_push_first_says_what_it_would_write_and_then_writes_just_that(cards, hub):
    push = [str(cards / "push.py"), "--namespace", "someone"]
    before = len(hub.requests)
    dry = python(push, cards)
    assert dry.returncode == 0, dry.stderr
    assert all(request.startswith("GET ") for request in hub.requests[before:])
    assert dry.stdout.count("a new Space") == 2
    assert "  new     app.py\n" in dry.stdout
    assert dry.stdout.endswith("Nothing was written. Add --push to write it.\n")
    pushed = python([*push, "--push"], cards, HF_TOKEN="hf_of_nobody")
    assert pushed.returncode == 0, pushed.stderr
    for metric in METRICS:
        local = {p.name: p.read_bytes() for p in (cards / metric).iterdir() if p.is_file()}
        remote = {p.name: p.read_bytes() for p in (hub.root / "spaces" / "someone" / metric).iterdir()}
        assert remote == local
    assert [made["sdk"] for made in hub.created] == ["gradio", "gradio"]
    (hub.root / "spaces" / "someone" / "bpb" / "app.py").write_text("another")
    (hub.root / "spaces" / "someone" / "bpb" / "notes.txt").write_text("mine")
    again = python(push, cards).stdout
    assert again.count("a Space that is there") == 2
    assert "  changed app.py\n  same    bpb.py\n" in again
    assert "  left    notes.txt\n" in again


@pytest.mark.slow
def test_a_push_that_the_hub_refuses_is_one_line(cards, hub):
    hub.failures = 50
    try:
        finished = python([str(cards / "push.py"), "--namespace", "someone"], cards)
    finally:
        hub.failures = 0
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith("push.py: failed on someone/bpb: Server error '503")
    assert "Traceback" not in finished.stderr
    for environment, namespace in (({"HF_HUB_OFFLINE": "1"}, "someone"), ({}, "a/b c")):
        failed = python([str(cards / "push.py"), "--namespace", namespace], cards, **environment)
        assert failed.returncode == 1
        assert f"push.py: failed on {namespace}/bpb: " in failed.stderr
        assert "Traceback" not in failed.stderr
