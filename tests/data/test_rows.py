"""The context and the options that each task file makes of a row, written by hand."""

import dataclasses

import pytest

from hf_core_bpb.data.rows import read_examples
from hf_core_bpb.data.task_files import list_tasks
from hf_core_bpb.errors import InputError

TASKS = {task.name: task for task in list_tasks()}


def read(name, **row):
    (example,) = read_examples(TASKS[name], [row], list(row), "rows")
    return example


@pytest.mark.parametrize(("labels", "key"), [("ABC", "B"), ("123", "2"), ("ABCDE", "B"), ("1234", "2")])
def test_arc_finds_the_answer_by_its_label(labels, key):
    texts = [f"choice {label}" for label in labels]
    example = read("arc_easy", question="Why?", choices={"text": texts, "label": list(labels)}, answerKey=key)
    assert example.contexts == ("Question: Why?",)
    assert example.continuations == tuple(texts)
    assert example.gold == 1


def test_hellaswag_capitalises_the_second_half_and_drops_section_marks():
    row = {
        "activity_label": "Computers",
        "ctx_a": "[header] How to print [title] Open the menu. [step] Look for print.",
        "ctx_b": "then you",
        "endings": ["[substeps] Press it.", "[title] Stop. [step] Now.", "c", "d"],
        "label": "3",
    }
    example = read("hellaswag", **row)
    assert example.contexts == ("Computers: How to print. Open the menu. Look for print. Then you",)
    assert example.continuations == (" Press it.", " Stop. Now.", "c", "d")
    assert example.gold == 3


def test_piqa_ends_the_question_with_a_line_break_and_strips_the_answers():
    example = read("piqa", goal="peeler", sol1="a sock ", sol2="a television", label="1")
    assert example.contexts == ("Question: peeler\n",)
    assert example.continuations == ("a sock", "a television")
    assert example.gold == 1


@pytest.mark.parametrize(("answer", "gold"), [(False, 0), (True, 1)])
def test_boolq_chooses_between_no_and_yes(answer, gold):
    example = read("boolq", passage="Tea is hot.", question="is tea hot", answer=answer)
    assert example.contexts == ("Passage: Tea is hot.\nQuestion: is tea hot?",)
    assert example.continuations == ("no", "yes")
    assert example.gold == gold


@pytest.mark.parametrize(("support", "context"), [("It is x.", "It is x.\nQuestion: What?"), ("", "Question: What?")])
def test_sciq_starts_with_the_passage_if_it_is_not_empty(support, context):
    row = {"question": "What?", "correct_answer": "x", "distractor1": "a", "distractor2": "b", "distractor3": "c"}
    example = read("sciq", support=support, **row)
    assert example.contexts == (context,)
    assert example.gold_continuation == "x"


def test_mmlu_has_a_preamble_lettered_choices_and_the_subject_as_group():
    example = read("mmlu", question="What? ", subject="high_school_biology", choices=["w", "x", "y", "z"], answer=2)
    assert example.preamble == ("The following are multiple choice questions (with answers) about high school biology.")
    assert example.contexts == ("What?\nA. w\nB. x\nC. y\nD. z\nAnswer:",)
    assert example.continuations == ("A", "B", "C", "D")
    assert (example.gold, example.group) == (2, "high_school_biology")


def test_openbook_qa_scores_choices_as_continuations_of_the_stem():
    choices = {"text": ["a", "b", "c", "d"], "label": list("ABCD")}
    example = read("openbook_qa", question_stem="The sun is", choices=choices, answerKey="D")
    assert (example.contexts, example.gold) == (("The sun is",), 3)


def test_winogrande_fills_the_blank_and_scores_the_rest_of_the_sentence():
    example = read("winogrande", sentence="Ann saw Eve so _ waved.", option1="Ann", option2="Eve", answer="1")
    assert example.contexts == ("Ann saw Eve so Ann", "Ann saw Eve so Eve")
    assert example.continuations == ("waved.",)
    assert (example.gold, example.gold_context) == (0, "Ann saw Eve so Ann")


def test_squad_scores_the_first_accepted_answer():
    answers = {"text": ["in Oslo", "Oslo"], "answer_start": [3, 6]}
    example = read("squad", context="It is in Oslo.", question="Where is it?", answers=answers)
    assert example.contexts == ("Context: It is in Oslo.\nQuestion: Where is it?\nAnswer:",)
    assert example.continuations == ("in Oslo",)


def test_lambada_scores_the_last_word():
    example = read("lambada_openai", text="one two\nthree, four's")
    assert (example.contexts, example.continuations) == (("one two\nthree,",), ("four's",))


@pytest.mark.parametrize(("question", "connective"), [("effect", "therefore"), ("cause", "because")])
def test_copa_joins_premise_and_connective_and_continues_in_lower_case(question, connective):
    row = {"premise": "The man turned on the tap.", "choice1": "The sink filled.", "choice2": "I left."}
    example = read("copa", question=question, label=0, **row)
    assert example.contexts == (f"The man turned on the tap, {connective}",)
    assert example.continuations == ("the sink filled.", "i left.")


def test_commonsense_qa_lists_its_options_and_scores_letters():
    choices = {"label": list("ABCDE"), "text": ["bank", "library", "mall", "park", "zoo"]}
    example = read("commonsense_qa", question="Where?", choices=choices, answerKey="D")
    assert example.contexts == ("Question: Where?\nChoices:\nA. bank\nB. library\nC. mall\nD. park\nE. zoo\nAnswer:",)
    assert (example.continuations, example.gold) == (("A", "B", "C", "D", "E"), 3)


