"""Publishing: shown first, written on request, and nothing that others wrote is lost."""

import json
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard
from support.command import run_command
from support.saved_runs import edit_results

from hf_core_bpb.errors import InputError
from hf_core_bpb.report.publish import publication_files, results_path
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

# A model

With text that stays.
"""


@pytest.fixture(scope="module")
def run(hub, tmp_path_factory):
    """A run of a model from the Hub on rows from the Hub."""
    folder = tmp_path_factory.mktemp("publish") / "out"
    finished = run_command(
        "--model", "owner/short", "--tasks", "piqa", "--limit", "4", "--output", str(folder), "--quiet"
    )
    assert finished.returncode == 0, finished.stderr
    return folder


@pytest.fixture(scope="module")
def repository(hub):
    """The model's repository on the Hub, with a card."""
    folder = hub.root / "models" / "owner" / "short"
    (folder / "README.md").write_text(CARD)
    return folder


def test_nothing_is_written_before_it_was_shown_and_asked_for(hub, run, repository):
    before = len(hub.requests)
    finished = run_command("publish", str(run))
    assert finished.returncode == 0, finished.stderr
    assert "Nothing was written to owner/short. Add --push to write it" in finished.stdout
    assert not any("commit" in request for request in hub.requests[before:])
    assert (repository / "README.md").read_text() == CARD


def test_changes_are_shown(run, repository):
    finished = run_command("publish", str(run))
    assert "+      name: piqa" in finished.stdout
    assert f"new: {results_path(read_run(run))}" in finished.stdout


@pytest.fixture(scope="module")
def pushed(run, repository):
    """The finished command that has written the results to the repository."""
    finished = run_command("publish", str(run), "--push", HF_TOKEN="hf_of_nobody")
    assert finished.returncode == 0, finished.stderr
    return finished


def test_the_token_is_never_printed(pushed):
    assert "hf_of_nobody" not in pushed.stdout + pushed.stderr


def test_pushed_results_are_those_of_the_run(pushed, run, repository):
    results = json.loads((run / "results.json").read_text())
    assert json.loads((repository / results_path(read_run(run))).read_text()) == results


def test_pushed_entries_name_dataset_and_accuracy(pushed, run, repository):
    task = json.loads((run / "results.json").read_text())["core"]["tasks"]["piqa"]
    (entry,) = yaml.safe_load((repository / ".eval_results" / "hf_core_bpb.yaml").read_text())
    assert entry["dataset"] == {"id": "baber/piqa", "task_id": "piqa", "revision": task["dataset"]["revision"]}
    assert entry["value"] == task["accuracy"]


def test_pushed_card_keeps_its_text_and_values(pushed, repository):
    card = ModelCard.load(repository / "README.md")
    assert "With text that stays." in card.text
    assert (card.data.license, card.data.tags) == ("mit", ["mine"])


