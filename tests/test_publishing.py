"""Publishing: shown first, written only when asked, and nobody else's words lost."""

import json
import shutil

import pytest
import yaml
from command import run_command
from huggingface_hub import ModelCard

from hf_core_bpb.comparing.saved import read_run
from hf_core_bpb.errors import InputError
from hf_core_bpb.publishing import files_of

CARD = """---
license: mit
tags:
- mine
model-index:
- name: tiny
  results:
  - task:
      type: text-generation
    dataset:
      type: other/set
      name: other
    metrics:
    - type: accuracy
      value: 0.5
---

# A model of mine

With words that stay.
"""


@pytest.fixture(scope="module")
def run(hub, tmp_path_factory):
    """A run of a model of the Hub on rows of the Hub."""
    folder = tmp_path_factory.mktemp("publish") / "out"
    finished = run_command(
        "--model", "owner/short", "--tasks", "piqa", "--limit", "4", "--output", str(folder), "--quiet"
    )
    assert finished.returncode == 0, finished.stderr
    return folder


def test_nothing_is_written_before_it_was_shown_and_asked_for(hub, run):
    repository = hub.root / "models" / "owner" / "short"
    (repository / "README.md").write_text(CARD)
    before = len(hub.requests)
    shown = run_command("publish", str(run))
    assert shown.returncode == 0, shown.stderr
    assert "Nothing was written to owner/short. Add --push to write it" in shown.stdout
    assert "+      name: piqa" in shown.stdout
    assert "new: hf_core_bpb/results.json" in shown.stdout
    assert not any("commit" in request for request in hub.requests[before:])
    assert (repository / "README.md").read_text() == CARD
    pushed = run_command("publish", str(run), "--push", HF_TOKEN="hf_of_nobody")
    assert pushed.returncode == 0, pushed.stderr
    assert "hf_of_nobody" not in pushed.stdout + pushed.stderr
    results = json.loads((run / "results.json").read_text())
    assert json.loads((repository / "hf_core_bpb" / "results.json").read_text()) == results
    (entry,) = yaml.safe_load((repository / ".eval_results" / "hf_core_bpb.yaml").read_text())
    task = results["core"]["tasks"]["piqa"]
    assert entry["dataset"] == {"id": "baber/piqa", "task_id": "piqa", "revision": task["dataset"]["revision"]}
    assert entry["value"] == task["accuracy"]
    card = ModelCard.load(repository / "README.md")
    assert "With words that stay." in card.text
    assert (card.data.license, card.data.tags) == ("mit", ["mine"])
    found = {(r.dataset_name, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert found["other", "accuracy"] == 0.5
    assert found["piqa", "accuracy"] == task["accuracy"]
    assert found["custom", "core"] == results["core"]["core"]
    again = run_command("publish", str(run))
    assert again.stdout.strip() == "owner/short has these results already."


def test_results_of_before_are_replaced_and_those_of_others_stay(run):
    first = files_of(read_run(run), "owner/short", CARD)
    assert files_of(read_run(run), "owner/short", first["README.md"]) == first


def test_a_model_without_a_card_gets_one(run):
    made = ModelCard(files_of(read_run(run), "owner/short", None)["README.md"])
    assert made.data.model_name == "short"
    assert made.text.strip() == "# owner/short"


def test_demo_rows_a_broken_card_and_an_absent_repository_are_refused(hub, run, tmp_path):
    shutil.copytree(run, tmp_path / "demo")
    path = tmp_path / "demo" / "results.json"
    path.write_text(path.read_text().replace('"source": "hub"', '"source": "demo"'))
    with pytest.raises(InputError, match="expected a run on rows of the Hub or of a bundle, got one on demo rows"):
        files_of(read_run(tmp_path / "demo"), "owner/short", None)
    with pytest.raises(InputError, match=r"owner/short/README.md: expected a card with front matter"):
        files_of(read_run(run), "owner/short", "---\na: [\n---\n")
    absent = run_command("publish", str(run), "--repo", "no/body")
    assert absent.returncode == 2
    assert "--repo: expected a model's repository that can be read, got 'no/body'" in absent.stderr
