"""The steps of llm-foundry's protocol, each by hand."""

import random

import pytest

from hf_core_bpb import evaluate_core
from hf_core_bpb.data.task_files import list_tasks
from hf_core_bpb.errors import InputError
from hf_core_bpb.protocols.dclm import draw_shots, make_requests, render_prompts, select_items
from hf_core_bpb.types import Example

TASKS = {task.name: task for task in list_tasks()}


def item(name, category=""):
    return Example((name,), (f"{name}!",), 0, category=category)


def test_items_stay_in_file_order_and_the_limit_holds_for_each_category():
    items = [item("a", "x"), item("b", "y"), item("c", "x"), item("d", "x"), item("e", "y")]
    taken = select_items("language_modeling", items, 2)
    assert [example.contexts[0] for example in taken] == ["a", "b", "c", "e"]
    assert select_items("language_modeling", items, None) == items


def test_single_texts_are_stripped_and_lists_are_not():
    choice = select_items("multiple_choice", [Example((" q\n",), (" a", "b "), 0)], None)[0]
    assert (choice.contexts, choice.continuations) == (("q",), (" a", "b "))
    schema = select_items("schema", [Example((" x", "y "), (" end ",), 0)], None)[0]
    assert (schema.contexts, schema.continuations) == ((" x", "y "), ("end",))
    words = select_items("language_modeling", [Example((" c ",), (" w ",), 0)], None)[0]
    assert (words.contexts, words.continuations) == (("c",), ("w",))


def test_shots_come_from_one_stream_as_sets_without_the_item_itself():
    items = [item(str(i)) for i in range(12)]
    rng = random.Random(1234)
    for own, shots in enumerate(draw_shots(items, 3)):
        places = set(rng.sample(range(12), 3))
        if own in places:
            places.remove(own)
            while len(places) < 3:
                place = rng.choice(range(12))
                if place != own:
                    places.add(place)
        assert [shot.contexts[0] for shot in shots] == [str(place) for place in places]


def test_each_category_has_its_own_stream_and_its_own_shots():
    items = [item(f"{c}{i}", c) for i in range(5) for c in "xy"]
    shots = draw_shots(items, 2)
    assert [s.category for drawn in shots for s in drawn] == [i.category for i in items for _ in range(2)]
    assert [s.contexts[0][1:] for s in shots[0]] == [s.contexts[0][1:] for s in shots[1]]


def test_too_few_items_give_all_others():
    shots = draw_shots([item("a"), item("b"), item("c")], 10)
    assert [sorted(s.contexts[0] for s in drawn) for drawn in shots] == [["b", "c"], ["a", "c"], ["a", "b"]]


def test_prompts_have_single_line_breaks_and_answers_a_leading_space():
    choice = Example(("q",), ("one", " two"), 1)
    shot = Example(("s",), ("yes", "no"), 1)
    assert render_prompts("multiple_choice", choice, [shot], "\nAnswer: ") == [
        "s\nAnswer: no\nq\nAnswer: one",
        "s\nAnswer: no\nq\nAnswer: two",
    ]
    assert render_prompts("multiple_choice", choice, [], " ")[0] == "q one"


def test_a_schema_has_a_delimiter_only_after_shots():
    example = Example(("Ann", "Eve"), ("ran.",), 0)
    assert render_prompts("schema", example, [], " - ") == ["Ann ran.", "Eve ran."]
    assert render_prompts("schema", example, [Example(("x", "y"), ("z",), 1)], " - ") == [
        "y - z\nAnn - ran.",
        "y - z\nEve - ran.",
    ]


def test_context_and_answer_are_tokenised_apart_and_the_whole_answer_is_scored(tokenizer):
    example = Example(("Question: what",), (" is it", " is the river"), 0)
    (requests,) = make_requests(tokenizer, TASKS["openbook_qa"], [example], [[]], 100, [0])
    context = tokenizer.encode("Question: what", add_special_tokens=False)
    for request, answer in zip(requests, example.continuations, strict=True):
        answer_ids = tokenizer.encode(answer, add_special_tokens=False)
        assert request.ids.tolist() == context + answer_ids
        assert (request.start, request.end) == (len(context), len(context) + len(answer_ids))


def test_a_long_context_loses_tokens_on_the_left_and_a_long_answer_is_refused(tokenizer):
    example = Example(("Question: what is it? the river",), (" one", " the other one"), 0)
    (whole,) = make_requests(tokenizer, TASKS["openbook_qa"], [example], [[]], 100, [0])
    (cut,) = make_requests(tokenizer, TASKS["openbook_qa"], [example], [[]], len(whole[1].ids) - 1, [0])
    assert cut[1].ids.tolist() == whole[1].ids[1:].tolist()
    assert (cut[0].truncated, cut[1].truncated) == (False, True)
    length = whole[1].end - whole[1].start
    with pytest.raises(InputError, match=f"openbook_qa, item 5: .* within {length} tokens"):
        make_requests(tokenizer, TASKS["openbook_qa"], [example], [[]], length, [5])


def test_category_accuracies_count_the_same_whatever_their_size(tiny_model, tokenizer, tmp_path):
    rows = ['{"context": "one and", "continuation": "the", "category": "a"}\n'] * 3
    rows += ['{"context": "the river ran", "continuation": "sea", "category": "b"}\n'] * 6
    (tmp_path / "eval_data").mkdir()
    (tmp_path / "eval_data" / "w.jsonl").write_text("".join(rows))
    (tmp_path / "core.yaml").write_text(
        "icl_tasks:\n- label: w\n  dataset_uri: w.jsonl\n  num_fewshot: [0]\n"
        "  icl_task_type: language_modeling\n  has_categories: true\n"
    )
    (tmp_path / "eval_meta_data.csv").write_text("Eval Task,Random baseline\nw,0\n")
    options = {"tasks": ["w"], "source": "bundle", "bundle": tmp_path}
    dclm = evaluate_core(tiny_model, tokenizer, protocol="dclm", **options).tasks["w"]
    by_category = {c: [i.correct for i in dclm.items if i.category == c] for c in "ab"}
    assert {c: len(v) for c, v in by_category.items()} == {"a": 3, "b": 6}
    assert dclm.accuracy == sum(sum(v) / len(v) for v in by_category.values()) / 2
    nanochat = evaluate_core(tiny_model, tokenizer, protocol="nanochat", **options).tasks["w"]
    assert {item.category for item in nanochat.items} == {""}
