"""An inspected item has the scores of a run; decision rules and bits per byte of correct answers by hand."""

import math
import re

import pytest

from hf_core_bpb.cli.main import main
from hf_core_bpb.data.task_files import list_tasks
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.core import run_core
from hf_core_bpb.evaluation.inspect_item import inspect_item
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.evaluation.resolve import resolve_core
from hf_core_bpb.metrics.decision import choose
from hf_core_bpb.metrics.results import CoreResult, ItemResult, TaskResult
from hf_core_bpb.models.language_model import wrap
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.types import Scored


@pytest.mark.parametrize("protocol", ["nanochat", "dclm"])
@pytest.mark.parametrize("task", ["piqa", "winogrande", "squad"])
def test_the_tokens_of_an_inspected_item_sum_to_its_score_in_a_run(tiny_model, tokenizer, task, protocol):
    lm = wrap(tiny_model, tokenizer)
    run = resolve_core(CoreOptions(tasks=[task], source="demo", protocol=protocol))
    result, _ = run_core(lm, Scorer(lm.model), run)
    for item in result.tasks[task].items[:3]:
        view = inspect_item(lm, run, item.index)
        assert view.num_items == 6
        assert (view.gold, view.prediction, view.correct) == (item.gold, item.prediction, item.correct)
        for option, scored in zip(view.options, item.options, strict=True):
            assert sum(token.nats for token in option.tokens) == pytest.approx(scored.total_nats, rel=1e-5)
            assert (option.sums.num_tokens, option.sums.num_bytes) == (scored.num_tokens, scored.num_bytes)
            assert option.prompt.endswith("".join(token.text for token in option.tokens).lstrip())
    with pytest.raises(InputError, match=f"`index`: expected 0 to 5 in {task}, got 6"):
        inspect_item(lm, run, 6)


def test_the_command_shows_an_item_of_the_demo(capsys):
    assert main(["tasks", "show", "piqa", "--index", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("piqa, item 1 of 6, nanochat protocol, rows from demo\nmodel demo\n\nQuestion: ")
    assert len(re.findall(r"^option \d.*: \d+ tokens of context$", printed, re.MULTILINE)) == 2
    assert re.search(r"^ +\d+\.\d{4} nats +\d+  '.+'$", printed, re.MULTILINE)
    assert printed.splitlines()[-1] in ("right", "wrong")
    assert main(["tasks", "show", "piqa", "--index", "1", "--limit", "3", "--dtype", "bfloat16"]) == 0
    limited = capsys.readouterr().out
    assert limited.startswith("piqa, item 1 of 3, nanochat protocol")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show"], "tasks: expected one name, got none"),
        (["piqa", "boolq"], "tasks: expected one name, got piqa boolq"),
        (["piqa", "--model", "x"], "--model: expected --index with it, got none"),
        (["piqa", "--max-length", "0"], "--max-length: expected --index with it, got none"),
        (["piqa", "--limit", "3"], "--limit: expected --index with it, got none"),
        (["piqa", "--protocol", "dclm"], "--protocol: expected --index with it, got none"),
        (["piqa", "--index", "0", "--revision", "x"], "--revision: expected --model with it, got none"),
        (["piqa", "--index", "77"], "--index: expected 0 to 5 in piqa, got 77"),
        (["nope", "--index", "0"], "nope"),
    ],
)
def test_invalid_options_of_tasks_show_are_rejected_in_one_line(capsys, arguments, message):
    assert main(["tasks", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


# Sums 6, 5, 7; by token 2, 5, 1.75; by byte 1.5, 0.5, 3.5.
OPTIONS = (Scored(6.0, 3, 4), Scored(5.0, 1, 10), Scored(7.0, 4, 2))


def test_the_three_decision_rules_choose_by_sum_token_and_byte():
    assert [choose(OPTIONS, rule) for rule in ("sum", "token", "byte")] == [1, 2, 1]
    assert choose((Scored(2.0, 1, 1), Scored(2.0, 1, 1)), "sum") == 0


def choice_result():
    """Return a task of two items, whose correct options are the second and the third."""
    task = next(task for task in list_tasks() if task.name == "arc_easy")
    items = (ItemResult(0, 1, 2, False, OPTIONS, False), ItemResult(1, 2, 2, True, OPTIONS, False))
    return TaskResult(task, 0, "", items)


def language_result():
    """Return a language modeling task of one item, which has the first option alone."""
    task = next(task for task in list_tasks() if task.name == "squad")
    return TaskResult(task, 0, "", (ItemResult(0, None, None, True, OPTIONS[:1], False),))


def test_every_rule_has_its_accuracy():
    assert choice_result().accuracy_by_rule == {"sum": 0.5, "token": 0.5, "byte": 0.5}


def test_language_modeling_has_no_accuracies_by_rule():
    assert language_result().accuracy_by_rule == {}


def test_bits_per_byte_of_correct_answers_by_hand():
    choice, language = choice_result(), language_result()
    assert choice.gold_bits_per_byte == pytest.approx((5 + 7) / math.log(2) / 12)
    assert language.gold_bits_per_byte == pytest.approx(6 / math.log(2) / 4)
    core = CoreResult("custom", "nanochat", "demo", "v1", {"a": choice, "b": language}, "")
    assert core.gold_bits_per_byte == pytest.approx((1 + 1.5) / math.log(2) / 2)


def test_accuracies_by_rule_are_averaged_over_categories():
    (task,) = (task for task in list_tasks() if task.name == "arc_easy")
    categories = ("a", "a", "a", "b")
    items = tuple(
        ItemResult(i, 1 if i else 2, 2, False, OPTIONS, False, category) for i, category in enumerate(categories)
    )
    # By sum the second option is chosen, correct for all but the first item: 2 of 3 in a, 1 of 1 in b.
    assert TaskResult(task, 0, "", items).accuracy_by_rule["sum"] == pytest.approx((2 / 3 + 1) / 2)
