"""Unusual and invalid input: a correct result, or one line of error that names the problem."""

import json
import os
import stat
from itertools import pairwise

import numpy as np
import pytest
import torch
from support.bundles import write_bundle
from support.command import run_command
from support.naive import nats_of
from support.tiny_models import build_tiny_model

from hf_core_bpb import bits_per_byte, evaluate_core
from hf_core_bpb.cli.main import main
from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.evaluation.resolve import read_text, resolve_core

CHOICE = {"query": "What is it?", "choices": ["the sea", "the river"], "gold": 0}


def evaluate_rows(tokenizer, folder, rows, kind="multiple_choice", shots=0, model=None, **options):
    write_bundle(folder, {"quiz": (kind, shots, " ", rows)})
    model = model if model is not None else build_tiny_model()
    return evaluate_core(model, tokenizer, tasks=["quiz"], source="bundle", bundle=folder, **options)


@pytest.mark.parametrize(
    "text",
    [
        "a\0b\0", "\u200b\u200d\ufeff", "שלום \u202eabc\u202c مرحبا", "\u0301\u0301\u0301", "\r\n\r\n \t ",
        "\U0010ffff\U000e0001", "<|endoftext|>", "🏳️‍🌈" * 5, "a" * 5000,
    ],
    ids=["NUL", "zero width", "right to left", "accents", "white space", "no character", "special", "joined", "long"],
)  # fmt: skip
def test_unusual_text_is_scored_completely_with_its_exact_bytes(tokenizer, tiny_model, text):
    result = bits_per_byte(tiny_model, tokenizer, [text], max_length=64)
    assert result.total.num_bytes == len(text.encode())
    ids = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]
    assert result.total.num_tokens == len(ids) - 1
    if len(ids) <= 64:
        assert result.total.total_nats == pytest.approx(sum(nats_of(tiny_model, ids, 1, len(ids))), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [("\ud800", r"texts\[1\]: expected text that UTF-8 can encode"), (None, r"texts\[1\]: expected text or a list")],
)
def test_a_document_that_is_not_text_is_rejected_with_its_index(tokenizer, tiny_model, text, message):
    with pytest.raises(InputError, match=message):
        bits_per_byte(tiny_model, tokenizer, ["the sea", text])


def test_an_empty_document_is_rejected_with_its_index(tokenizer, tiny_model):
    with pytest.raises(InputError, match="texts, document 1: expected text of two or more tokens, got ''"):
        bits_per_byte(tiny_model, tokenizer, ["the sea", "", "the river"])


def test_without_bos_and_eos_a_text_is_scored_from_its_second_token(byte_tokenizer):
    model = build_tiny_model()
    assert (byte_tokenizer.bos_token_id, byte_tokenizer.eos_token_id, byte_tokenizer.pad_token_id) == (None,) * 3
    result = bits_per_byte(model, byte_tokenizer, ["the sea"])
    ids = byte_tokenizer.encode("the sea")
    assert result.total.num_bytes == 6
    assert result.total.total_nats == pytest.approx(sum(nats_of(model, ids, 1, 7)), rel=1e-5)


def test_without_bos_and_eos_the_choices_of_an_item_are_scored(byte_tokenizer, tmp_path):
    model = build_tiny_model()
    core = evaluate_rows(byte_tokenizer, tmp_path, [CHOICE, CHOICE | {"gold": 1}])
    ids = byte_tokenizer.encode("What is it? the sea")
    assert core.tasks["quiz"].items[0].options[0].total_nats == pytest.approx(
        sum(nats_of(model, ids, len("What is it? the "), len(ids))), rel=1e-5
    )


def test_ids_beyond_the_model_s_embedding_are_rejected(tokenizer):
    config = build_tiny_model().config
    config.vocab_size = 120
    with pytest.raises(InputError, match=r"`tokenizer`: expected ids below the model's 120, got \d+"):
        bits_per_byte(type(build_tiny_model())(config).eval(), tokenizer, ["the sea and the river"])


def test_an_embedding_larger_than_the_vocabulary_is_accepted(tokenizer, tiny_model):
    assert len(tokenizer) < tiny_model.config.vocab_size
    assert bits_per_byte(tiny_model, tokenizer, ["the sea"]).total.num_bytes == 7


def test_a_context_of_eight_tokens_scores_a_whole_text(tokenizer):
    text = "the river ran to the sea, and the other one ran too"
    result = bits_per_byte(build_tiny_model(positions=8), tokenizer, [text])
    assert result.total.num_bytes == 51


def test_items_truncated_to_a_context_of_eight_tokens_are_counted(tokenizer, tmp_path):
    model = build_tiny_model(positions=8)
    rows = [CHOICE | {"query": f"And what is number {n}, the river or the sea?"} for n in range(4)]
    core = evaluate_rows(tokenizer, tmp_path, rows, shots=2, model=model)
    assert core.tasks["quiz"].num_truncated == 4
    assert all(option.num_tokens >= 1 for item in core.tasks["quiz"].items for option in item.options)


