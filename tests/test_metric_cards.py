"""The folders of the Spaces: their cards, the examples in them, and the script that pushes them."""

import os
import re
import subprocess
import sys

import evaluate
import pytest
from huggingface_hub import ModelCard

import hf_core_bpb

METRICS = ("bpb", "core")


@pytest.fixture(scope="module")
def cards(pytestconfig):
    return pytestconfig.rootpath / "metric_cards"


def python(arguments, folder, **environment):
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | environment, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


@pytest.fixture(params=METRICS)
def card(request, cards):
    return ModelCard((cards / request.param / "README.md").read_text(), ignore_metadata_errors=False)


def test_a_card_is_of_a_gradio_space(card):
    facts = card.data.to_dict()
    assert (facts["sdk"], facts["app_file"], facts["license"]) == ("gradio", "app.py", "apache-2.0")


def test_a_card_is_tagged_as_a_metric_of_evaluate(card):
    assert {"evaluate", "metric"} <= set(card.data.to_dict()["tags"])


def test_a_card_names_the_pinned_version_of_gradio(card, pytestconfig):
    pinned = (pytestconfig.rootpath / "constraints.txt").read_text().splitlines()
    assert f"gradio=={card.data.to_dict()['sdk_version']}" in pinned


def test_a_card_s_short_description_fits_the_hub(card):
    assert len(card.data.to_dict()["short_description"]) <= 60


@pytest.mark.parametrize(
    "heading", ["Metric description", "How to use", "Inputs", "Output values", "Limitations and bias", "Citation"]
)
def test_a_card_has_the_headings_of_a_metric(card, heading):
    assert f"\n## {heading}\n" in card.text


@pytest.mark.parametrize("metric", METRICS)
def test_evaluate_loads_the_module_of_a_space(cards, metric, tmp_path):
    loaded = evaluate.load(str(cards / metric), cache_dir=str(tmp_path))
    rows = {"bpb": {"predictions": [{"nats": 3.5, "bytes": 5}]}, "core": {"accuracies": {"piqa": 0.75}}}[metric]
    assert loaded.compute(**rows)[metric] == pytest.approx({"bpb": 3.5 / 0.6931471805599453 / 5, "core": 0.5}[metric])


EXPECTED_OUTPUT = {
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
    assert re.fullmatch(EXPECTED_OUTPUT[metric], finished.stdout)


@pytest.mark.parametrize("metric", METRICS)
def test_the_requirements_of_a_space_are_this_version_with_its_extra(cards, metric):
    assert (cards / metric / "requirements.txt").read_text() == f"hf_core_bpb[space]>={hf_core_bpb.__version__}\n"


def run_push(cards, *options, namespace="someone", **environment):
    return python([str(cards / "push.py"), "--namespace", namespace, *options], cards, **environment)


@pytest.fixture(scope="module")
def dry_run(cards, hub):
    """A push without --push, and the requests that it sent to the Hub."""
    before = len(hub.requests)
    return run_push(cards), hub.requests[before:]


@pytest.fixture(scope="module")
def pushed(cards, hub, dry_run):
    """A push to a namespace without Spaces, and the files of the Spaces after it."""
    finished = run_push(cards, "--push", HF_TOKEN="hf_of_nobody")
    folders = {metric: (hub.root / "spaces" / "someone" / metric).iterdir() for metric in METRICS}
    return finished, {metric: {path.name: path.read_bytes() for path in paths} for metric, paths in folders.items()}


@pytest.fixture(scope="module")
def compared(cards, hub, pushed):
    """The output of a push without --push to a Space in which one file was changed and one added."""
    folder = hub.root / "spaces" / "someone" / "bpb"
    (folder / "app.py").write_text("another")
    (folder / "notes.txt").write_text("mine")
    return run_push(cards).stdout


@pytest.mark.slow
def test_a_dry_run_of_a_push_succeeds(dry_run):
    assert dry_run[0].returncode == 0, dry_run[0].stderr


@pytest.mark.slow
def test_a_dry_run_of_a_push_only_reads_from_the_hub(dry_run):
    assert {request.split()[0] for request in dry_run[1]} == {"GET"}


@pytest.mark.slow
def test_a_dry_run_of_a_push_shows_new_spaces(dry_run):
    assert dry_run[0].stdout.count("a new Space") == 2


@pytest.mark.slow
def test_a_dry_run_of_a_push_shows_new_files(dry_run):
    assert "  new     app.py\n" in dry_run[0].stdout


@pytest.mark.slow
def test_a_dry_run_of_a_push_ends_with_the_option_that_writes(dry_run):
    assert dry_run[0].stdout.endswith("Nothing was written. Add --push to write it.\n")


@pytest.mark.slow
def test_a_push_succeeds(pushed):
    assert pushed[0].returncode == 0, pushed[0].stderr


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
def test_a_push_writes_exactly_the_files_of_the_folder(cards, pushed, metric):
    assert pushed[1][metric] == {p.name: p.read_bytes() for p in (cards / metric).iterdir() if p.is_file()}


@pytest.mark.slow
def test_a_push_creates_gradio_spaces(hub, pushed):
    assert [space["sdk"] for space in hub.created] == ["gradio", "gradio"]


@pytest.mark.slow
def test_a_later_dry_run_shows_existing_spaces(compared):
    assert compared.count("a Space that is there") == 2


@pytest.mark.slow
@pytest.mark.parametrize("line", ["  changed app.py\n", "  same    bpb.py\n", "  left    notes.txt\n"])
def test_a_later_dry_run_compares_every_file(compared, line):
    assert line in compared


@pytest.fixture(scope="module", params=["a Hub that answers 503", "no network", "an invalid name"])
def failed(request, cards, hub):
    """A push that fails for this reason, and the Space that it names."""
    if request.param == "no network":
        return run_push(cards, HF_HUB_OFFLINE="1"), "someone/bpb"
    if request.param == "an invalid name":
        return run_push(cards, namespace="a/b c"), "a/b c/bpb"
    hub.failures = 50
    try:
        return run_push(cards), "someone/bpb"
    finally:
        hub.failures = 0


@pytest.mark.slow
def test_a_push_that_fails_exits_with_1(failed):
    assert failed[0].returncode == 1


@pytest.mark.slow
def test_a_push_that_fails_ends_in_one_line_with_the_space(failed):
    finished, space = failed
    assert finished.stderr.splitlines()[-1].startswith(f"push.py: failed on {space}: ")


@pytest.mark.slow
def test_a_push_that_fails_prints_no_traceback(failed):
    assert "Traceback" not in failed[0].stderr
