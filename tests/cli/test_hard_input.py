"""Input that nobody means, and that comes all the same: a right number, or one line that says what is wrong."""

import json
import os
import stat
from itertools import pairwise

import numpy as np
import pytest
import torch
from support.bundles import write_bundle
from support.naive import nats_of
from support.tiny_models import build_tiny_model

from hf_core_bpb import bits_per_byte, evaluate_core
from hf_core_bpb.cli.main import main
from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.evaluation.resolve import resolve_core

CHOICE = {"query": "What is it?", "choices": ["the sea", "the river"], "gold": 0}


def core_of(tokenizer, folder, rows, kind="multiple_choice", shots=0, model=None, **options):
    write_bundle(folder, {"mine": (kind, shots, " ", rows)})
    model = model if model is not None else build_tiny_model()
    return evaluate_core(model, tokenizer, tasks=["mine"], source="bundle", bundle=folder, **options)


@pytest.mark.parametrize(
    "text",
    [
        "a\0b\0", "\u200b\u200d\ufeff", "שלום \u202eabc\u202c مرحبا", "\u0301\u0301\u0301", "\r\n\r\n \t ",
        "\U0010ffff\U000e0001", "<|endoftext|>", "🏳️‍🌈" * 5, "a" * 5000,
    ],
    ids=["NUL", "zero width", "right to left", "accents", "white space", "no character", "special", "joined", "long"],
)  # fmt: skip
def test_odd_text_is_scored_whole_and_exact_in_its_bytes(tokenizer, tiny_model, text):
    found = bits_per_byte(tiny_model, tokenizer, [text], max_length=64)
    assert found.total.num_bytes == len(text.encode())
    ids = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]
    assert found.total.num_tokens == len(ids) - 1
    if len(ids) <= 64:
        assert found.total.total_nats == pytest.approx(sum(nats_of(tiny_model, ids, 1, len(ids))), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [("\ud800", r"texts\[1\]: expected text that UTF-8 can write"), (None, r"texts\[1\]: expected text or a list")],
)
def test_what_is_no_text_is_refused_with_its_place(tokenizer, tiny_model, text, message):
    with pytest.raises(InputError, match=message):
        bits_per_byte(tiny_model, tokenizer, ["the sea", text])


def test_an_empty_document_has_nothing_to_predict_and_is_refused_with_its_place(tokenizer, tiny_model):
    with pytest.raises(InputError, match="texts, document 1: expected text of two or more tokens, got ''"):
        bits_per_byte(tiny_model, tokenizer, ["the sea", "", "the river"])


def test_a_tokenizer_without_bos_eos_and_pad_scores_what_can_be_predicted(byte_tokenizer, tmp_path):
    model = build_tiny_model()
    assert (byte_tokenizer.bos_token_id, byte_tokenizer.eos_token_id, byte_tokenizer.pad_token_id) == (None,) * 3
    found = bits_per_byte(model, byte_tokenizer, ["the sea"])
    ids = byte_tokenizer.encode("the sea")
    assert found.total.num_bytes == 6
    assert found.total.total_nats == pytest.approx(sum(nats_of(model, ids, 1, 7)), rel=1e-5)
    core = core_of(byte_tokenizer, tmp_path, [CHOICE, CHOICE | {"gold": 1}])
    ids = byte_tokenizer.encode("What is it? the sea")
    assert core.tasks["mine"].items[0].options[0].total_nats == pytest.approx(
        sum(nats_of(model, ids, len("What is it? the "), len(ids))), rel=1e-5
    )


def test_ids_beyond_the_model_s_embedding_are_refused_and_spare_ones_are_not(tokenizer):
    config = build_tiny_model().config
    config.vocab_size = 120
    with pytest.raises(InputError, match=r"`tokenizer`: expected ids below the model's 120, got \d+"):
        bits_per_byte(type(build_tiny_model())(config).eval(), tokenizer, ["the sea and the river"])
    assert len(tokenizer) < 400 == build_tiny_model().config.vocab_size


def test_a_context_of_eight_tokens_is_enough_and_what_is_cut_is_counted(tokenizer, tmp_path):
    model = build_tiny_model(positions=8)
    found = bits_per_byte(model, tokenizer, ["the river ran to the sea, and the other one ran too"])
    assert found.total.num_bytes == 51
    rows = [CHOICE | {"query": f"And what is number {n}, the river or the sea?"} for n in range(4)]
    core = core_of(tokenizer, tmp_path, rows, shots=2, model=model)
    assert core.tasks["mine"].num_truncated == 4
    assert all(option.num_tokens >= 1 for item in core.tasks["mine"].items for option in item.options)


