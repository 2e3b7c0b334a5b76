"""CORE from rows to verdicts, against a naive loop over the same rows."""

import pytest
from support.bundles import write_bundle
from support.naive import score_item

from hf_core_bpb import evaluate_core
from hf_core_bpb.data import task_files as registry
from hf_core_bpb.data.task_files import list_tasks
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.evaluation.resolve import resolve_core
from hf_core_bpb.evaluation.task_run import TaskRun
from hf_core_bpb.protocols.nanochat import select_items

BUNDLE_ROWS = {
    "sums": (
        "multiple_choice",
        2,
        "\nAnswer: ",
        [
            {
                "query": f"Question: what is {a} and {a + 1}?",
                "choices": [str(2 * a), str(2 * a + 1), "the sea"],
                "gold": a % 3,
            }
            for a in range(7)
        ],
    ),
    "names": (
        "schema",
        1,
        " ",
        [
            {"context_options": [f"Ann saw Eve so {n}" for n in pair], "continuation": f"ran {t} times.", "gold": t % 2}
            for t, pair in enumerate([("Ann", "Eve"), ("Eve", "Ann"), ("Ann", "Eve"), ("Anna", "Eve"), ("she", "Eve")])
        ],
    ),
    "words": (
        "language_modeling",
        3,
        " ",
        [{"context": f"{word} and {word} and ", "continuation": word} for word in ["sea", "river", "one", "the", "it"]],
    ),
}


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path, BUNDLE_ROWS)


@pytest.mark.parametrize("max_length", [512, 24])
@pytest.mark.parametrize("limit", [None, 4])
def test_every_item_of_every_kind_agrees_with_a_plain_loop(tiny_model, tokenizer, bundle, max_length, limit):
    def tokenize(text):
        return [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]

    result = evaluate_core(
        tiny_model,
        tokenizer,
        tasks=list(BUNDLE_ROWS),
        source="bundle",
        bundle=bundle,
        limit=limit,
        max_length=max_length,
        batch_tokens=200,
    )
    centered = []
    for name, (kind, shots, delimiter, rows) in BUNDLE_ROWS.items():
        selected = select_items(kind, rows, limit)
        items = result.tasks[name].items
        assert len(items) == len(selected)
        verdicts = []
        for index, item in enumerate(items):
            correct, nats = score_item(tiny_model, tokenize, kind, selected, index, shots, delimiter, max_length)
            assert item.correct == correct
            assert [option.num_tokens for option in item.options] == [len(n) for n in nats]
            assert [option.total_nats for option in item.options] == pytest.approx([sum(n) for n in nats], rel=1e-4)
            verdicts.append(correct)
        assert result.tasks[name].accuracy == sum(verdicts) / len(verdicts)
        baseline = 0.2 if kind == "multiple_choice" else 0.0
        centered.append((sum(verdicts) / len(verdicts) - baseline) / (1 - baseline))
    assert result.core == pytest.approx(sum(centered) / 3)


def test_results_do_not_depend_on_the_token_budget(tiny_model, tokenizer, bundle):
    options = {"tasks": ["sums", "names"], "source": "bundle", "bundle": bundle}
    small, large = (evaluate_core(tiny_model, tokenizer, batch_tokens=n, **options) for n in (1, 5000))
    for name in options["tasks"]:
        for a, b in zip(small.tasks[name].items, large.tasks[name].items, strict=True):
            assert (a.prediction, a.correct) == (b.prediction, b.correct)
            assert [o.total_nats for o in a.options] == pytest.approx([o.total_nats for o in b.options], rel=1e-5)


def test_all_eleven_dataset_ids_are_read_from_the_hub(hub, tiny_model, tokenizer):
    hub.requests.clear()
    result = evaluate_core(tiny_model, tokenizer, suite="core-11", max_length=256)
    assert sorted(result.tasks) == sorted(task.name for task in list_tasks() if "core-11" in task.suites)
    for task in registry.suite_tasks(list_tasks(), "core-11"):
        assert any(f"datasets/{task.dataset.path}" in line for line in hub.requests), task.name
        assert result.tasks[task.name].revision == task.dataset.revision
        assert result.tasks[task.name].num_items == 6
    assert result.tasks["mmlu"].num_fewshot == 5
    assert result.tasks["arc_easy"].num_fewshot == 5
    assert result.tasks["arc_easy"].num_truncated == 6
    assert result.core == pytest.approx(result.core_by("v1"))


