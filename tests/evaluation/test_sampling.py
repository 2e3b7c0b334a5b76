"""Sampling for CORE within a precision: sample sizes, coverage of intervals, and agreement with a full run."""

import json
import math

import numpy as np
import pytest
import torch
from support.bundles import write_bundle
from support.command import run_command
from support.interrupted_runs import ONE_THREAD, results_of, start, wait_for_rows
from support.tiny_models import build_tiny_model
from support.trainers import logged, make_trainer

from hf_core_bpb import CoreBpbCallback, evaluate_core
from hf_core_bpb.cli.main import main
from hf_core_bpb.errors import InputError, RunError
from hf_core_bpb.evaluation.options import CoreOptions
from hf_core_bpb.evaluation.resolve import resolve_core
from hf_core_bpb.evaluation.sampling import Stratum, draw_order, first_sizes, half_width, next_sizes

# Items and v1 baselines of CORE-11, and plausible accuracies of a small and of a good model.
SIZES = [1172, 2376, 3270, 1221, 10042, 14042, 500, 1838, 1954, 1000, 1267]
BASELINES = [0.25, 0.25, 0.62, 0.2, 0.25, 0.25, 0.25, 0.5, 1 / 3, 0.25, 0.5]
SMALL = [0.22, 0.3, 0.5, 0.2, 0.27, 0.24, 0.26, 0.55, 0.35, 0.3, 0.5]
GOOD = [0.5, 0.8, 0.8, 0.7, 0.75, 0.6, 0.45, 0.8, 0.5, 0.95, 0.7]
# A model that is never or almost never correct in half of the tasks.
NEVER = [0.22, 0.3, 0.5, 0.2, 0.27, 0.0, 0.001, 0.0, 0.002, 0.0, 0.01]


def weigh(sizes, baselines):
    return [
        Stratum(str(i), range(n), 1 / (len(sizes) * (1 - b)))
        for i, (n, b) in enumerate(zip(sizes, baselines, strict=True))
    ]


def sample(strata, verdicts, precision):
    """Return the number of drawn and of correct items in each stratum."""
    sizes = first_sizes(strata)
    while True:
        right = [int(np.sum(stratum[:n])) for stratum, n in zip(verdicts, sizes, strict=True)]
        wanted = next_sizes(strata, right, sizes, precision)
        if wanted is None:
            return sizes, right
        sizes = wanted


@pytest.mark.slow
@pytest.mark.parametrize("accuracies", [SMALL, GOOD, NEVER], ids=["small", "good", "never right"])
@pytest.mark.parametrize(("precision", "max_share"), [(0.05, 0.03), (0.02, 0.12), (0.01, 0.28)])
def test_intervals_of_samples_cover_full_core_at_their_rate_with_few_items(accuracies, precision, max_share):
    assert measure(SIZES, BASELINES, accuracies, precision) < max_share


@pytest.mark.parametrize(
    ("sizes", "accuracies", "precision"),
    [([2000] * 11, [0.05] * 11, 0.01), ([5000], [0.1], 0.05), ([1000] * 3, [0.9] * 3, 0.03)],
    ids=["rarely correct", "a single task", "mostly correct"],
)
def test_rare_answers_do_not_end_a_sample_too_early(sizes, accuracies, precision):
    assert measure(sizes, [0.0] * len(sizes), accuracies, precision) < 0.25


def measure(sizes_of_all, baselines, accuracies, precision):
    """Check how often intervals of resampled runs cover CORE of all items, and return the mean share of items drawn."""
    strata = weigh(sizes_of_all, baselines)
    population = [np.arange(n) < round(p * n) for n, p in zip(sizes_of_all, accuracies, strict=True)]
    truth = sum(s.weight * verdicts.mean() for s, verdicts in zip(strata, population, strict=True))
    rng = np.random.default_rng(2)
    num_covered, shares = 0, []
    for _ in range(600):
        sizes, right = sample(strata, [rng.permutation(verdicts) for verdicts in population], precision)
        estimate = sum(s.weight * k / n for s, k, n in zip(strata, right, sizes, strict=True))
        reached = half_width(strata, right, sizes)
        assert reached <= precision
        num_covered += abs(estimate - truth) <= reached
        shares.append(sum(sizes) / sum(sizes_of_all))
    assert 0.92 <= num_covered / 600 <= 0.99
    return np.mean(shares)


