"""The most surprising items and documents, and the items with the longest prompts."""

import json

import pytest
import torch

from hf_core_bpb.evaluation.inspect_item import inspect_item
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.evaluation.resolve import resolve_core
from hf_core_bpb.models.loading import ModelOptions, load_language_model


@pytest.fixture(scope="module")
def rows(demo_run):
    return [json.loads(line) for line in (demo_run / "samples" / "_surprising.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def surprising(rows):
    return [row for row in rows if "task" in row and "longest_prompt_tokens" not in row]


@pytest.fixture(scope="module")
def longest(rows):
    return [row for row in rows if "longest_prompt_tokens" in row]


def test_ten_wrong_answers_are_listed(surprising, demo_run):
    assert len(surprising) == 10
    for row in surprising:
        sample = (demo_run / "samples" / f"{row['task']}.jsonl").read_text().splitlines()[row["index"]]
        assert json.loads(sample)["correct"] is False


def test_prompts_end_with_the_correct_option(surprising):
    for row in surprising:
        if row["gold"] is not None:
            assert row["prompt"].endswith(row["options"][row["gold"]]) or row["task"] == "winogrande"


def test_documents_are_listed_by_falling_bits_per_byte(rows):
    bits = [row["bpb"] for row in rows if "text" in row][:5]
    assert bits == sorted(bits, reverse=True)


@pytest.fixture(scope="module")
def lengths():
    """The longest option in tokens of every item of the tasks with the longest prompts."""
    lm = load_language_model(ModelOptions(), torch.device("cpu"), None)
    return {
        (task, index): max(
            option.num_context_tokens + len(option.tokens)
            for option in inspect_item(lm, resolve_core(CoreOptions(tasks=[task], source="demo")), index).options
        )
        for task in ("boolq", "squad", "hellaswag", "arc_challenge")
        for index in range(6)
    }


def test_five_items_with_the_longest_prompts_are_listed(longest, lengths):
    assert sorted(lengths.values(), reverse=True)[:5] == [row["longest_prompt_tokens"] for row in longest]


def test_items_with_the_longest_prompts_have_their_own_lengths(longest, lengths):
    assert all(lengths[row["task"], row["index"]] == row["longest_prompt_tokens"] for row in longest)