def test_pushed_card_has_old_and_new_results(pushed, run, repository):
    results = json.loads((run / "results.json").read_text())["core"]
    card = ModelCard.load(repository / "README.md")
    values = {(r.dataset_name, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert values["other", "accuracy"] == 0.5
    assert values["piqa", "accuracy"] == results["tasks"]["piqa"]["accuracy"]
    assert values["custom (limit 4)", "core"] == results["core"]


def test_a_second_push_has_nothing_to_write(pushed, run):
    again = run_command("publish", str(run))
    assert again.stdout.strip() == "owner/short has these results already."


def test_publishing_twice_changes_nothing(run):
    first = publication_files(read_run(run), "owner/short", {"README.md": CARD})
    assert publication_files(read_run(run), "owner/short", first) == first


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
    card = publication_files(read_run(run), "owner/short", {"README.md": FOREIGN})["README.md"]
    before, after = front_of(FOREIGN)["model-index"], front_of(card)["model-index"]
    assert after[0] == before[0]
    assert after[1]["results"][:1] == before[1]["results"]
    assert len(after[1]["results"]) == 4
    assert card.endswith("---\nWords.\n")


def test_results_of_others_for_the_same_task_stay(run):
    task = read_run(run).results["core"]["tasks"]["piqa"]["dataset"]
    same = {"dataset": {"type": task["path"], "name": "piqa"}, "metrics": [{"type": "accuracy", "value": 0.1}]}
    before = {"model-index": [{"name": "short", "results": [same | {"source": {"name": "somebody"}}]}]}
    files = publication_files(read_run(run), "owner/short", {"README.md": f"---\n{yaml.safe_dump(before)}---\n"})
    assert front_of(files["README.md"])["model-index"][0]["results"][0] == before["model-index"][0]["results"][0]


def test_a_card_about_several_models_gets_an_entry_of_this_one(run):
    before = {"model-index": [{"name": "one", "results": []}, {"name": "two", "results": []}]}
    files = publication_files(read_run(run), "owner/short", {"README.md": f"---\n{yaml.safe_dump(before)}---\n"})
    after = front_of(files["README.md"])["model-index"]
    assert after[:2] == before["model-index"]
    assert after[2]["name"] == "short"


def test_entries_carry_the_signature(run):
    entries = yaml.safe_load(publication_files(read_run(run), "owner/short", {})[".eval_results/hf_core_bpb.yaml"])
    assert [entry["notes"] for entry in entries] == [read_run(run).signatures[0]]


@pytest.fixture
def sampled_files(run, tmp_path):
    """The files of a sampled run of CORE on rows of a bundle, and its sample."""
    shutil.copytree(run, tmp_path / "sampled")
    sample = {"half_width": 0.01, "num_items": 4, "num_all": 9}
    with edit_results(tmp_path / "sampled") as results:
        results["core"] |= {"suite": "core-22", "sample": sample, "source": "bundle"}
        results["signatures"][0] = results["signatures"][0].replace("|limit:4|", "|limit:all|precision:0.02(1234)|")
    return publication_files(read_run(tmp_path / "sampled"), "owner/short", {}), sample


def test_a_sampled_run_is_not_called_core_alone(sampled_files):
    files, sample = sampled_files
    core = front_of(files["README.md"])["model-index"][0]["results"][0]
    assert core["dataset"]["name"] == core["metrics"][0]["name"] == "CORE (precision 0.02(1234))"
    assert core["metrics"][0]["args"]["sample"] == sample


def test_rows_of_a_bundle_have_no_entries_as_they_belong_to_no_dataset_of_the_hub(sampled_files):
    assert ".eval_results/hf_core_bpb.yaml" not in sampled_files[0]


@pytest.fixture
def two_tasks(run, tmp_path):
    """A run of two tasks from one dataset."""
    folder = tmp_path / "two"
    shutil.copytree(run, folder)
    with edit_results(folder) as results:
        results["core"]["tasks"]["piqa_zeroshot"] = results["core"]["tasks"]["piqa"] | {"accuracy": 0.75}
    shutil.copy(folder / "samples" / "piqa.jsonl", folder / "samples" / "piqa_zeroshot.jsonl")
    return folder


def test_tasks_of_one_dataset_are_separate_results(run, two_tasks):
    files = publication_files(read_run(two_tasks), "owner/short", {})
    results = front_of(files["README.md"])["model-index"][0]["results"]
    assert [(r["dataset"]["name"], r["metrics"][0]["value"]) for r in results[1:3]] == [
        ("piqa", read_run(run).results["core"]["tasks"]["piqa"]["accuracy"]),
        ("piqa_zeroshot", 0.75),
    ]


def test_a_run_without_core_keeps_the_core_of_an_earlier_one(two_tasks):
    first = publication_files(read_run(two_tasks), "owner/short", {})
    with edit_results(two_tasks) as results:
        del results["core"]
        results["signatures"] = results["signatures"][1:]
    second = publication_files(read_run(two_tasks), "owner/short", first)
    before, after = (front_of(files["README.md"])["model-index"][0]["results"] for files in (first, second))
    assert sorted(map(str, after)) == sorted(map(str, before))
    assert set(second) - set(first) == {results_path(read_run(two_tasks))}


def test_entries_of_other_tasks_stay(run, two_tasks):
    first = publication_files(read_run(two_tasks), "owner/short", {})
    again = publication_files(read_run(run), "owner/short", first)[".eval_results/hf_core_bpb.yaml"]
    assert [entry["dataset"]["task_id"] for entry in yaml.safe_load(again)] == ["piqa_zeroshot", "piqa"]


def test_a_limited_run_is_not_called_by_the_name_of_its_suite_alone(run):
    files = publication_files(read_run(run), "owner/short", {})
    core = front_of(files["README.md"])["model-index"][0]["results"][0]
    assert core["metrics"][0]["name"] == "custom (limit 4)"
    assert core["metrics"][0]["args"]["signature"] == read_run(run).signatures[0]


def test_a_model_without_a_card_gets_one(run):
    card = ModelCard(publication_files(read_run(run), "owner/short", {})["README.md"])
    assert card.data.model_name == "short"
    assert card.text.strip() == "# owner/short"


def test_an_unreachable_hub_is_one_line(run):
    finished = run_command("publish", str(run), HF_ENDPOINT="http://127.0.0.1:9")
    assert finished.returncode == 1
    assert finished.stderr.splitlines()[-1].startswith("hf-core-bpb: failed: publish: the request to the Hub failed: ")
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("repo", ["/some/where/model", "no/body"])
def test_a_repository_that_does_not_exist_is_rejected(hub, run, repo):
    finished = run_command("publish", str(run), "--repo", repo)
    assert finished.returncode == 2
    assert f"--repo: expected a model repository that can be read, got '{repo}'" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_runs_on_demo_rows_are_rejected(run, tmp_path):
    shutil.copytree(run, tmp_path / "demo")
    with edit_results(tmp_path / "demo") as results:
        results["core"]["source"] = "demo"
    with pytest.raises(InputError, match="expected a run on rows from the Hub or a bundle, got one on demo rows"):
        publication_files(read_run(tmp_path / "demo"), "owner/short", {})


def test_a_card_with_broken_front_matter_is_rejected(run):
    with pytest.raises(InputError, match="owner/short: expected a model card with valid front matter"):
        publication_files(read_run(run), "owner/short", {"README.md": "---\na: [\n---\n"})
