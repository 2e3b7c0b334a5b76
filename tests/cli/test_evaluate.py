"""The command in a process: its output, files and exit codes, with models and rows from the loopback Hub."""

import json
import re

import pytest
from support.command import run_command

pytestmark = pytest.mark.slow

CORE_11 = {
    "arc_challenge", "arc_easy", "boolq", "hellaswag", "lambada_openai", "mmlu",
    "openbook_qa", "piqa", "sciq", "squad", "winogrande",
}  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(hub, tmp_path_factory):
    """Run the command over the whole suite and the default text; return its process and its folder."""
    folder = tmp_path_factory.mktemp("run") / "out"
    return run_command("--model", "tiny", "--limit", "4", "--output", str(folder)), folder


def test_a_run_returns_zero_and_prints_tables_and_signatures(evaluated):
    finished, folder = evaluated
    assert finished.returncode == 0, finished.stderr
    for name in CORE_11:
        assert re.search(
            rf"│ {name} +│ +\d+ │ +4 │ +[01]\.\d{{4}} │ +\d\.\d\d–\d\.\d\d │ +0\.\d{{4}} │ +[+-]\d\.\d{{4}} │",
            finished.stdout,
        )
    assert re.search(r"│ core-11 .* v1 │ +[+-]\d\.\d{4} │", finished.stdout)
    assert (
        "core|suite:core-11|tasks:11|protocol:nanochat|seeds:1337/1234+index|source:hub|baselines:v1" in finished.stdout
    )
    assert f"Results, samples and report.html: {folder}" in finished.stderr


def test_results_json_has_the_results_and_their_settings(evaluated):
    results = json.loads((evaluated[1] / "results.json").read_text())
    assert results["schema_version"] == 1
    assert results["model"]["id"] == "tiny"
    assert results["model"]["revision"] == "5" * 40
    assert results["model"]["dtype"] == "float32"
    assert results["model"]["parameters"]["non_embedding"] == 25_472
    core = results["core"]
    assert set(core["tasks"]) == CORE_11
    assert core["core"] == pytest.approx(sum(t["centered"] for t in core["tasks"].values()) / 11)
    assert core["baselines"] == "v1"
    assert core["core_by_baselines"] == {"v1": core["core"], "v2": core["core"]}
    arc = core["tasks"]["arc_easy"]
    assert (arc["n"], arc["num_fewshot"], arc["random_baseline"], arc["kind"]) == (4, 3, 0.25, "multiple_choice")
    assert arc["centered"] == pytest.approx((arc["accuracy"] - 0.25) / 0.75)
    assert arc["dataset"] == {
        "path": "allenai/ai2_arc", "config": "ARC-Easy", "split": "test",
        "revision": "210d026faf9955653af8916fad021475a3f00453",
    }  # fmt: skip
    ((name, bpb),) = results["bpb"].items()
    assert name == "EleutherAI/wikitext_document_level:wikitext-2-raw-v1:test:page"
    assert (bpb["bytes"], bpb["characters"], bpb["documents"]) == (25 + 21, 25 + 15, 2)
    assert bpb["bpb"] == pytest.approx(bpb["nats"] / 0.6931471805599453 / 46)
    work = results["work"]
    assert work["backend"] == "full, prefix, prefix+tree; head replayed"
    assert work["minimum_tokens"] <= work["forward_tokens"] <= 1.1 * work["minimum_tokens"]
    assert results["work"]["processes"] == 1
    assert set(results["environment"]) == {"python", "torch", "transformers", "datasets", "accelerate", "device"}


