"""The demo model on the demo's rows and texts, against the answers of nanochat and of lm-evaluation-harness.

These files are in the repository, so that no test here is ever skipped. tests/golden/README.md describes them.
"""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hf_core_bpb import bits_per_byte, evaluate_core
from hf_core_bpb.data.hub import load_hub_task
from hf_core_bpb.data.task_files import list_tasks
from hf_core_bpb.protocols import PROTOCOLS
from hf_core_bpb.protocols.item_batch import ItemBatch

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((FOLDER / "demo.json").read_text())
TASKS = GOLDEN["nanochat"]["tasks"]
DOCUMENTS = GOLDEN["lm_eval_rolling"]["documents"]


def approximately(nats):
    """Allow for float32 sums that another CPU adds up in another order."""
    return pytest.approx(nats, abs=2e-4, rel=1e-5)


@pytest.fixture(scope="module")
def demo(package):
    folder = package / "demo" / "model"
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def core(demo):
    return evaluate_core(*demo, tasks=list(TASKS), source="demo")


@pytest.fixture(scope="module")
def requests(demo, package):
    """The requests of every task, by item."""
    model, tokenizer = demo
    protocol = PROTOCOLS["nanochat"]
    by_task = {}
    for task in list_tasks():
        if task.name in TASKS:
            examples = load_hub_task(task, package / "demo" / "rows").examples
            items = protocol.select(task.kind, examples, None)
            shots = protocol.draw(items, task.num_fewshot)
            max_length = model.config.max_position_embeddings
            by_task[task.name] = protocol.requests(
                tokenizer, ItemBatch(task, items, shots, range(len(items))), max_length
            )
    return by_task


def test_the_golden_file_covers_60_items_and_7_documents():
    assert sum(len(task["items"]) for task in TASKS.values()) == 60
    assert sum(map(len, DOCUMENTS.values())) == 7


@pytest.mark.parametrize("name", TASKS)
def test_every_prompt_has_as_many_tokens_as_in_nanochat(requests, name):
    num_tokens = [[len(request.ids) for request in options] for options in requests[name]]
    assert num_tokens == [item["tokens"] for item in TASKS[name]["items"]]


@pytest.mark.parametrize("name", TASKS)
def test_every_scored_span_is_that_of_nanochat(requests, name):
    spans = [[(request.start, request.end) for request in options] for options in requests[name]]
    assert spans == [list(zip(item["start"], item["end"], strict=True)) for item in TASKS[name]["items"]]


@pytest.mark.parametrize("name", TASKS)
def test_as_many_tokens_are_scored_as_in_nanochat(core, name):
    num_scored = [[option.num_tokens for option in item.options] for item in core.tasks[name].items]
    assert num_scored == [
        [end - start for start, end in zip(item["start"], item["end"], strict=True)] for item in TASKS[name]["items"]
    ]


@pytest.mark.parametrize("name", TASKS)
def test_the_nats_of_every_option_are_those_of_nanochat(core, name):
    nats = [option.total_nats for item in core.tasks[name].items for option in item.options]
    assert nats == approximately([option for item in TASKS[name]["items"] for option in item["nats"]])


@pytest.mark.parametrize("name", TASKS)
def test_every_verdict_is_that_of_nanochat(core, name):
    verdicts = [(item.index, item.correct) for item in core.tasks[name].items]
    assert verdicts == [(item["index"], item["correct"]) for item in TASKS[name]["items"]]


@pytest.mark.parametrize("name", TASKS)
def test_every_accuracy_is_that_of_nanochat(core, name):
    assert core.tasks[name].accuracy == pytest.approx(TASKS[name]["accuracy"], abs=1e-12)


@pytest.mark.parametrize("name", TASKS)
def test_as_many_shots_are_drawn_as_in_nanochat(core, name):
    assert core.tasks[name].num_fewshot == TASKS[name]["num_fewshot"]


def read_documents(package, name):
    if name == "scripts":
        return [(package / "demo" / "scripts.txt").read_bytes().decode()]
    return [path.read_bytes().decode() for path in sorted((FOLDER / "python_reference").glob("[0-9].txt"))]


@pytest.fixture(scope="module")
def texts(demo, package):
    """The result of each text source."""
    return {name: bits_per_byte(*demo, read_documents(package, name)) for name in DOCUMENTS}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_likelihoods_of_the_demo_are_those_of_lm_evaluation_harness(texts, name):
    nats = [document.total_nats for document in texts[name].documents]
    assert nats == approximately([document["nats"] for document in DOCUMENTS[name]])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document_bytes_of_the_demo_are_those_of_the_golden_file(texts, name):
    assert [document.num_bytes for document in texts[name].documents] == [d["bytes"] for d in DOCUMENTS[name]]
