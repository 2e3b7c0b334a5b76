"""The steps of the DCLM protocol, with expected values by hand."""

import random

import pytest

from hf_core_bpb import evaluate_core
from hf_core_bpb.data.task_files import list_tasks
from hf_core_bpb.errors import InputError
from hf_core_bpb.protocols.dclm import draw_shots, make_requests, render_prompts, select_items
from hf_core_bpb.protocols.item_batch import ItemBatch
from hf_core_bpb.types import Example

TASKS = {task.name: task for task in list_tasks()}


def item(name, category=""):
    return Example((name,), (f"{name}!",), 0, category=category)


def test_items_stay_in_file_order_and_the_limit_applies_to_each_category():
    items = [item("a", "x"), item("b", "y"), item("c", "x"), item("d", "x"), item("e", "y")]
    selected = select_items("language_modeling", items, 2)
    assert [example.contexts[0] for example in selected] == ["a", "b", "c", "e"]


def test_without_a_limit_all_items_are_selected():
    items = [item("a", "x"), item("b", "y"), item("c", "x")]
    assert select_items("language_modeling", items, None) == items


@pytest.mark.parametrize(
    ("kind", "contexts", "continuations", "expected"),
    [
        ("multiple_choice", (" q\n",), (" a", "b "), (("q",), (" a", "b "))),
        ("schema", (" x", "y "), (" end ",), ((" x", "y "), ("end",))),
        ("language_modeling", (" c ",), (" w ",), (("c",), ("w",))),
    ],
)
def test_single_texts_are_stripped_and_lists_are_not(kind, contexts, continuations, expected):
    (example,) = select_items(kind, [Example(contexts, continuations, 0)], None)
    assert (example.contexts, example.continuations) == expected


def test_shots_are_sets_of_other_items_drawn_from_one_random_stream():
    items = [item(str(i)) for i in range(12)]
    rng = random.Random(1234)
    for index, shots in enumerate(draw_shots(items, 3)):
        expected = set(rng.sample(range(12), 3))
        if index in expected:
            expected.remove(index)
            while len(expected) < 3:
                other = rng.choice(range(12))
                if other != index:
                    expected.add(other)
        assert [shot.contexts[0] for shot in shots] == [str(other) for other in expected]


@pytest.fixture
def shots_of_two_categories():
    """Two shots for each of ten items, alternately of the categories x and y."""
    return draw_shots([item(f"{category}{i}", category) for i in range(5) for category in "xy"], 2)


def test_shots_are_of_the_category_of_their_item(shots_of_two_categories):
    categories = [[shot.category for shot in shots] for shots in shots_of_two_categories]
    assert categories == [["x", "x"], ["y", "y"]] * 5


def test_each_category_starts_its_random_stream_anew(shots_of_two_categories):
    first_of_x, first_of_y = shots_of_two_categories[:2]
    assert [shot.contexts[0][1:] for shot in first_of_x] == [shot.contexts[0][1:] for shot in first_of_y]


def test_with_too_few_items_all_others_are_shots():
    shots = draw_shots([item("a"), item("b"), item("c")], 10)
    assert [sorted(shot.contexts[0] for shot in drawn) for drawn in shots] == [["b", "c"], ["a", "c"], ["a", "b"]]


CHOICE = Example(("q",), ("one", " two"), 1)


def test_shots_are_joined_by_single_line_breaks():
    shot = Example(("s",), ("yes", "no"), 1)
    assert render_prompts("multiple_choice", CHOICE, [shot], "\nAnswer: ") == [
        "s\nAnswer: no\nq\nAnswer: one",
        "s\nAnswer: no\nq\nAnswer: two",
    ]


def test_answers_have_one_leading_space():
    assert render_prompts("multiple_choice", CHOICE, [], " ") == ["q one", "q two"]


SCHEMA = Example(("Ann", "Eve"), ("ran.",), 0)


def test_a_schema_without_shots_has_no_delimiter():
    assert render_prompts("schema", SCHEMA, [], " - ") == ["Ann ran.", "Eve ran."]


def test_a_schema_with_shots_has_a_delimiter():
    assert render_prompts("schema", SCHEMA, [Example(("x", "y"), ("z",), 1)], " - ") == [
        "y - z\nAnn - ran.",
        "y - z\nEve - ran.",
    ]


def requests_of(tokenizer, example, max_length, index=0):
    batch = ItemBatch(TASKS["openbook_qa"], [example], [[]], [index])
    (requests,) = make_requests(tokenizer, batch, max_length)
    return requests


def test_context_and_answer_are_tokenized_separately_and_the_whole_answer_is_scored(tokenizer):
    example = Example(("Question: what",), (" is it", " is the river"), 0)
    requests = requests_of(tokenizer, example, 100)
    context = tokenizer.encode("Question: what", add_special_tokens=False)
    for request, answer in zip(requests, example.continuations, strict=True):
        answer_ids = tokenizer.encode(answer, add_special_tokens=False)
        assert request.ids.tolist() == context + answer_ids
        assert (request.start, request.end) == (len(context), len(context) + len(answer_ids))


LONG = Example(("Question: what is it? the river",), (" one", " the other one"), 0)


def test_a_long_context_is_truncated_on_the_left(tokenizer):
    whole = requests_of(tokenizer, LONG, 100)
    truncated = requests_of(tokenizer, LONG, len(whole[1].ids) - 1)
    assert truncated[1].ids.tolist() == whole[1].ids[1:].tolist()
    assert [request.truncated for request in truncated] == [False, True]


def test_an_answer_that_leaves_no_room_for_context_is_rejected(tokenizer):
    answer = requests_of(tokenizer, LONG, 100)[1]
    length = answer.end - answer.start
    with pytest.raises(InputError, match=f"openbook_qa, item 5: .* within {length} tokens"):
        requests_of(tokenizer, LONG, length, index=5)


@pytest.fixture
def bundle_of_two_categories(tmp_path):
    """A bundle of one task with three items of category a and six of category b."""
    rows = ['{"context": "one and", "continuation": "the", "category": "a"}\n'] * 3
    rows += ['{"context": "the river ran", "continuation": "sea", "category": "b"}\n'] * 6
    (tmp_path / "eval_data").mkdir()
    (tmp_path / "eval_data" / "w.jsonl").write_text("".join(rows))
    (tmp_path / "core.yaml").write_text(
        "icl_tasks:\n- label: w\n  dataset_uri: w.jsonl\n  num_fewshot: [0]\n"
        "  icl_task_type: language_modeling\n  has_categories: true\n"
    )
    (tmp_path / "eval_meta_data.csv").write_text("Eval Task,Random baseline\nw,0\n")
    return {"tasks": ["w"], "source": "bundle", "bundle": tmp_path}


def test_categories_of_any_size_have_equal_weight(tiny_model, tokenizer, bundle_of_two_categories):
    result = evaluate_core(tiny_model, tokenizer, protocol="dclm", **bundle_of_two_categories).tasks["w"]
    a, b = ([item.correct for item in result.items if item.category == category] for category in "ab")
    assert (len(a), len(b)) == (3, 6)
    assert result.accuracy == (sum(a) / 3 + sum(b) / 6) / 2


def test_nanochat_ignores_categories(tiny_model, tokenizer, bundle_of_two_categories):
    result = evaluate_core(tiny_model, tokenizer, protocol="nanochat", **bundle_of_two_categories).tasks["w"]
    assert {item.category for item in result.items} == {""}
