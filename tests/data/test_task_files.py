"""Task files: the shipped ones, the user's, and the errors for invalid ones."""

import pytest

from hf_core_bpb.data.task_files import list_tasks, load_task, parse_task, select_tasks, suite_tasks
from hf_core_bpb.errors import InputError

CORE_11 = {
    "mmlu": ("multiple_choice", 5, 0.25, "cais/mmlu", "test"),
    "hellaswag": ("multiple_choice", 10, 0.25, "Rowan/hellaswag", "validation"),
    "piqa": ("multiple_choice", 10, 0.5, "baber/piqa", "validation"),
    "squad": ("language_modeling", 10, 0.0, "rajpurkar/squad", "validation"),
    "boolq": ("multiple_choice", 10, 0.62, "google/boolq", "validation"),
    "sciq": ("multiple_choice", 0, 0.25, "allenai/sciq", "test"),
    "arc_easy": ("multiple_choice", 10, 0.25, "allenai/ai2_arc", "test"),
    "arc_challenge": ("multiple_choice", 10, 0.25, "allenai/ai2_arc", "test"),
    "openbook_qa": ("multiple_choice", 0, 0.25, "allenai/openbookqa", "test"),
    "winogrande": ("schema", 0, 0.5, "allenai/winogrande", "validation"),
    "lambada_openai": ("language_modeling", 0, 0.0, "EleutherAI/lambada_openai", "test"),
}

QUIZ = """
name = "quiz"
kind = "multiple_choice"
num_fewshot = 2
delimiter = " "
random_baseline = 0.5
suites = []
license = "CC0-1.0"
citation = "Someone"
[dataset]
path = "someone/quiz"
split = "test"
[prompt]
context = '{{ question }}'
choices = 'options'
gold = 'answer'
"""


def test_core_11_has_its_eleven_tasks_with_their_shots_and_baselines():
    tasks = {task.name: task for task in suite_tasks(list_tasks(), "core-11")}
    declared = {
        name: (t.kind, t.num_fewshot, t.baselines["v1"], t.dataset.path, t.dataset.split) for name, t in tasks.items()
    }
    assert declared == CORE_11


CORE_22 = {
    "hellaswag_zeroshot", "jeopardy", "bigbench_qa_wikidata", "arc_easy", "arc_challenge", "copa", "commonsense_qa",
    "piqa", "openbook_qa", "lambada_openai", "hellaswag", "winograd", "winogrande", "bigbench_dyck_languages",
    "agi_eval_lsat_ar", "bigbench_cs_algorithms", "bigbench_operators", "bigbench_repeat_copy_logic", "squad", "coqa",
    "boolq", "bigbench_language_identification",
}  # fmt: skip


def test_core_22_has_the_22_tasks_of_dclm_and_three_of_them_have_two_baselines():
    tasks = {task.name: task for task in suite_tasks(list_tasks(), "core-22")}
    assert set(tasks) == CORE_22
    differing = {n: t.baselines for n, t in tasks.items() if t.baselines["v1"] != t.baselines["v2"]}
    assert differing == {
        "commonsense_qa": {"v1": 0.2, "v2": 0.403},
        "agi_eval_lsat_ar": {"v1": 0.2, "v2": 0.25},
        "bigbench_language_identification": {"v1": 0.091, "v2": 0.25},
    }


@pytest.mark.parametrize("task", list_tasks(), ids=lambda task: task.name)
def test_every_task_file_names_a_license_and_a_citation(task):
    assert task.license
    assert task.citation


@pytest.mark.parametrize("task", suite_tasks(list_tasks(), "core-11"), ids=lambda task: task.name)
def test_task_files_of_core_11_pin_a_commit(task):
    assert task.dataset.revision is not None
    assert len(bytes.fromhex(task.dataset.revision)) == 20


def test_the_path_of_a_user_s_task_file_selects_its_task(tmp_path):
    path = tmp_path / "quiz.toml"
    path.write_text(QUIZ)
    (task,) = select_tasks(list_tasks(), [str(path)], "core-11", "the task folder")
    assert (task.name, task.dataset.config, task.baselines) == ("quiz", None, {"v1": 0.5, "v2": 0.5})


def test_baselines_can_differ_by_version(tmp_path):
    text = QUIZ.replace("random_baseline = 0.5", "random_baseline = { v1 = 0.2, v2 = 0.403 }")
    assert parse_task(text, tmp_path / "quiz.toml").baselines == {"v1": 0.2, "v2": 0.403}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("random_baseline = 0.5", "random_baseline = 50", "random_baseline: expected a fraction in [0, 1), got 50"),
        ("num_fewshot = 2", "num_fewshot = -1", "num_fewshot: expected a whole number, 0 or more, got -1"),
        ("num_fewshot = 2", "num_fewshot = true", "num_fewshot: expected a whole number, 0 or more, got True"),
        ("num_fewshot = 2", "", "num_fewshot: expected a whole number, 0 or more, got nothing"),
        ('kind = "multiple_choice"', 'kind = "essay"', "kind: expected one of multiple_choice, schema, language"),
        ('name = "quiz"', 'name = "yours"', "name: expected the file's name, 'quiz', got 'yours'"),
        ("gold = 'answer'", "", "prompt.gold: expected a string, got nothing"),
        ("gold = 'answer'", "gold = 'answer'\ntypo = 1", "prompt.typo: expected one of the known keys (context,"),
        ('split = "test"', "split = 3", "dataset.split: expected a string, got 3"),
        ('name = "quiz"', "name = ", "expected TOML, got a syntax error"),
        ("num_fewshot = 2", f"num_fewshot = {'9' * 5_000}", "expected TOML, got a syntax error"),
        ("num_fewshot = 2", f"num_fewshot = {'[' * 5_000}", "expected TOML, got a syntax error"),
    ],
)
def test_an_invalid_task_file_is_rejected_with_file_key_and_expected_value(tmp_path, old, new, message):
    path = tmp_path / "quiz.toml"
    with pytest.raises(InputError) as caught:
        parse_task(QUIZ.replace(old, new), path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_an_unknown_task_is_rejected_with_the_known_names():
    with pytest.raises(InputError, match=r"got 'nope'; the task folder has .*arc_challenge, arc_easy"):
        select_tasks(list_tasks(), ["nope"], "core-11", "the task folder")


def test_a_misspelt_task_is_rejected_with_the_most_similar_name():
    with pytest.raises(InputError, match=r"got 'arc_eazy' \(did you mean 'arc_easy'\?\);"):
        select_tasks(list_tasks(), ["arc_eazy"], "core-11", "the task folder")


def test_a_repeated_task_is_rejected():
    with pytest.raises(InputError, match="expected each task once, got 'piqa' twice"):
        select_tasks(list_tasks(), ["piqa", "piqa"], "core-11", "the task folder")


def test_an_unknown_suite_is_rejected_with_the_known_suites():
    with pytest.raises(InputError, match="expected one of core-11, core-22, got 'core'"):
        suite_tasks(list_tasks(), "core")


def test_a_missing_task_file_is_rejected(tmp_path):
    with pytest.raises(InputError, match=r"no such task file: .*missing\.toml"):
        load_task(tmp_path / "missing.toml")
