"""The evaluate modules: loaded from the repository, by path and by id, and their numbers by hand."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import evaluate
import pytest

import hf_core_bpb
from hf_core_bpb.metrics.intervals import bpb_ci95
from hf_core_bpb.types import Scored

ROWS = [
    {"nats": 3.5, "bytes": 5, "tokens": 3, "characters": 3},
    {"nats": 1.5, "bytes": 4, "tokens": 2, "characters": 4},
]
USE = """
import json, evaluate
bpb = evaluate.load({bpb!r})
bpb.add_batch(predictions=[{{"nats": 3.5, "bytes": 5}}])
core = evaluate.load({core!r})
core_result = core.compute(predictions={{"arc_easy": [2, 0]}}, references={{"arc_easy": [2, 1]}})
print(json.dumps([bpb.compute()["bpb"], core_result["core"]]))
"""


@pytest.fixture
def bpb(tmp_path):
    return evaluate.load(hf_core_bpb.metric_path("bpb"), cache_dir=str(tmp_path))


@pytest.fixture
def core(tmp_path):
    return evaluate.load(hf_core_bpb.metric_path("core"), cache_dir=str(tmp_path))


def python(code, folder, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=os.environ | environment, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("source", ["repository", "path", "id"])
def test_both_metrics_load_from_the_repository_by_path_and_by_id(tmp_path, source, package):
    home = {"HF_HOME": str(tmp_path / "home"), "HF_EVALUATE_OFFLINE": "1"}
    names = ["hf_core_bpb/bpb", "hf_core_bpb/core"]
    # The parent of the installed package has the same layout as the root of the repository.
    folder = package.parent if source == "repository" else tmp_path
    if source == "path":
        names = [hf_core_bpb.metric_path(name) for name in ("bpb", "core")]
    if source == "id":
        before = python(USE.format(bpb=names[0], core=names[1]), folder, **home)
        assert "FileNotFoundError" in before.stderr
        installed = subprocess.run(
            [sys.executable, "-m", "hf_core_bpb", "install-metric"], cwd=folder, env=os.environ | home,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert installed.returncode == 0, installed.stderr
        assert [line.partition(":")[0] for line in installed.stdout.splitlines()] == [
            f'evaluate.load("{name}")' for name in names
        ]
    finished = python(USE.format(bpb=names[0], core=names[1]), folder, **home)
    assert finished.returncode == 0, finished.stderr
    results = json.loads(finished.stdout.splitlines()[-1])
    assert results == pytest.approx([3.5 / math.log(2) / 5, (0.5 - 0.25) / 0.75])


@pytest.mark.slow
def test_installing_again_replaces_an_older_metric(tmp_path, package):
    home = {"HF_HOME": str(tmp_path / "home"), "HF_EVALUATE_OFFLINE": "1"}
    install = [sys.executable, "-m", "hf_core_bpb", "install-metric", "bpb"]
    options = {"cwd": tmp_path, "env": os.environ | home, "capture_output": True, "text": True, "timeout": 300}
    first = subprocess.run(install, **options)
    folder = Path(first.stdout.strip().partition(": ")[2])
    other = folder.parent / ("0" * 64)
    other.mkdir()
    (other / "bpb.py").write_text("raise RuntimeError('an older metric')")
    (other / "__init__.py").touch()
    assert subprocess.run(install, **options).returncode == 0
    finished = python(USE.format(bpb="hf_core_bpb/bpb", core=str(package / "core")), tmp_path, **home)
    assert finished.returncode == 0, finished.stderr


def test_bits_per_byte_is_the_ratio_of_summed_nats_and_bytes(bpb):
    bpb.add_batch(predictions=ROWS[:1])
    bpb.add_batch(nats=[1.5], bytes=[4], tokens=[2], characters=[4])
    result = bpb.compute()
    assert (result["nats"], result["bytes"], result["tokens"], result["characters"]) == (5.0, 9, 5, 7)
    assert result["bpb"] == pytest.approx(5 / math.log(2) / 9)
    assert result["bits_per_character"] == pytest.approx(5 / math.log(2) / 7)
    assert result["token_perplexity"] == pytest.approx(math.e)
    assert result["byte_perplexity"] == pytest.approx(math.exp(5 / 9))
    assert result["documents"] == 2
    assert result["signature"] == f"bpb|sums|version:{hf_core_bpb.__version__}"


def test_one_row_has_no_interval_and_missing_counts_are_none(bpb):
    bpb.add(nats=3.5, bytes=5)
    result = bpb.compute()
    unknown = ("ci95", "tokens", "characters", "token_perplexity", "bits_per_character")
    assert [result[name] for name in unknown] == [None] * 5


def test_a_count_that_a_row_lacks_is_none_in_the_sum(bpb):
    assert bpb.compute(predictions=[ROWS[0], {"nats": 1.5, "bytes": 4}])["tokens"] is None


def load_tiny():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained("tiny").eval(), AutoTokenizer.from_pretrained("tiny")


TEXTS = ["The river ran to the sea.", "Ärger, 海 und 🌊."]


def test_a_model_in_memory_scores_as_bits_per_byte(bpb, hub):
    model, tokenizer = load_tiny()
    expected = hf_core_bpb.bits_per_byte(model, tokenizer, TEXTS)
    result = bpb.compute(predictions=TEXTS, model=model, tokenizer=tokenizer)
    assert result["bpb"] == expected.bpb
    assert result["bytes"] == sum(len(text.encode()) for text in TEXTS)
    assert result["signature"] == expected.signature
    assert result["ci95"] is None


def test_a_model_by_id_scores_added_texts_as_in_memory(bpb, hub):
    model, tokenizer = load_tiny()
    in_memory = bpb.compute(predictions=TEXTS, model=model, tokenizer=tokenizer)
    bpb.add_batch(predictions=TEXTS[:1])
    bpb.add(prediction=TEXTS[1])
    assert bpb.compute(model_id="tiny", dtype="float32")["nats"] == pytest.approx(in_memory["nats"], rel=1e-6)


def test_a_model_by_id_is_loaded_once(bpb, hub, monkeypatch):
    from hf_core_bpb.models import loading

    options = {"predictions": TEXTS, "model_id": "tiny", "dtype": "float32"}
    first = bpb.compute(**options)

    def fail(*_):
        raise AssertionError("loaded a second time")

    monkeypatch.setattr(loading, "load_language_model", fail)
    assert bpb.compute(**options)["nats"] == first["nats"]
    assert "stride:8" in bpb.compute(**options, stride=8, max_length=64)["signature"]


def test_combined_metrics_are_distinguished_by_name(tmp_path, bpb):
    other = evaluate.load(hf_core_bpb.metric_path("bpb"), cache_dir=str(tmp_path / "other"))
    both = evaluate.combine({"first": bpb, "second": other})
    both.add_batch(predictions=ROWS)
    result = both.compute()
    assert result["first_bpb"] == result["second_bpb"] == pytest.approx(5 / math.log(2) / 9)


def test_results_are_saved_as_json(tmp_path, bpb):
    result = bpb.compute(predictions=ROWS)
    path = evaluate.save(tmp_path, **result)
    saved = json.loads(Path(path).read_text())
    assert saved["bpb"] == result["bpb"]
    assert saved["signature"] == result["signature"]


@pytest.mark.slow
def test_the_first_process_computes_the_rows_of_all_processes(tmp_path):
    code = """
