"""evaluate_bpb against naive sums, for every shape of batches."""

import json
import math

import pytest
import torch
from support.command import run_command, run_script
from support.naive import nats_of
from support.tiny_models import build_tiny_model
from support.tokenizer_families import sentencepiece_bpe
from transformers import AutoModelForCausalLM

from hf_core_bpb import bits_per_byte, evaluate_bpb, token_bytes
from hf_core_bpb.errors import InputError

TEXTS = ["The river ran to the sea.", "Ärger, 海 und 🌊: what is it? " * 3, "Вода и небо", "the other one"]


@pytest.fixture(scope="module")
def rows(tokenizer):
    """The ids of each text between BOS and EOS, and these padded to one length."""
    bos = tokenizer.bos_token_id
    ids = [[bos, *tokenizer.encode(text, add_special_tokens=False), bos] for text in TEXTS]
    width = max(map(len, ids))
    return ids, [[*row, *[bos] * (width - len(row))] for row in ids]


def naive_bpb(model, tokenizer, ids):
    nats = sum(sum(nats_of(model, row, 1, len(row) - 1)) for row in ids)
    return nats / math.log(2) / sum(len(text.encode()) for text in TEXTS)


def test_batches_of_labels_masks_and_pairs_equal_naive_sums(tiny_model, tokenizer, rows):
    ids, padded = rows
    x = torch.tensor(padded)
    labels = torch.where(torch.arange(x.shape[1]) < torch.tensor([[len(r)] for r in ids]), x, -100)
    table = token_bytes(tokenizer)
    expected = naive_bpb(tiny_model, tokenizer, ids)
    halves = [{"input_ids": x[i : i + 2], "labels": labels[i : i + 2]} for i in (0, 2)]
    assert evaluate_bpb(tiny_model, halves, table) == pytest.approx(expected, rel=1e-5)
    masked = [{**half, "attention_mask": (half["labels"] >= 0).long()} for half in halves]
    assert evaluate_bpb(tiny_model, masked, table) == pytest.approx(expected, rel=1e-5)
    pairs = ((x[i : i + 1, :-1], labels[i : i + 1, 1:]) for i in range(4))
    assert evaluate_bpb(tiny_model, pairs, table) == pytest.approx(expected, rel=1e-5)


def test_bytes_may_be_a_list_or_a_tensor(tiny_model, tokenizer, rows):
    x = torch.tensor(rows[1])
    table = token_bytes(tokenizer)
    expected = evaluate_bpb(tiny_model, [(x[:, :-1], x[:, 1:])], table)
    for num_bytes in (table.num_bytes_V.tolist(), torch.from_numpy(table.num_bytes_V)):
        assert evaluate_bpb(tiny_model, [(x[:, :-1], x[:, 1:])], num_bytes) == expected


def test_steps_limits_the_batches_of_an_endless_source(tiny_model, tokenizer, rows):
    x = torch.tensor(rows[1])

    def endless():
        while True:
            yield x[:, :-1], x[:, 1:]

    table = token_bytes(tokenizer)
    once = evaluate_bpb(tiny_model, endless(), table, steps=1)
    assert evaluate_bpb(tiny_model, endless(), table, steps=3) == pytest.approx(once, rel=1e-12)


@pytest.mark.slow
def test_texts_batches_and_the_command_give_the_same_bits_per_byte(hub, tokenizer, tmp_path):
    """The same tokens: packed documents with BOS between them, in windows and in rows of sixteen."""
    model = AutoModelForCausalLM.from_pretrained("tiny")
    stream = [i for text in TEXTS for i in [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]]
    # The last row starts early to be full, as a window does; tokens of the row before are no targets in it.
    ends = [*range(16, len(stream) - 1, 16), len(stream) - 1]
    batches = []
    for begin, end in zip([0, *ends], ends, strict=False):
        targets = [-1 if i < begin else stream[i + 1] for i in range(end - 16, end)]
        batches.append((torch.tensor([stream[end - 16 : end]]), torch.tensor([targets])))
    by_batches = evaluate_bpb(model, batches, token_bytes(tokenizer))
    by_text = bits_per_byte(model, tokenizer, TEXTS, max_length=16, packed=True)
    assert by_text.total.num_bytes == sum(len(text.encode()) for text in TEXTS)
    assert by_batches == pytest.approx(by_text.bpb, rel=1e-6)
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    finished = run_command(
        *("--model", "tiny", "--eval", "bpb", "--text", "t.jsonl", "--max-length", "16", "--documents", "packed"),
        *("--output", "out"),
        cwd=tmp_path,
    )
    assert finished.returncode == 0, finished.stderr
    by_command = json.loads((tmp_path / "out" / "results.json").read_text())["bpb"]["t.jsonl"]
    assert by_command["bpb"] == pytest.approx(by_text.bpb, rel=1e-6)
    assert by_command["documents"] == len(TEXTS)