def test_the_first_of_equal_choices_is_the_prediction(tokenizer, tmp_path):
    rows = [{"query": "What is it?", "choices": ["the sea", "the sea"], "gold": gold} for gold in (0, 1)]
    core = evaluate_rows(tokenizer, tmp_path, rows)
    assert [item.prediction for item in core.tasks["quiz"].items] == [0, 0]
    assert core.tasks["quiz"].accuracy == 0.5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (CHOICE | {"gold": 2}, "row 1"),
        (CHOICE | {"gold": -1}, "row 1"),
        (CHOICE | {"gold": None}, "row 1"),
        (CHOICE | {"query": None}, "row 1"),
        (CHOICE | {"choices": None}, "row 1"),
        (CHOICE | {"choices": []}, "row 1"),
        (CHOICE | {"choices": ["the sea"]}, "row 1.*expected a list of two or more strings|two or more strings.*row 1"),
        (CHOICE | {"choices": ["a", None]}, "row 1"),
        (CHOICE | {"choices": "the sea"}, "row 1"),
        ({"query": "What is it?"}, "expected columns of the dataset"),
    ],
)  # fmt: skip
def test_a_row_that_is_not_an_item_is_rejected_with_its_index(tokenizer, tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        evaluate_rows(tokenizer, tmp_path, [CHOICE, row])


def build_broken_model(token):
    """Return a model whose logits are NaN after a token."""
    model = build_tiny_model()
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        model.transformer.wte.weight[token] = float("nan")
    return model


@pytest.fixture
def broken_model(tokenizer):
    """A model whose logits are NaN after the letter Q."""
    (letter,) = tokenizer.encode("Q", add_special_tokens=False)
    return build_broken_model(letter)


def test_items_whose_logits_are_not_finite_are_named_by_index(tokenizer, broken_model, tmp_path):
    rows = [{"context": f"{word} and the river ran to", "continuation": "the sea"} for word in ("one", "Q", "two", "Q")]
    bundle = write_bundle(tmp_path / "bundle", {"quiz": ("language_modeling", 0, " ", rows)})
    # Indices are those of the protocol's order, not of the file.
    first, second = [i for i, item in enumerate(selected_items(bundle)) if "Q" in item.contexts[0]]
    message = f"for 2 of the 4 requests of a forward pass \\(quiz, items {first}, {second}\\)"
    with pytest.raises(RunError, match=message):
        evaluate_core(broken_model, tokenizer, tasks=["quiz"], source="bundle", bundle=bundle, batch_tokens=4096)


def test_documents_whose_logits_are_not_finite_are_named_by_index(tokenizer, broken_model):
    with pytest.raises(RunError, match="texts, documents 1"):
        bits_per_byte(broken_model, tokenizer, ["the sea", "Q and the river", "one"])


def selected_items(bundle):
    """Return the items of a bundle's task in the order of the protocol."""
    run = resolve_core(CoreOptions(tasks=["quiz"], source="bundle", bundle=bundle))
    return run.protocol.select(run.tasks[0].kind, run.load(run.tasks[0]).examples, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("core.yaml", "icl_tasks: [", "core.yaml: expected a list icl_tasks"),
        ("core.yaml", "icl_tasks: 3", "core.yaml: expected a list icl_tasks"),
        ("core.yaml", "a: &a [*a, *a]", "core.yaml: expected a list icl_tasks"),
        (
            "core.yaml",
            "a: &a [x, x]\n"
            + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij"))
            + "icl_tasks: [{label: *j, icl_task_type: essay}]",
            "core.yaml: expected a list icl_tasks .* got ValueError: the alias \\*a",
        ),
        ("core.yaml", "[" * 5_000 + "]" * 5_000, "core.yaml: expected a list icl_tasks .* RecursionError"),
        ("core.yaml", '!!python/object/apply:os.system ["true"]', "core.yaml: expected a list icl_tasks"),
        ("eval_meta_data.csv", "Eval Task\nquiz\n", "eval_meta_data.csv: expected a CSV with columns"),
        ("eval_meta_data.csv", "Eval Task,Random baseline\nquiz\n", "eval_meta_data.csv: expected a CSV with columns"),
        ("eval_meta_data.csv", "Eval Task,Random baseline\nquiz,many\n", "eval_meta_data.csv: expected a CSV with"),
        ("eval_meta_data.csv", "Eval Task,Random baseline\nquiz,100\n", "expected 0 to below 100 for 'quiz', got 100"),
        ("eval_data/quiz.jsonl", "{", "quiz.jsonl, line 1: expected JSON"),
        ("eval_data/quiz.jsonl", "[1]", "quiz.jsonl, line 1: expected a JSON object, got list"),
        ("eval_data/quiz.jsonl", "[" * 100_000, "quiz.jsonl, line 1: expected JSON"),
        ("eval_data/quiz.jsonl", '{"query": NaN}', "expected columns of the dataset"),
        ("eval_data/quiz.jsonl", "", "expected columns of the dataset"),
    ],
)
def test_an_invalid_file_of_a_bundle_is_rejected_with_its_name(tokenizer, tmp_path, name, content, message):
    write_bundle(tmp_path, {"quiz": ("multiple_choice", 0, " ", [CHOICE])})
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        evaluate_core(build_tiny_model(), tokenizer, tasks=["quiz"], source="bundle", bundle=tmp_path)