import json, sys, evaluate, hf_core_bpb
rank = int(sys.argv[1])
options = {{"num_process": 2, "process_id": rank, "experiment_id": "two", "cache_dir": {cache!r}}}
bpb, core = (evaluate.load(hf_core_bpb.metric_path(name), **options) for name in ("bpb", "core"))
rows = [{{"nats": 3.5, "bytes": 5}}, {{"nats": 1.5, "bytes": 4}}]
bpb.add_batch(predictions=rows[rank : rank + 1])
core.add_batch(predictions=[rank], references=[{{"task": "arc_easy", "answer": 0}}])
print(json.dumps([bpb.compute(), core.compute()]))
"""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code.format(cache=str(tmp_path)), str(rank)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    first, second = (json.loads(out.splitlines()[-1]) for out, _ in ended)
    assert first[0]["bpb"] == pytest.approx(5 / math.log(2) / 9)
    assert (first[1]["tasks"]["arc_easy"]["n"], first[1]["tasks"]["arc_easy"]["accuracy"]) == (2, 0.5)
    assert second == [None, None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "bpb: expected texts or rows of nats and bytes, got none"),
        ({"predictions": []}, "expected one or more texts, or rows of nats and bytes, got none"),
        ({"predictions": [None]}, r"predictions\[0\]: expected a text, or nats and bytes"),
        ({"predictions": "one text"}, "predictions: expected a list, got a single str"),
        ({"predictions": ["text", ""]}, r"predictions\[1\]: expected text, got an empty one"),
        ({"predictions": ["text"]}, "bpb: expected model_id, or model with tokenizer, got none"),
        ({"predictions": ["text"], "model": "m", "model_id": "m"}, "expected model_id, or model .*, got both"),
        ({"predictions": ["text"], "model": object()}, "expected model and tokenizer in memory, got model without one"),
        ({"predictions": ["text"], "model_id": "m", "mdoel": 1}, "bpb: expected keywords of .*; got mdoel"),
        ({"predictions": ["text"], "model_id": "absent/model"}, "`model`: expected a causal language model"),
        ({"predictions": ROWS, "model_id": "tiny"}, "rows of nats and bytes need no model_id"),
        ({"predictions": 5}, "predictions: expected a list, got int"),
        ({"predictions": ["\ud800"], "model_id": "tiny"}, r"predictions\[0\]: expected text that UTF-8 can encode"),
        ({"predictions": [{"nats": 1.0, "bytes": 2**63}]}, "expected bytes to be a whole number"),
        ({"predictions": [{"nats": 1.0, "bytes": 2, "characters": 3}]}, "at most as many characters as bytes, got 3"),
        ({"predictions": ROWS, "nats": [1.0]}, "expected predictions or columns of sums, got both"),
        ({"predictions": [{"nats": 1.0}]}, r"predictions\[0\]: expected a text, or nats and bytes .* got nats"),
        ({"predictions": [{"nats": -1.0, "bytes": 1}]}, "expected nats to be a finite number of 0 or more, got -1.0"),
        ({"predictions": [{"nats": math.nan, "bytes": 1}]}, "expected nats to be a finite number .*, got nan"),
        ({"predictions": [{"nats": 1.0, "bytes": 1.5}]}, "expected bytes to be a whole number of 0 or more, got 1.5"),
        ({"predictions": [{"nats": 1.0, "bytes": 0}]}, "expected one or more bytes in all rows together, got 0"),
        ({"nats": [1.0, 2.0], "bytes": [3]}, "expected columns of one length, got 2 nats, 1 bytes"),
    ],
)  # fmt: skip
def test_bpb_rejects_invalid_input_and_remains_usable(bpb, hub, options, message):
    with pytest.raises(ValueError, match=message):
        bpb.compute(**options)
    # Nothing of rejected input remains, except for rows whose sum is invalid: more rows can make it valid.
    assert len(bpb) == ("in all rows" in message)
    assert bpb.compute(predictions=ROWS)["bytes"] == 9


def test_added_texts_remain_after_a_failed_computation(bpb, hub, monkeypatch):
    from hf_core_bpb import api

    bpb.add_batch(predictions=["The river ran to the sea."])
    for options, message in (
        ({"model_id": "tiny", "max_length": 10**9}, "`max_length`: expected at most the model's"),
        ({"model_id": "tiny", "stride": -3}, "`stride`: expected a whole number of tokens, 1 or more, got -3"),
        ({"model_id": "tiny", "dtype": "bananas"}, "expected dtype to be one of auto, .* got 'bananas'"),
    ):
        with pytest.raises(ValueError, match=message):
            bpb.compute(**options)
        assert len(bpb) == 1

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(api, "bits_per_byte", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            bpb.compute(predictions=["What is it?"], model_id="tiny")
    result = bpb.compute(model_id="tiny")
    assert (result["documents"], result["bytes"]) == (2, len("The river ran to the sea.What is it?"))


@pytest.mark.parametrize("kind", ["generator", "tuple", "numpy", "torch", "pandas", "dataset"])
def test_columns_of_any_library_are_accepted(bpb, kind):
    import numpy as np
    import pandas as pd
    import torch
    from datasets import Dataset

    nats, sizes = [3.5, 1.5], [5, 4]
    frame = pd.DataFrame({"nats": nats, "bytes": sizes})
    columns = {
        "generator": lambda: ((n for n in nats), (b for b in sizes)),
        "tuple": lambda: (tuple(nats), tuple(sizes)),
        "numpy": lambda: (np.array(nats), np.array(sizes)),
        "torch": lambda: (torch.tensor(nats), torch.tensor(sizes)),
        "pandas": lambda: (frame["nats"], frame["bytes"]),
        "dataset": lambda: tuple(Dataset.from_pandas(frame)[name] for name in ("nats", "bytes")),
    }[kind]()
    assert bpb.compute(nats=columns[0], bytes=columns[1])["bpb"] == pytest.approx(5 / math.log(2) / 9)
    with pytest.raises(ValueError, match="predictions: expected a list, got a single DataFrame"):
        bpb.compute(predictions=frame)


def test_single_rows_can_be_added_to_combined_metrics(tmp_path, bpb, core):
    both = evaluate.combine({"bpb": bpb})
    both.add(prediction={"nats": 3.5, "bytes": 5})
    assert both.compute()["bpb"] == pytest.approx(3.5 / math.log(2) / 5)
    combined = evaluate.combine({"core": core})
    combined.add(prediction=1, reference={"task": "piqa", "answer": 1})
    assert combined.compute()["core"] == 1.0


ALONE = """
import json, os, sys
import evaluate, hf_core_bpb