def test_the_leading_space_of_each_document_is_not_counted():
    tokenizer = sentencepiece_bpe()
    model = build_tiny_model("llama")
    ids = [i for text in TEXTS for i in [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]]
    nats = nats_of(model, ids, 1, len(ids))
    text_nats = sum(n for n, i in zip(nats, ids[1:], strict=True) if i != tokenizer.bos_token_id)
    expected = text_nats / math.log(2) / sum(len(text.encode()) for text in TEXTS)
    x = torch.tensor([ids])
    assert evaluate_bpb(model, [(x[:, :-1], x[:, 1:])], token_bytes(tokenizer)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "expected one or more targets that are text, got none"),
        ([(torch.tensor([[1, 2]]), torch.tensor([[-100, 0]]))], "expected one or more targets that are text"),
        ([{"input_ids": torch.tensor([[1, 2]])}], "batches[0]: expected input_ids and labels, got input_ids"),
        ([(torch.tensor([[1, 2]]),)], "batches[0]: expected a pair (x, y) or input_ids and labels, got 1 values"),
        ([(torch.tensor([[1, 2]]), torch.tensor([[1]]))], "expected ids and targets of one shape (B, T), got (1, 2)"),
        ([(torch.tensor([1, 2]), torch.tensor([1, 2]))], "expected ids and targets of one shape (B, T), got (2,)"),
        ([(torch.tensor([[1, 2]]), torch.tensor([[2, 298]]))], "batches[0]: expected ids below 298, got 298"),
        ([(torch.tensor([[1, -2]]), torch.tensor([[2, 3]]))], "batches[0]: expected ids of 0 or more, got -2"),
        ([(torch.ones(1, 513), torch.ones(1, 513))], "batches[0]: expected at most the model's 512 positions, got 513"),
    ],
)
def test_invalid_batches_are_rejected(tiny_model, tokenizer, batches, message):
    with pytest.raises(InputError) as caught:
        evaluate_bpb(tiny_model, batches, token_bytes(tokenizer))
    assert message in str(caught.value)


TWO_PROCESSES = """
import os
import torch
from hf_core_bpb import evaluate_bpb
from hf_core_bpb.distributed import leave, process_group
from transformers import AutoModelForCausalLM

group = process_group()
model = AutoModelForCausalLM.from_pretrained("tiny")
rows = [torch.arange(1 + i, 30 + i)[None] for i in range(5)]
share = rows[group.process_index :: group.num_processes]
bpb = evaluate_bpb(model, [(row[:, :-1], row[:, 1:]) for row in share], [0] + [2] * 399)
with open(f"{group.num_processes}-{group.process_index}", "w") as file:
    file.write(repr(bpb))
leave()
# Threads of torch can abort the interpreter's shutdown.
os._exit(0)
"""


@pytest.mark.slow
def test_processes_with_different_numbers_of_batches_get_the_same_result(hub, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(TWO_PROCESSES)
    alone = run_script(path)
    assert alone.returncode == 0, alone.stderr
    together = run_script(path, launcher=("torchrun", "--nproc_per_node", "2"))
    assert together.returncode == 0, together.stderr
    expected, *results = (float((tmp_path / name).read_text()) for name in ("1-0", "2-0", "2-1"))
    assert results == pytest.approx([expected, expected], rel=1e-9)