@pytest.mark.parametrize("path", ["../../secret.jsonl", "/etc/passwd", "a\0b", "\ud800", "circle/a.jsonl"])
def test_rows_outside_a_bundle_are_not_read(tokenizer, tmp_path, path):
    bundle = write_bundle(tmp_path / "b", {"quiz": ("multiple_choice", 0, " ", [CHOICE])})
    (bundle / "eval_data" / "quiz.jsonl").rename(tmp_path / "secret.jsonl")
    (bundle / "eval_data" / "circle").symlink_to("circle")
    config = bundle / "core.yaml"
    config.write_text(config.read_text().replace("dataset_uri: quiz.jsonl", f"dataset_uri: {json.dumps(path)}"))
    with pytest.raises(
        InputError, match=r"(dataset_uri: expected a file in the bundle|expected the rows of quiz), got"
    ):
        evaluate_core(build_tiny_model(), tokenizer, tasks=["quiz"], source="bundle", bundle=bundle)


def test_an_item_is_named_by_its_index_among_all_items(tokenizer, tmp_path):
    rows = [{**CHOICE, "query": f"{n} is?", "choices": ["a", "b"]} for n in range(300)]
    bundle = write_bundle(tmp_path / "b", {"quiz": ("multiple_choice", 0, "", rows)})
    row = int(selected_items(bundle)[280].contexts[0].split()[0])
    rows[row] |= {"query": "", "choices": ["", ""]}
    (bundle / "eval_data" / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="quiz, item 280: expected"):
        evaluate_core(build_tiny_model(), tokenizer, tasks=["quiz"], source="bundle", bundle=bundle)


@pytest.mark.parametrize("suffix", [".jsonl", ".txt"])
def test_a_line_of_several_megabytes_is_one_document(tmp_path, suffix):
    content = "the river ran to the sea " * 200_000
    path = tmp_path / f"a{suffix}"
    path.write_text(json.dumps({"text": content}) + "\n" if suffix == ".jsonl" else content)
    (document,) = read_text(str(path)).documents
    assert document.text == content


NEEDS_PERMISSIONS = pytest.mark.skipif(os.getuid() == 0, reason="the superuser can write to every folder")


@pytest.mark.parametrize(
    "output", ["file", "file/folder", "x" * 300, pytest.param("read-only", marks=NEEDS_PERMISSIONS)]
)
def test_an_output_that_cannot_be_written_is_rejected(tmp_path, capsys, output):
    (tmp_path / "file").touch()
    (tmp_path / "read-only").mkdir()
    (tmp_path / "read-only").chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert main(["--output", str(tmp_path / output), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "--output: expected a writable folder, got" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["--revision", "main"]])
def test_a_model_name_too_long_for_a_path_is_one_line_of_error(hub, capsys, options):
    assert main(["--model", "x" * 5_000, *options, "--eval", "core", "--tasks", "piqa", "--source", "demo"]) == 2
    assert "--model: expected a causal language model at 'xxx" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_more_processes_than_items_give_the_results_of_one(tmp_path):
    write_bundle(tmp_path / "bundle", {"quiz": ("multiple_choice", 0, " ", [CHOICE])})
    arguments = ("--eval", "core", "--tasks", "quiz", "--bundle", str(tmp_path / "bundle"), "--max-length", "64")
    three_processes = ("torchrun", "--nproc_per_node", "3")
    finished = run_command(
        *arguments, "--quiet", "--output", str(tmp_path / "three"), launcher=three_processes, OMP_NUM_THREADS="1"
    )
    assert finished.returncode == 0, finished.stderr
    assert main([*arguments, "--quiet", "--output", str(tmp_path / "one")]) == 0
    alone, together = (json.loads((tmp_path / run / "samples" / "quiz.jsonl").read_text()) for run in ("one", "three"))
    assert together["nats"] == pytest.approx(alone["nats"], rel=1e-6)
    assert np.isfinite(alone["nats"]).all()


@pytest.mark.slow
def test_memory_grows_only_with_the_samples_of_a_run(hub, tmp_path):
    peaks = []
    for count in (500, 6_000):
        rows = [json.dumps({"text": f"the river ran to the sea, {n} and {n * 7}"}) + "\n" for n in range(count)]
        (tmp_path / f"{count}.jsonl").write_text("".join(rows))
        output = tmp_path / f"run-{count}"
        arguments = ("--model", "tiny", "--eval", "bpb", "--text", str(tmp_path / f"{count}.jsonl"), "--quiet")
        finished = run_command(*arguments, "--output", str(output), OMP_NUM_THREADS="1")
        assert finished.returncode == 0, finished.stderr
        peaks.append(json.loads((output / "results.json").read_text())["work"]["peak_memory_bytes"])
    # The requests, tries and samples of 5,500 documents, without tensors of forward passes.
    assert peaks[1] - peaks[0] < 5_500 * 12_000
