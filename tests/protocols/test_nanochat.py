"""The steps of nanochat's protocol, with expected values by hand."""

import random

import pytest

from hf_core_bpb.protocols.nanochat import draw_shots, render_prompts, select_items
from hf_core_bpb.types import Example


def choice(name, gold=0):
    return Example((f"{name}?",), (f"{name}-no", f"{name}-yes"), gold)


@pytest.mark.parametrize("limit", [5, None])
def test_items_are_shuffled_with_seed_1337_before_the_limit(limit):
    items = [choice(str(i)) for i in range(20)]
    expected = list(range(20))
    random.Random(1337).shuffle(expected)
    assert select_items("schema", items, limit) == [items[i] for i in expected[:limit]]


def test_shots_are_sampled_from_the_other_items_with_a_seed_per_item():
    items = [choice(str(i)) for i in range(30)]
    drawn = draw_shots(items, 10)
    for index in range(30):
        available = [i for i in range(30) if i != index]
        expected = random.Random(1234 + index).sample(available, 10)
        assert drawn[index] == [items[i] for i in expected]


def test_with_too_few_items_all_others_are_shots():
    drawn = draw_shots([choice(str(i)) for i in range(4)], 10)[2]
    assert sorted(shot.contexts[0] for shot in drawn) == ["0?", "1?", "3?"]


def test_a_single_item_has_no_shots():
    assert draw_shots([choice("a")], 10) == [[]]


def test_multiple_choice_joins_shots_with_blank_lines_and_ends_in_each_choice():
    prompts = render_prompts("multiple_choice", choice("c"), [choice("a", 1), choice("b", 0)], "\nAnswer: ")
    head = "a?\nAnswer: a-yes\n\nb?\nAnswer: b-no\n\nc?\nAnswer: "
    assert prompts == [head + "c-no", head + "c-yes"]


def test_the_preamble_comes_before_the_shots():
    item = Example(("c?",), ("x", "y"), 0, preamble="About tea.")
    assert render_prompts("multiple_choice", item, [choice("a")], " ")[1] == "About tea.\n\na? a-no\n\nc? y"


def test_schema_puts_one_continuation_after_each_context():
    item = Example(("Ann so Ann", "Ann so Eve"), ("waved.",), 1)
    shot = Example(("x", "y"), ("z",), 1)
    assert render_prompts("schema", item, [shot], " ") == [
        "y z\n\nAnn so Ann waved.",
        "y z\n\nAnn so Eve waved.",
    ]


def test_language_modeling_strips_contexts_and_renders_the_prompt_without_and_with_its_continuation():
    item = Example((" The capital is \n",), ("Oslo",), 0)
    shot = Example(("Two and two is ",), ("four",), 0)
    assert render_prompts("language_modeling", item, [shot], " ") == [
        "Two and two is four\n\nThe capital is",
        "Two and two is four\n\nThe capital is Oslo",
    ]


def test_markup_in_texts_is_not_changed():
    item = Example(("<b>{{ x }} & 'y'\n",), ("a", "b"), 0)
    assert render_prompts("multiple_choice", item, [], "")[0] == "<b>{{ x }} & 'y'\na"