def test_the_half_width_is_that_of_a_stratified_sample_without_replacement():
    strata = [Stratum("a", range(100), 0.5), Stratum("b", range(40), 0.25)]
    # (right + 2) / (drawn + 4): 0.5 and 0.25.
    variances = [0.5**2 * 0.25 * (1 / 18 - 1 / 100), 0.25**2 * 0.1875 * (1 / 12 - 1 / 40)]
    assert sum(variances) ** 2 / (variances[0] ** 2 / 17 + variances[1] ** 2 / 11) == pytest.approx(24.0, abs=0.01)
    # Student's quantile of 0.975 is 2.0639 at 24 degrees of freedom.
    assert half_width(strata, [9, 2], [18, 12]) == pytest.approx(2.0639 * math.sqrt(sum(variances)), rel=1e-3)
    assert half_width(strata, [50, 10], [100, 40]) == 0.0


def test_tasks_with_larger_weight_and_variance_get_more_items():
    strata = [Stratum("a", range(10**6), 0.5), Stratum("b", range(10**6), 0.25), Stratum("c", range(30), 1.0)]
    # Chances of 1/2 and 1/10: weight x sqrt(p (1 - p)) is 0.25 and 0.075. (right + 2) / (drawn + 4): 996 drawn.
    # The last task has two items left, which reduce the uncertainty most.
    assert next_sizes(strata, [498, 98, 14], [996, 996, 28], 0.02) == [996, 996, 30]
    first, second, _ = next_sizes(strata, [498, 98, 14], [996, 996, 28], 0.0095)
    assert 996 < second < first < 4 * 996
    assert first / second == pytest.approx(0.25 / 0.075, rel=1e-3)
    # A round draws at most four times the items so far.
    assert next_sizes(strata, [498, 98, 14], [996, 996, 28], 0.0001) == [4 * 996, 4 * 996, 30]
    assert next_sizes(strata, [498, 98, 14], [996, 996, 28], 0.1) is None


def test_every_task_has_a_fixed_random_order():
    assert draw_order(range(6), "piqa ") == draw_order(range(6), "piqa ")
    assert sorted(draw_order(range(1000), "piqa ")) == list(range(1000))
    assert draw_order(range(1000), "piqa ") != draw_order(range(1000), "boolq ")