def test_of_equal_choices_the_first_is_chosen(tokenizer, tmp_path):
    rows = [{"query": "What is it?", "choices": ["the sea", "the sea"], "gold": gold} for gold in (0, 1)]
    core = core_of(tokenizer, tmp_path, rows)
    assert [item.prediction for item in core.tasks["mine"].items] == [0, 0]
    assert core.tasks["mine"].accuracy == 0.5


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
def test_rows_that_are_no_items_are_refused_with_their_number(tokenizer, tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        core_of(tokenizer, tmp_path, [CHOICE, row])


def broken_model(letter):
    """A model that gives no finite logits once it has read a token."""
    model = build_tiny_model()
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        model.transformer.wte.weight[letter] = float("nan")
    return model


def test_logits_that_are_not_finite_are_named_by_item_and_document_and_never_right(tokenizer, tmp_path):
    (letter,) = tokenizer.encode("Q", add_special_tokens=False)
    rows = [{"context": f"{word} and the river ran to", "continuation": "the sea"} for word in ("one", "Q", "two", "Q")]
    # In the protocol's order, which is not that of the file.
    wanted = [
        index
        for index, item in enumerate(core_of(tokenizer, tmp_path / "a", rows, "language_modeling").tasks["mine"].items)
        if item.options[0].num_tokens and "Q" in _context(tokenizer, tmp_path / "a", index)
    ]
    said = f"for 2 of the 4 requests of a forward pass \\(mine, items {wanted[0]}, {wanted[1]}\\)"
    with pytest.raises(RunError, match=said):
        core_of(tokenizer, tmp_path / "b", rows, "language_modeling", model=broken_model(letter), batch_tokens=4096)
    with pytest.raises(RunError, match="texts, documents 1"):
        bits_per_byte(broken_model(letter), tokenizer, ["the sea", "Q and the river", "one"])


def _context(tokenizer, bundle, index):
    run = resolve_core(CoreOptions(tasks=["mine"], source="bundle", bundle=bundle))
    data = run.load(run.tasks[0])
    return run.protocol.select("language_modeling", data.examples, None)[index].contexts[0]


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
            + "icl_tasks: [{label: *j, icl_task_type: quiz}]",
            "core.yaml: expected a list icl_tasks .* got ValueError: the alias \\*a",
        ),
        ("core.yaml", "[" * 5_000 + "]" * 5_000, "core.yaml: expected a list icl_tasks .* RecursionError"),
        ("core.yaml", '!!python/object/apply:os.system ["true"]', "core.yaml: expected a list icl_tasks"),
        ("eval_meta_data.csv", "Eval Task\nmine\n", "eval_meta_data.csv: expected a CSV with columns"),
        ("eval_meta_data.csv", "Eval Task,Random baseline\nmine\n", "eval_meta_data.csv: expected a CSV with columns"),
        ("eval_meta_data.csv", "Eval Task,Random baseline\nmine,many\n", "eval_meta_data.csv: expected a CSV with"),
        ("eval_meta_data.csv", "Eval Task,Random baseline\nmine,100\n", "expected 0 to below 100 for 'mine', got 100"),
        ("eval_data/mine.jsonl", "{", "mine.jsonl, line 1: expected JSON"),
        ("eval_data/mine.jsonl", "[1]", "mine.jsonl, line 1: expected a JSON object, got list"),
        ("eval_data/mine.jsonl", "[" * 100_000, "mine.jsonl, line 1: expected JSON"),
        ("eval_data/mine.jsonl", '{"query": NaN}', "expected columns of the dataset"),
        ("eval_data/mine.jsonl", "", "expected columns of the dataset"),
    ],
)
def test_files_of_a_bundle_that_are_damaged_are_refused_with_their_name(tokenizer, tmp_path, name, content, message):
    write_bundle(tmp_path, {"mine": ("multiple_choice", 0, " ", [CHOICE])})
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        evaluate_core(build_tiny_model(), tokenizer, tasks=["mine"], source="bundle", bundle=tmp_path)