rank = int(os.environ["RANK"])
texts = ["The river ran to the sea.", "Another one."]
cache = sys.argv[0] + str(rank)
bpb = evaluate.load(hf_core_bpb.metric_path("bpb"), cache_dir=cache)
share = bpb.compute(predictions=texts[rank:][:1], model_id="tiny")
both = bpb.compute(predictions=texts, model_id="tiny") if rank == 0 else None
print(json.dumps({"rank": rank, "share": share["bytes"], "both": both and both["bytes"]}), flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_a_metric_computes_on_the_calling_process_alone(tmp_path, hub):
    from support.command import run_script

    path = tmp_path / "script.py"
    path.write_text(ALONE)
    finished = run_script(path, launcher=("torchrun", "--nproc_per_node", "2"))
    assert finished.returncode == 0, finished.stderr
    printed = [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]
    assert {row["rank"]: (row["share"], row["both"]) for row in printed} == {0: (25, 37), 1: (12, None)}


def test_sums_cannot_be_added_to_texts(bpb):
    bpb.add_batch(predictions=["text"])
    with pytest.raises(ValueError, match="expected texts, as before, got sums"):
        bpb.add_batch(predictions=ROWS)


def test_texts_cannot_be_added_in_several_processes(tmp_path):
    two = evaluate.load(
        hf_core_bpb.metric_path("bpb"), num_process=2, process_id=0, experiment_id="x", cache_dir=str(tmp_path)
    )
    with pytest.raises(ValueError, match="expected sums .* under several processes"):
        two.add_batch(predictions=["text"])


def test_core_of_answers_is_the_mean_of_centered_accuracies(core):
    core.add(prediction=2, reference={"task": "arc_easy", "answer": 2})
    core.add_batch(predictions=[" Paris", "Rome"], references=[{"task": "squad", "answer": "Paris"}] * 2)
    result = core.compute(predictions={"arc_easy": [0]}, references={"arc_easy": [1]})
    assert result["tasks"]["arc_easy"] == {
        "accuracy": 0.5, "centered": pytest.approx(1 / 3), "random_baseline": 0.25, "n": 2,
    }  # fmt: skip
    assert result["tasks"]["squad"]["centered"] == 0.5
    assert result["core"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert (result["suite"], result["baselines"]) == (None, "v1")
    assert result["signature"] == f"core|answers|baselines:v1|version:{hf_core_bpb.__version__}"


def test_core_of_published_accuracies_equals_the_published_core(core, shared):
    golden = json.loads((shared / "golden" / "core_published.json").read_text())["models"][0]
    for version in ("v1", "v2"):
        result = core.compute(accuracies=golden["accuracy"], baselines=version)
        assert result["core"] == pytest.approx(golden[f"core_{version}"], abs=1e-9)
        assert result["suite"] == "core-22"
        assert result["core_by_baselines"][version] == result["core"]


def test_core_of_a_model_equals_evaluate_core(core, hub):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained("tiny"), AutoModelForCausalLM.from_pretrained("tiny").eval()
    options = {"tasks": ["piqa", "winogrande"], "source": "demo", "limit": 4}
    expected = hf_core_bpb.evaluate_core(model, tokenizer, **options)
    result = core.compute(model=model, tokenizer=tokenizer, **options)
    assert (result["core"], result["signature"]) == (expected.core, expected.signature)
    assert result["tasks"]["piqa"]["n"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "core: expected one of answers, accuracies, a model; got none"),
        ({"predictions": [], "references": []}, "expected as many of each, one or more, got 0 and 0"),
        ({"predictions": [1]}, "expected answers by task in both, or two lists, got NoneType"),
        ({"predictions": [None], "references": [{"task": "piqa", "answer": 0}]}, "expected the index of an option"),
        ({"predictions": [1], "references": [0]}, r"references\[0\]: expected a task and an answer, got 0"),
        ({"predictions": {"piqa": [1]}, "references": {"piqa": [1, 0]}}, "piqa: expected as many .* got 1 and 2"),
        ({"predictions": {"piqa": [1]}, "references": {"boolq": [1]}}, "the same tasks, got boolq, piqa in one"),
        ({"predictions": {"nope": [1]}, "references": {"nope": [1]}}, "references: expected tasks of .*, got 'nope'"),
        ({"accuracies": {"piqa": 71.2}}, "expected fractions from 0 to 1, got 71.2 for piqa"),
        ({"accuracies": {"piqa": None}}, "expected fractions from 0 to 1, got None for piqa"),
        ({"predictions": {"piqa": "20"}, "references": {"piqa": [1]}}, "piqa: expected answers .* got str"),
        ({"predictions": {"piqa": [True]}, "references": {"piqa": [1]}}, "expected the index of an option .* got True"),
        ({"predictions": {"piqa": [1]}, "references": {"piqa": [1]}, "limit": 5}, "limit would change nothing"),
        ({"accuracies": [0.5]}, "accuracies: expected fractions by task, got a list"),
        ({"accuracies": {"piqa": 0.5}, "baselines": "v3"}, "baselines: expected one of v1, v2, got 'v3'"),
        ({"accuracies": {"piqa": 0.5}, "limit": 3}, "core: without a model, limit would change nothing"),
        ({"accuracies": {"piqa": 0.5}, "acuracies": {}}, "core: expected keywords of .*; got acuracies"),
        ({"model_id": "tiny", "suite": "core-12"}, "expected one of core-11, core-22"),
    ],
)  # fmt: skip
def test_core_rejects_invalid_input_and_remains_usable(core, hub, options, message):
    with pytest.raises(ValueError, match=message):
        core.compute(**options)
    assert core.compute(accuracies={"piqa": 0.75})["core"] == 0.5