def test_winograd_replaces_the_pronoun_by_each_option():
    text = "The trophy doesn't fit into the suitcase because it is too large."
    row = {
        "text": text,
        "pronoun": "it",
        "pronoun_loc": text.index(" it ") + 1,
        "options": ["the trophy", "the suitcase"],
    }
    example = read("winograd", label=0, **row)
    head = "The trophy doesn't fit into the suitcase because "
    assert example.contexts == (head + "the trophy", head + "the suitcase")
    assert example.continuations == ("is too large.",)


def test_lsat_lists_its_options_by_letter():
    query = "Q: Six students report. Which is first?Answer Choices: (A)Ann (B)Eve A: Among A through E, the answer is"
    choices = ["(A)Ann", "(B)Eve", "(C)Kim", "(D)Lee", "(E)Max"]
    example = read("agi_eval_lsat_ar", query=query, choices=choices, gold=[1])
    assert example.contexts == (
        "Passage: Six students report. Which is first?\nChoices:\nA.) Ann\nB.) Eve\nC.) Kim\nD.) Lee\nE.) Max\nAnswer:",
    )
    assert example.gold == 1


@pytest.mark.parametrize("name", ["qa_wikidata", "dyck_languages", "cs_algorithms", "operators", "repeat_copy_logic"])
def test_big_bench_scores_the_first_target(name):
    example = read(f"bigbench_{name}", inputs="The capital of Norway is ", targets=[" Oslo", "Christiania"])
    assert (example.contexts, example.continuations) == (("The capital of Norway is",), ("Oslo",))


def test_big_bench_language_identification_takes_the_choice_with_score_1_as_gold():
    row = {"inputs": "Which language?", "multiple_choice_targets": ["Hdi", "Rote", "Kriol"]}
    example = read("bigbench_language_identification", multiple_choice_scores=[0, 0, 1], **row)
    assert (example.continuations, example.gold) == (("Hdi", "Rote", "Kriol"), 2)


def test_jeopardy_has_a_category():
    example = read("jeopardy", context="SCIENCE: It boils at 100", continuation="water", category="science")
    assert (example.contexts[0], example.continuations[0], example.category) == (
        "SCIENCE: It boils at 100",
        "water",
        "science",
    )


def test_coqa_makes_an_item_of_each_turn_with_the_text_of_the_bundle():
    row = {
        "story": "A kitten named Cotton lived in a barn.",
        "questions": {"input_text": ["What color was Cotton?", "Where did she live?", "Alone?"]},
        "answers": {"input_text": ["white", "in a barn", "no"]},
    }
    examples = read_examples(TASKS["coqa"], [row], list(row), "rows")
    head = (
        "Below is a story followed by a series of related questions. Please answer the final question by referring "
        "to the story and the previous questions.\nStory: A kitten named Cotton lived in a barn.\n"
    )
    assert [example.continuations[0] for example in examples] == ["white", "in a barn", "no"]
    assert examples[0].contexts[0] == head + "\nFinal question:\nQuestion: What color was Cotton?\nAnswer:"
    assert examples[2].contexts[0] == (
        head + "Preceding questions:\nQuestion: What color was Cotton?\nAnswer: white\n"
        "Question: Where did she live?\nAnswer: in a barn\n\nFinal question:\nQuestion: Alone?\nAnswer:"
    )


def test_a_missing_column_is_named_with_the_existing_ones():
    with pytest.raises(InputError, match=r"piqa.toml: prompt.choices: .*\(goal, label, sol1\), got sol2"):
        read("piqa", goal="g", label="0", sol1="a")


def test_a_gold_index_out_of_range_is_rejected_with_its_row():
    with pytest.raises(InputError, match=r"prompt.gold: expected 0 to 1, got 2 \(in rows, row 0\)"):
        read("piqa", goal="g", sol1="a", sol2="b", label="2")


def test_an_answer_key_without_a_choice_is_rejected():
    with pytest.raises(InputError, match=r"prompt\.gold: expected a row that fits 'choices\.label\.index"):
        read("arc_easy", question="q", choices={"text": ["a", "b"], "label": ["A", "B"]}, answerKey="E")


def test_an_empty_dataset_is_rejected():
    with pytest.raises(InputError, match="rows: expected rows, got none"):
        read_examples(TASKS["piqa"], [], ["goal", "sol1", "sol2", "label"], "rows")


def test_templates_cannot_reach_python():
    task = TASKS["lambada_openai"]
    prompt = dataclasses.replace(task.prompt, context="{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(InputError, match="Call, which templates cannot use"):
        read_examples(dataclasses.replace(task, prompt=prompt), [{"text": "a b"}], ["text"], "rows")


def test_null_instead_of_text_is_rejected():
    with pytest.raises(InputError, match="null where text is needed"):
        read("boolq", passage=None, question="q", answer=True)


def test_text_that_utf_8_cannot_encode_is_rejected():
    with pytest.raises(InputError, match="expected text that UTF-8 can encode"):
        read("lambada_openai", text="a \ud800")


def test_a_missing_field_of_a_column_is_rejected():
    task = TASKS["openbook_qa"]
    prompt = dataclasses.replace(task.prompt, context="{{ question_stem }} {{ choices.hint }}")
    row = {"question_stem": "s", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"}
    with pytest.raises(InputError, match="expected a row that fits .*no attribute 'hint'"):
        read_examples(dataclasses.replace(task, prompt=prompt), [row], list(row), "rows")