TASKS = {
    "sums": (
        "multiple_choice",
        0,
        "\nAnswer: ",
        [{"query": f"What is {a} and {a + 1}?", "choices": [str(2 * a), "the sea"], "gold": a % 2} for a in range(300)],
    ),
    "names": (
        "schema",
        1,
        " ",
        [
            {"context_options": [f"Ann {t} saw so Eve", f"Eve {t} so Ann"], "continuation": f"ran {t}.", "gold": t % 2}
            for t in range(120)
        ],
    ),
    "words": ("language_modeling", 0, " ", [{"context": f"{w} and ", "continuation": w} for w in ["sea", "one", "it"]]),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundle"), TASKS)


def options(bundle):
    return {"tasks": list(TASKS), "source": "bundle", "bundle": bundle, "max_length": 128}


@pytest.fixture(scope="module")
def whole(bundle, tokenizer):
    return evaluate_core(build_tiny_model(), tokenizer, **options(bundle))


def test_a_sample_is_the_start_of_each_task_s_order_with_the_scores_of_a_full_run(whole, bundle, tokenizer):
    sampled = evaluate_core(build_tiny_model(), tokenizer, precision=0.05, **options(bundle))
    orders = {name: draw_order(range(len(TASKS[name][3])), f"{name} ") for name in TASKS}
    strata = [Stratum(name, orders[name], 1 / (3 * (0.8 if name == "sums" else 1.0))) for name in TASKS]
    right = [[whole.tasks[name].items[index].correct for index in orders[name]] for name in TASKS]
    sizes, num_right = sample(strata, right, 0.05)
    assert 40 < sum(sizes) < 423
    assert sizes[2] == 3
    for name, size in zip(TASKS, sizes, strict=True):
        scored = {item.index: item for item in sampled.tasks[name].items}
        assert list(scored) == sorted(orders[name][:size])
        for index, item in scored.items():
            assert item.correct == whole.tasks[name].items[index].correct
            nats = [option.total_nats for option in whole.tasks[name].items[index].options]
            assert [option.total_nats for option in item.options] == pytest.approx(nats, rel=1e-5)
    assert sampled.sample.half_width == pytest.approx(half_width(strata, num_right, sizes))
    assert sampled.sample.half_width <= 0.05
    assert (sampled.sample.num_all, sampled.num_items, whole.num_items) == (423, sum(sizes), 423)
    assert "|limit:all|precision:0.05(1234)|" in sampled.signature
    assert "precision" not in whole.signature
    assert whole.sample is None


def test_categories_are_separate_strata_of_equal_weight(tokenizer, tmp_path):
    rows = [{**row, "category": "rare" if number % 4 == 0 else "common"} for number, row in enumerate(TASKS["sums"][3])]
    bundle = write_bundle(tmp_path / "b", {"sums": (*TASKS["sums"][:3], rows)})
    config = bundle / "core.yaml"
    config.write_text(config.read_text() + "  has_categories: true\n")
    options = {"tasks": ["sums"], "source": "bundle", "bundle": bundle, "max_length": 128, "protocol": "dclm"}
    whole = evaluate_core(build_tiny_model(), tokenizer, **options).tasks["sums"].items
    sampled = evaluate_core(build_tiny_model(), tokenizer, precision=0.08, **options)
    drawn = {item.index for item in sampled.tasks["sums"].items}
    assert 64 < len(drawn) < 300
    strata, right, sizes = [], [], []
    for category in dict.fromkeys(item.category for item in whole):
        order = draw_order([item.index for item in whole if item.category == category], f"sums {category}")
        size = len(drawn.intersection(order))
        assert drawn.intersection(order) == set(order[:size])
        strata.append(Stratum("sums", order, 1 / (2 * 0.8)))
        right.append(sum(whole[index].correct for index in order[:size]))
        sizes.append(size)
    assert sampled.sample.half_width == pytest.approx(half_width(strata, right, sizes))


def test_a_non_finite_item_of_a_later_round_is_named_by_its_index(tokenizer, tmp_path):
    rows = [{"context": f"number {n} and the river ran to", "continuation": "the sea"} for n in range(200)]
    options = {"tasks": ["words"], "source": "bundle", "bundle": tmp_path / "b", "max_length": 128}
    write_bundle(tmp_path / "b", {"words": ("language_modeling", 0, " ", rows)})
    run = resolve_core(CoreOptions(**{name: options[name] for name in ("tasks", "source", "bundle")}))
    selected = run.protocol.select("language_modeling", run.load(run.tasks[0]).examples, None)
    index = draw_order(range(200), "words ")[40]
    row = int(selected[index].contexts[0].split()[1])
    rows[row]["context"] = "Q" + rows[row]["context"]
    (tmp_path / "b" / "eval_data" / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (letter,) = tokenizer.encode("Q", add_special_tokens=False)
    model = build_tiny_model()
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        model.transformer.wte.weight[letter] = float("nan")
    with pytest.raises(RunError, match=f"items {index}\\)"):
        evaluate_core(model, tokenizer, precision=0.001, **options)


def test_a_precision_that_needs_all_items_gives_the_core_of_a_full_run(whole, bundle, tokenizer):
    sampled = evaluate_core(build_tiny_model(), tokenizer, precision=1e-9, **options(bundle))
    assert sampled.num_items == 423
    assert sampled.sample.half_width == 0.0
    assert sampled.core == whole.core


@pytest.mark.slow
def test_a_sampled_run_reports_its_items_and_resumes_after_a_kill(bundle, tmp_path):
    arguments = ("--eval", "core", "--tasks", ",".join(TASKS), "--bundle", str(bundle), "--precision", "0.05")
    arguments += ("--max-length", "128", "--batch-tokens", "256")
    finished = run_command(*arguments, "--output", str(tmp_path / "whole"), **ONE_THREAD)
    assert finished.returncode == 0, finished.stderr
    sample_row = json.loads((tmp_path / "whole" / "results.json").read_text())["core"]["sample"]
    assert 32 + 32 + 3 < sample_row["num_items"] < 423
    printed = " ".join(finished.stdout.split())
    assert f"Scored: {sample_row['num_items']} of 423 items ({sample_row['num_items'] / 423:.1%})." in printed
    assert f"± {sample_row['half_width']:.4f} (95%)." in printed
    assert f"items; scoring {sample_row['num_items']} of 423 for ±0.05." in " ".join(finished.stderr.split())
    assert f"{sample_row['num_items']} of 423 items" in (tmp_path / "whole" / "report.html").read_text()

    # The first round is about forty items in ten forwards: twenty forwards are in the second round.
    process = start(tmp_path / "killed", *arguments)
    assert wait_for_rows(tmp_path / "killed", process, 20)
    process.kill()
    process.wait()
    finished = run_command(*arguments, "--precision", "0.1", "--output", str(tmp_path / "killed"))
    assert finished.returncode == 2
    assert "unfinished run (precision 0.05, now 0.1)" in finished.stderr
    two = ("torchrun", "--nproc_per_node", "2")
    finished = run_command(*arguments, "--output", str(tmp_path / "killed"), launcher=two, **ONE_THREAD)
    assert finished.returncode == 0, finished.stderr
    assert "requests are scored already." in finished.stderr
    assert results_of(tmp_path / "killed") == results_of(tmp_path / "whole")


def test_sampled_runs_are_compared_on_the_items_that_both_scored(tmp_path, capsys):
    from hf_core_bpb.results.folder import RunFolder

    for name, indices, right in (("a", range(300), 2), ("b", range(100, 400), 3)):
        signature = f"core|limit:all|precision:{len(name)}{name}|first:bos"
        core = {"suite": "custom", "core": 0.5, "sample": {}, "tasks": {"t": {"random_baseline": 0.5}}}
        rows = [{"index": i, "gold": 0, "correct": i % 4 < right} for i in indices]
        results = {"signature": signature, "model": {"id": name}, "core": core}
        RunFolder(tmp_path / name, overwrite=True).write(results, {"t": rows})
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json", str(tmp_path / "c.json")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Compared: the 200 items that both runs scored, of 300 and 300." in printed
    (comparison,) = json.loads((tmp_path / "c.json").read_text())["comparisons"]
    # Of 200 items, a half and three quarters are correct; centered with a baseline of a half.
    assert [comparison["tasks"][0][key] for key in ("before", "after", "difference")] == [0.5, 0.75, 0.25]
    assert [comparison["core"][key] for key in ("before", "after", "difference")] == [0.0, 0.5, 0.5]


@pytest.mark.slow
def test_the_callback_samples_items_in_the_same_order_every_time(bundle, tokenizer, tmp_path):
    callback = CoreBpbCallback(
        core_every=2, core_precision=0.08, tasks=list(TASKS), source="bundle", bundle=bundle, max_length=128
    )
    trainer = make_trainer(tmp_path, tokenizer, callback)
    trainer.train()
    (_, first), (_, second) = callback.core_results
    assert logged(trainer, "eval_core_half_width") == [first.sample.half_width, second.sample.half_width]
    assert max(logged(trainer, "eval_core_half_width")) <= 0.08
    for name in TASKS:
        drawn = [{item.index for item in result.tasks[name].items} for result in (first, second)]
        assert drawn[0] <= drawn[1] or drawn[1] <= drawn[0]
    assert first.num_items < 423
    # The sample is of all items, not of the fifty that a schedule has by default.
    assert first.sample.num_all == 423


@pytest.mark.parametrize("precision", [0, -0.1, 1, float("nan")])
def test_a_precision_outside_zero_to_one_is_rejected(bundle, tokenizer, precision):
    with pytest.raises(InputError, match="`precision`: expected a half-width above 0 and below 1, got"):
        evaluate_core(build_tiny_model(), tokenizer, precision=precision, **options(bundle))


def test_a_precision_without_core_is_rejected(capsys):
    assert main(["--eval", "bpb", "--precision", "0.1"]) == 2
    assert "--precision: expected --eval to contain core, got --eval bpb" in capsys.readouterr().err
    with pytest.raises(InputError, match="`core_precision`: expected `core_every` with it, got none"):
        CoreBpbCallback(core_precision=0.1)