def test_the_example_in_each_metric_s_description_runs(bpb, core):
    import doctest

    for metric in (bpb, core):
        example = metric.inputs_description.partition("Example:\n")[2]
        example = example.replace(f"hf_core_bpb/{metric.name}", hf_core_bpb.metric_path(metric.name))
        parsed = doctest.DocTestParser().get_doctest(example, {"evaluate": evaluate}, metric.name, None, 0)
        assert len(parsed.examples) == 3
        assert doctest.DocTestRunner().run(parsed).failed == 0


@pytest.mark.slow
def test_the_interval_of_bpb_covers_the_true_value_at_its_rate():
    """For 400 sets of 12 documents with a true value of 1 / ln 2, 92% to 98% of the 95% intervals cover it."""
    import numpy as np

    rng = np.random.default_rng(7)
    num_covered = 0
    for _ in range(400):
        sizes = rng.integers(200, 2000, 12)
        nats = sizes * rng.normal(1.0, 0.2, 12)
        documents = [Scored(total_nats=n, num_bytes=int(s)) for n, s in zip(nats, sizes, strict=True)]
        low, high = bpb_ci95(documents)
        num_covered += low <= 1 / np.log(2) <= high
    assert 0.92 <= num_covered / 400 <= 0.98


def test_fewer_than_five_documents_have_no_interval():
    four = [Scored(total_nats=1.0 + i, num_bytes=10) for i in range(4)]
    assert bpb_ci95(four) is None
    assert bpb_ci95([*four, *[Scored(total_nats=1.0, num_bytes=0)] * 50]) is None
    assert bpb_ci95([*four, Scored(total_nats=2.0, num_bytes=10)]) is not None