def test_samples_add_up_to_the_results(evaluated):
    results = json.loads((evaluated[1] / "results.json").read_text())
    for name, task in results["core"]["tasks"].items():
        rows = [json.loads(line) for line in (evaluated[1] / "samples" / f"{name}.jsonl").read_text().splitlines()]
        assert [row["index"] for row in rows] == list(range(4))
        assert sum(row["correct"] for row in rows) / 4 == task["accuracy"]
        assert sum(row["truncated"] for row in rows) == task["truncated"]
        for row in rows:
            assert len(row["nats"]) == len(row["tokens"]) == len(row["bytes"])
            if task["kind"] == "language_modeling":
                assert row["gold"] is None
                assert row["prediction"] is None
            else:
                assert row["correct"] == (row["prediction"] == row["gold"])
                means = [n / t for n, t in zip(row["nats"], row["tokens"], strict=True)]
                assert row["prediction"] == means.index(min(means))
    (path,) = (evaluated[1] / "samples").glob("bpb-*.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    (bpb,) = results["bpb"].values()
    assert sum(row["nats"] for row in rows) == pytest.approx(bpb["nats"], rel=1e-12)
    assert [row["bytes"] for row in rows] == [25, 21]


@pytest.mark.parametrize("processes", [2, 3])
def test_the_number_of_processes_does_not_change_the_results(evaluated, tmp_path, processes):
    """Start the processes with torchrun, which does not connect them by itself without an accelerator."""
    launcher = ("torchrun", "--nproc_per_node", str(processes))
    finished = run_command("--model", "tiny", "--limit", "4", "--output", str(tmp_path), launcher=launcher)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("core|suite:core-11") == 1
    alone = json.loads((evaluated[1] / "results.json").read_text())
    together = json.loads((tmp_path / "results.json").read_text())
    assert together["work"]["processes"] == processes
    for key in ("forwards", "forward_tokens", "head_rows", "backend"):
        assert together["work"][key] == alone["work"][key]
    # The number of threads changes the last bit of a sum.
    bits = [
        [c.pop("gold_bits_per_byte"), *(t.pop("gold_bits_per_byte") for t in c["tasks"].values())]
        for c in (alone["core"], together["core"])
    ]
    assert bits[0] == pytest.approx(bits[1], rel=1e-6)
    assert together["core"] == alone["core"]
    assert together["signature"] == alone["signature"]
    (bpb_alone,), (bpb_together,) = alone["bpb"].values(), together["bpb"].values()
    assert bpb_together["nats"] == pytest.approx(bpb_alone["nats"], rel=1e-9)
    for path in (evaluated[1] / "samples").glob("[!_]*"):
        pairs = zip(
            path.read_text().splitlines(), (tmp_path / "samples" / path.name).read_text().splitlines(), strict=True
        )
        for pair in pairs:
            expected, row = map(json.loads, pair)
            assert row.pop("nats") == pytest.approx(expected.pop("nats"), rel=1e-6)
            assert row == expected


def test_accelerate_launch_runs_the_command(hub, tmp_path):
    finished = run_command(
        *("--model", "tiny", "--eval", "core", "--tasks", "piqa", "--output", str(tmp_path)),
        launcher=("accelerate", "launch"),
    )
    assert finished.returncode == 0, finished.stderr
    assert set(json.loads((tmp_path / "results.json").read_text())["core"]["tasks"]) == {"piqa"}


def test_an_offline_run_with_a_full_cache_gives_the_same_results(evaluated, tmp_path):
    finished = run_command(
        "--model", "tiny", "--limit", "4", "--output", str(tmp_path), HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9"
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    alone, offline = (json.loads((f / "results.json").read_text()) for f in (evaluated[1], tmp_path))
    assert offline["core"] == alone["core"]
    assert offline["bpb"] == alone["bpb"]
    assert offline["model"] == alone["model"]


def test_truncation_is_counted_and_printed(hub, tmp_path):
    finished = run_command(
        "--model", "owner/short", "--eval", "core", "--tasks", "piqa", "--output", str(tmp_path)
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    tasks = json.loads((tmp_path / "results.json").read_text())["core"]["tasks"]
    assert tasks["piqa"]["truncated"] == 6
    assert "Truncated on the left to fit the context: piqa 6 of 6" in finished.stdout


def test_the_demo_needs_no_model_and_no_network(tmp_path):
    finished = run_command(
        "--output", "out", cwd=tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "home")
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "No --model given: evaluating the demo" in finished.stderr
    assert "not the benchmark" in finished.stdout
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["core"]["source"] == "demo"
    assert set(results["core"]["tasks"]) == CORE_11
    assert set(results["bpb"]) == {"python-reference", "scripts"}
    # xz at its strongest setting needs 2.72 bits per byte of this text.
    assert 1.5 < results["bpb"]["python-reference"]["bpb"] < 2.3


def test_a_user_s_task_file_runs(hub, tmp_path):
    rows = hub.root / "datasets" / "someone" / "quiz"
    rows.mkdir(parents=True, exist_ok=True)
    (rows / "test.jsonl").write_text('{"q": "one and", "a": ["two", "the sea"], "n": 0}\n' * 3)
    (tmp_path / "quiz.toml").write_text(
        'name = "quiz"\nkind = "multiple_choice"\nnum_fewshot = 1\ndelimiter = " "\nrandom_baseline = 0.5\n'
        'suites = []\nlicense = "CC0"\ncitation = "Someone"\n[dataset]\npath = "someone/quiz"\nsplit = "test"\n'
        "[prompt]\ncontext = '{{ q }}'\nchoices = 'a'\ngold = 'n'\n"
    )
    finished = run_command(
        "--model", "tiny", "--eval", "core", "--tasks", "quiz.toml", "--output", "out", cwd=tmp_path
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["core"]["suite"] == "custom"
    assert results["core"]["tasks"]["quiz"]["n"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "nope"], "--tasks: expected names, separated by commas"),
        (["--model", "nobody/none"], "--model: expected a causal language model at 'nobody/none'"),
        (["--model", "tiny", "--eval", "core", "--tasks", "missing.toml"], "no such task file: missing.toml"),
    ],
)
def test_an_input_error_under_torchrun_is_printed_once(hub, tmp_path, arguments, message):
    finished = run_command(*arguments, launcher=("torchrun", "--nproc_per_node", "2"), cwd=tmp_path)
    assert finished.returncode != 0
    assert finished.stderr.count(f"hf-core-bpb: error: {message}") == 1
    assert "rank1]: Traceback" not in finished.stderr
    assert "hf_core_bpb/" not in finished.stderr.replace("hf_core_bpb/tasks", "")


def test_a_failure_in_one_process_ends_all_and_is_printed_once(hub, tmp_path):
    """One document has a token with NaN logits, so that one of two processes fails."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained("tiny")
    tokenizer = AutoTokenizer.from_pretrained("tiny")
    (letter,) = tokenizer.encode("Q", add_special_tokens=False)
    with torch.no_grad():
        model.transformer.wte.weight[letter] = float("nan")
        model.lm_head.weight = torch.nn.Parameter(torch.ones_like(model.lm_head.weight))
    model.config.tie_word_embeddings = False
    model.save_pretrained(tmp_path / "broken")
    tokenizer.save_pretrained(tmp_path / "broken")
    (tmp_path / "a.jsonl").write_text('{"text": "the sea and the river"}\n{"text": "Q and the river ran to the sea"}\n')
    finished = run_command(
        *("--model", "broken", "--eval", "bpb", "--text", "a.jsonl", "--batch-tokens", "1"),
        launcher=("torchrun", "--nproc_per_node", "2"),
        cwd=tmp_path,
    )
    assert finished.returncode != 0
    assert finished.stderr.count("hf-core-bpb: failed: the model's logits are not finite: loss of NaN") == 1


def test_options_are_in_results_and_signature(hub, tmp_path):
    finished = run_command(
        *("--model", "tiny", "--revision", "earlier", "--tokenizer", "owner/short", "--dtype", "bfloat16", "--quiet"),
        *("--eval", "core", "--tasks", "piqa,boolq", "--limit", "3", "--protocol", "dclm", "--baselines", "v1"),
        *("--max-length", "200", "--output", "out"),
        cwd=tmp_path,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    model, core = results["model"], results["core"]
    assert (model["revision"], model["tokenizer"], model["dtype"]) == ("6" * 40, "owner/short", "bfloat16")
    assert (core["protocol"], core["baselines"]) == ("dclm", "v1")
    assert {name: (task["n"], task["num_fewshot"]) for name, task in core["tasks"].items()} == {
        "piqa": (3, 2),
        "boolq": (3, 2),
    }
    assert "core|suite:custom|tasks:piqa,boolq|protocol:dclm|seeds:1234 in sequence|" in results["signature"]
    pinned = f"tokenizer:owner/short@{'5' * 40}"
    assert f"|baselines:v1|limit:3|{pinned}|first:tokenizer|max-length:200|" in results["signature"]
    assert "|dtype:bfloat16|truncation:left|data:" in results["signature"]


def test_a_folder_with_results_is_not_overwritten(evaluated):
    folder = evaluated[1]
    finished = run_command("--model", "tiny", "--eval", "bpb", "--output", str(folder))
    assert finished.returncode == 2
    assert f"--output: {folder} holds results; choose another folder, or set --overwrite" in finished.stderr


def test_names_of_texts_are_printed_without_markup(tmp_path):
    (tmp_path / "n[red]otes.txt").write_text("the river")
    finished = run_command("--eval", "bpb", "--text", "n[red]otes.txt", "--output", "out", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "n[red]otes.txt" in finished.stdout


def test_core_22_from_the_hub_warns_of_rows_that_differ_from_the_bundle(hub, tmp_path):
    finished = run_command("--model", "tiny", "--suite", "core-22", "--baselines", "v2", cwd=tmp_path)
    # This Hub has only some of the 22 datasets, so the run fails after the warnings.
    assert finished.returncode == 2
    assert "warning: commonsense_qa: rows from the Hub differ from those of the CORE bundle" in finished.stderr
    assert "warning: agi_eval_lsat_ar: baselines v2 (0.25) belong to the bundle's options" in finished.stderr