@pytest.mark.parametrize("place", ["../../secret.jsonl", "/etc/passwd", "a\0b", "\ud800", "circle/a.jsonl"])
def test_rows_outside_a_bundle_are_not_read(tokenizer, tmp_path, place):
    bundle = write_bundle(tmp_path / "b", {"mine": ("multiple_choice", 0, " ", [CHOICE])})
    (bundle / "eval_data" / "mine.jsonl").rename(tmp_path / "secret.jsonl")
    (bundle / "eval_data" / "circle").symlink_to("circle")
    config = bundle / "core.yaml"
    config.write_text(config.read_text().replace("dataset_uri: mine.jsonl", f"dataset_uri: {json.dumps(place)}"))
    with pytest.raises(
        InputError, match=r"(dataset_uri: expected a file in the bundle|expected the rows of mine), got"
    ):
        evaluate_core(build_tiny_model(), tokenizer, tasks=["mine"], source="bundle", bundle=bundle)


def test_items_are_named_by_their_place_among_all(tokenizer, tmp_path):
    rows = [{**CHOICE, "query": f"{n} is?", "choices": ["a", "b"]} for n in range(300)]
    bundle = write_bundle(tmp_path / "b", {"mine": ("multiple_choice", 0, "", rows)})
    run = resolve_core(CoreOptions(tasks=["mine"], source="bundle", bundle=bundle))
    shown = run.protocol.select("multiple_choice", run.load(run.tasks[0]).examples, None)
    row = int(shown[280].contexts[0].split()[0])
    rows[row] |= {"query": "", "choices": ["", ""]}
    (bundle / "eval_data" / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match="mine, item 280: expected"):
        evaluate_core(build_tiny_model(), tokenizer, tasks=["mine"], source="bundle", bundle=bundle)


def test_a_line_of_several_megabytes_is_one_document(tokenizer, tmp_path, monkeypatch):
    from hf_core_bpb.evaluation.resolve import read_text

    content = "the river ran to the sea " * 200_000
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": content}) + "\n")
    (document,) = read_text(str(tmp_path / "a.jsonl")).documents
    assert len(document.text) == 5_000_000
    (tmp_path / "a.txt").write_text(content)
    assert read_text(str(tmp_path / "a.txt")).documents[0].text == content


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_scored(tmp_path, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(stat.S_IRUSR | stat.S_IXUSR)
    places = [tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300)]
    # The superuser writes everywhere.
    places += [tmp_path / "closed"] if os.getuid() != 0 else []
    for place in places:
        assert main(["--output", str(place), "--quiet"]) == 2
        said = capsys.readouterr().err
        assert "--output: expected a writable folder, got" in said
        assert said.count("\n") == 1


def test_a_model_whose_name_is_too_long_for_a_file_is_one_line(hub, capsys):
    for options in ([], ["--revision", "main"]):
        assert main(["--model", "x" * 5_000, *options, "--eval", "core", "--tasks", "piqa", "--source", "demo"]) == 2
        assert "--model: expected a causal language model at 'xxx" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_more_processes_than_items_leave_some_without_work(tokenizer, tmp_path):
    from support.command import run_command

    write_bundle(tmp_path / "bundle", {"mine": ("multiple_choice", 0, " ", [CHOICE])})
    arguments = ("--eval", "core", "--tasks", "mine", "--bundle", str(tmp_path / "bundle"), "--max-length", "64")
    several = ("torchrun", "--nproc_per_node", "3")
    finished = run_command(
        *arguments, "--quiet", "--output", str(tmp_path / "three"), launcher=several, OMP_NUM_THREADS="1"
    )
    assert finished.returncode == 0, finished.stderr
    assert main([*arguments, "--quiet", "--output", str(tmp_path / "one")]) == 0
    rows = [json.loads((tmp_path / run / "samples" / "mine.jsonl").read_text()) for run in ("one", "three")]
    assert rows[0]["nats"] == pytest.approx(rows[1]["nats"], rel=1e-6)
    assert np.isfinite(rows[0]["nats"]).all()


@pytest.mark.slow
def test_a_longer_run_takes_hardly_more_memory(hub, tmp_path):
    from support.command import run_command

    peaks = []
    for count in (500, 6_000):
        rows = [json.dumps({"text": f"the river ran to the sea, {n} and {n * 7}"}) + "\n" for n in range(count)]
        (tmp_path / f"{count}.jsonl").write_text("".join(rows))
        output = tmp_path / f"run-{count}"
        arguments = ("--model", "tiny", "--eval", "bpb", "--text", str(tmp_path / f"{count}.jsonl"), "--quiet")
        finished = run_command(*arguments, "--output", str(output), OMP_NUM_THREADS="1")
        assert finished.returncode == 0, finished.stderr
        peaks.append(json.loads((output / "results.json").read_text())["work"]["peak_memory_bytes"])
    # Requests, tries and samples of 5,500 documents, and nothing that a forward has made.
    assert peaks[1] - peaks[0] < 5_500 * 12_000
