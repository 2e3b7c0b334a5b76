"""Publishing: shown first, written only when asked, and nobody else's words lost."""

import json
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard
from support.command import run_command

from hf_core_bpb.errors import InputError
from hf_core_bpb.report.publish import files_of, results_path
from hf_core_bpb.results.saved import read_run

pytestmark = pytest.mark.slow

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
    assert f"new: {results_path(read_run(run))}" in shown.stdout
    assert not any("commit" in request for request in hub.requests[before:])
    assert (repository / "README.md").read_text() == CARD
    pushed = run_command("publish", str(run), "--push", HF_TOKEN="hf_of_nobody")
    assert pushed.returncode == 0, pushed.stderr
    assert "hf_of_nobody" not in pushed.stdout + pushed.stderr
    results = json.loads((run / "results.json").read_text())
    assert json.loads((repository / results_path(read_run(run))).read_text()) == results
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
    assert found["custom (limit 4)", "core"] == results["core"]["core"]
    again = run_command("publish", str(run))
    assert again.stdout.strip() == "owner/short has these results already."


def test_results_of_before_are_replaced_and_those_of_others_stay(run):
    first = files_of(read_run(run), "owner/short", {"README.md": CARD})
    assert files_of(read_run(run), "owner/short", first) == first


FOREIGN = """---
license: mit
model-index:
- name: another
  results:
  - dataset: {type: baber/piqa, name: piqa}
    metrics: [{type: accuracy, value: 0.1, unit: percent, confidence: high}]
    source: {name: somebody}
- name: short
  results:
  - dataset: {type: baber/piqa, name: piqa, num_few_shot: 3}
    metrics: []
    notes: without a number
---
Words.
"""