def test_mmlu_takes_the_first_five_dev_rows_of_the_subject(hub):
    run = resolve_core(CoreOptions(tasks=["mmlu"]))
    task_run = TaskRun(run.tasks[0], run.load(run.tasks[0]), run.protocol, None, None, 512)
    for item, shots in zip(task_run.items, task_run.shots, strict=True):
        assert [shot.group for shot in shots] == [item.group] * 5
        first = "Which of these is an ocean?" if item.group == "geography" else "Which value does the expression"
        assert shots[0].contexts[0].startswith(first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suite": "core"}, "`suite`: expected one of core-11, core-22, got 'core'"),
        ({"source": "disk"}, "`source`: expected one of hub, bundle, demo, got 'disk'"),
        ({"protocol": "mine"}, "`protocol`: expected one of nanochat, dclm, got 'mine'"),
        ({"tasks": []}, "`tasks`: expected one or more names, got none"),
        ({"baselines": "v3"}, "`baselines`: expected one of v1, v2, got 'v3'"),
        ({"limit": 0}, "`limit`: expected a whole number of items per task, 1 or more, got 0"),
        ({"source": "bundle"}, "`source` bundle: give its folder, zip file or https address as `bundle`"),
        ({"bundle": "x"}, "`bundle`: expected `source` bundle with it, got `source` hub"),
        ({"source": "demo", "max_length": 1}, "`max_length`: expected a whole number of tokens, 2 or more, got 1"),
        ({"source": "demo", "max_length": 513}, "`max_length`: expected at most the model's 512 positions, got 513"),
    ],
)
def test_invalid_options_are_rejected_with_a_clear_error(tiny_model, tokenizer, options, message):
    with pytest.raises(InputError) as caught:
        evaluate_core(tiny_model, tokenizer, **options)
    assert message in str(caught.value)


def test_the_tasks_that_a_bundle_lacks_are_named(tiny_model, tokenizer, bundle):
    with pytest.raises(InputError, match="lacks arc_challenge, arc_easy, boolq"):
        evaluate_core(tiny_model, tokenizer, source="bundle", bundle=bundle)


ENTRY = "\n- {label: sums, dataset_uri: sums.jsonl, num_fewshot: [1], icl_task_type: multiple_choice}"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("core.yaml", "icl_tasks: 3\n", "expected a list icl_tasks"),
        ("core.yaml", "icl_tasks: [{label: sums}]\n", "expected a list icl_tasks with label"),
        (
            "core.yaml",
            "icl_tasks: [{label: sums, dataset_uri: a, num_fewshot: [-1], icl_task_type: schema}]\n",
            "got -1",
        ),
        ("core.yaml", "icl_tasks:" + 2 * ENTRY, "expected each label once, got 'sums' 2 times"),
        ("eval_meta_data.csv", "Eval Task,Random baseline\nsums,nan\n", "expected 0 to below 100 for 'sums', got nan"),
        ("eval_meta_data.csv", "Eval Task,Random baseline\nsums,100\n", "expected 0 to below 100 for 'sums', got 100"),
        ("eval_meta_data.csv", "Eval Task,Random baseline\nother,3\n", "expected a row for 'sums', got none"),
        ("eval_meta_data.csv", "a,b\n1,2\n", "expected a CSV with columns 'Eval Task'"),
        ("eval_data/sums.jsonl", "[" * 100_000 + "\n", "line 1: expected JSON"),
        ("eval_data/sums.jsonl", "{\n", "line 1: expected JSON"),
        ("eval_data/sums.jsonl", "[1]\n", "line 1: expected a JSON object, got list"),
        ("eval_data/sums.jsonl", '{"query": "q", "choices": ["a", "b"]}\n', "got gold"),
    ],
)
def test_a_damaged_bundle_is_rejected_with_file_and_line(tiny_model, tokenizer, bundle, file, text, message):
    (bundle / file).write_text(text)
    with pytest.raises(InputError) as caught:
        evaluate_core(tiny_model, tokenizer, tasks=["sums"], source="bundle", bundle=bundle)
    assert message in str(caught.value)
    assert str(bundle / file) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"limit": 3},
        {"protocol": "dclm"},
        {"baselines": "v2"},
        {"max_length": 256},
        {"tasks": ["sums", "words"]},
    ],
)
def test_every_option_that_changes_numbers_changes_the_signature(tiny_model, tokenizer, bundle, change):
    options = {"tasks": ["sums", "names"], "source": "bundle", "bundle": bundle}
    first = evaluate_core(tiny_model, tokenizer, **options)
    assert evaluate_core(tiny_model, tokenizer, **options).signature == first.signature
    assert evaluate_core(tiny_model, tokenizer, **{**options, **change}).signature != first.signature


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("core.yaml", "num_fewshot: [2]", "num_fewshot: [1]"),
        ("core.yaml", "Answer: ", "A: "),
        ("eval_meta_data.csv", "sums,20", "sums,30"),
        ("eval_data/sums.jsonl", "the sea", "the river"),
    ],
)
def test_every_change_of_a_bundle_changes_the_signature(tiny_model, tokenizer, bundle, file, old, new):
    options = {"tasks": ["sums"], "source": "bundle", "bundle": bundle}
    first = evaluate_core(tiny_model, tokenizer, **options)
    changed = (bundle / file).read_text().replace(old, new)
    assert changed != (bundle / file).read_text()
    (bundle / file).write_text(changed)
    assert evaluate_core(tiny_model, tokenizer, **options).signature != first.signature


def test_a_single_string_is_no_list_of_tasks():
    with pytest.raises(InputError, match="`tasks`: expected a list of names, got a single string: 'arc_easy'"):
        CoreOptions(tasks="arc_easy")