def front_of(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_whatever_others_wrote_into_the_model_index_stays_as_it_was(run):
    made = files_of(read_run(run), "owner/short", {"README.md": FOREIGN})["README.md"]
    before, after = front_of(FOREIGN)["model-index"], front_of(made)["model-index"]
    assert after[0] == before[0]
    assert after[1]["results"][:1] == before[1]["results"]
    assert len(after[1]["results"]) == 4
    assert made.endswith("---\nWords.\n")


def test_results_of_others_of_the_same_thing_and_entries_of_other_models_stay(run):
    task = read_run(run).results["core"]["tasks"]["piqa"]["dataset"]
    same = {"dataset": {"type": task["path"], "name": "piqa"}, "metrics": [{"type": "accuracy", "value": 0.1}]}
    card = {"model-index": [{"name": "short", "results": [same | {"source": {"name": "somebody"}}]}]}
    made = files_of(read_run(run), "owner/short", {"README.md": f"---\n{yaml.safe_dump(card)}---\n"})["README.md"]
    assert front_of(made)["model-index"][0]["results"][0] == card["model-index"][0]["results"][0]
    others = {"model-index": [{"name": "one", "results": []}, {"name": "two", "results": []}]}
    made = files_of(read_run(run), "owner/short", {"README.md": f"---\n{yaml.safe_dump(others)}---\n"})["README.md"]
    assert front_of(made)["model-index"][:2] == others["model-index"]
    assert front_of(made)["model-index"][2]["name"] == "short"


def test_what_a_run_was_is_published_with_it(run, tmp_path):
    entries = yaml.safe_load(files_of(read_run(run), "owner/short", {})[".eval_results/hf_core_bpb.yaml"])
    assert [entry["notes"] for entry in entries] == [read_run(run).signatures[0]]
    shutil.copytree(run, tmp_path / "sampled")
    path = tmp_path / "sampled" / "results.json"
    results = json.loads(path.read_text())
    sample = {"half_width": 0.01, "num_items": 4, "num_all": 9}
    results["core"] |= {"suite": "core-22", "sample": sample, "source": "bundle"}
    results["signatures"][0] = results["signatures"][0].replace("|limit:4|", "|limit:all|precision:0.02(1234)|")
    path.write_text(json.dumps(results))
    files = files_of(read_run(tmp_path / "sampled"), "owner/short", {})
    core = front_of(files["README.md"])["model-index"][0]["results"][0]
    # It is not what papers print under that name.
    assert core["dataset"]["name"] == core["metrics"][0]["name"] == "CORE (precision 0.02(1234))"
    assert core["metrics"][0]["args"]["sample"] == sample
    # Rows of a bundle are of no dataset of the Hub.
    assert ".eval_results/hf_core_bpb.yaml" not in files


def test_tasks_of_one_dataset_are_results_of_their_own_and_another_run_takes_none_away(run, tmp_path):
    shutil.copytree(run, tmp_path / "two")
    path = tmp_path / "two" / "results.json"
    results = json.loads(path.read_text())
    results["core"]["tasks"]["piqa_zeroshot"] = results["core"]["tasks"]["piqa"] | {"accuracy": 0.75}
    path.write_text(json.dumps(results))
    shutil.copy(tmp_path / "two" / "samples" / "piqa.jsonl", tmp_path / "two" / "samples" / "piqa_zeroshot.jsonl")
    first = files_of(read_run(tmp_path / "two"), "owner/short", {})
    found = front_of(first["README.md"])["model-index"][0]["results"]
    assert [(r["dataset"]["name"], r["metrics"][0]["value"]) for r in found[1:3]] == [
        ("piqa", results["core"]["tasks"]["piqa"]["accuracy"]),
        ("piqa_zeroshot", 0.75),
    ]
    del results["core"]
    results["signatures"] = results["signatures"][1:]
    path.write_text(json.dumps(results))
    second = files_of(read_run(tmp_path / "two"), "owner/short", first)
    after = front_of(second["README.md"])["model-index"][0]["results"]
    assert sorted(map(str, after)) == sorted(map(str, found))
    assert set(second) - set(first) == {results_path(read_run(tmp_path / "two"))}
    # Of another run's tasks, entries that are there already stay.
    again = files_of(read_run(run), "owner/short", first)[".eval_results/hf_core_bpb.yaml"]
    assert [entry["dataset"]["task_id"] for entry in yaml.safe_load(again)] == ["piqa_zeroshot", "piqa"]


def test_a_limited_run_is_not_called_by_the_suite_s_name_and_carries_its_recipe(run):
    made = front_of(files_of(read_run(run), "owner/short", {})["README.md"])["model-index"][0]["results"][0]
    assert made["metrics"][0]["name"] == "custom (limit 4)"
    assert made["metrics"][0]["args"]["signature"] == read_run(run).signatures[0]


def test_a_model_without_a_card_gets_one(run):
    made = ModelCard(files_of(read_run(run), "owner/short", {})["README.md"])
    assert made.data.model_name == "short"
    assert made.text.strip() == "# owner/short"


def test_a_hub_that_does_not_answer_and_a_model_of_no_repository_are_one_line(run, tmp_path):
    unreachable = run_command("publish", str(run), HF_ENDPOINT="http://127.0.0.1:9")
    assert unreachable.returncode == 1
    assert unreachable.stderr.splitlines()[-1].startswith("hf-core-bpb: failed: publish: expected the Hub to take it")
    local = run_command("publish", str(run), "--repo", "/some/where/model")
    assert local.returncode == 2
    assert "--repo: expected a model's repository that can be read, got '/some/where/model'" in local.stderr
    assert "Traceback" not in local.stderr + unreachable.stderr


def test_demo_rows_a_broken_card_and_an_absent_repository_are_refused(hub, run, tmp_path):
    shutil.copytree(run, tmp_path / "demo")
    path = tmp_path / "demo" / "results.json"
    path.write_text(path.read_text().replace('"source": "hub"', '"source": "demo"'))
    with pytest.raises(InputError, match="expected a run on rows of the Hub or of a bundle, got one on demo rows"):
        files_of(read_run(tmp_path / "demo"), "owner/short", {})
    with pytest.raises(InputError, match="owner/short: expected a card with front matter"):
        files_of(read_run(run), "owner/short", {"README.md": "---\na: [\n---\n"})
    absent = run_command("publish", str(run), "--repo", "no/body")
    assert absent.returncode == 2
    assert "--repo: expected a model's repository that can be read, got 'no/body'" in absent.stderr
