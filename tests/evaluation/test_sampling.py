"""CORE to a wanted precision: what is scored for it, how often it holds, and that it is part of the whole run."""

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
from hf_core_bpb.evaluation.resolve import plan_core
from hf_core_bpb.evaluation.sampling import Stratum, draw_order, first_sizes, half_width, next_sizes

# Core-11's items and v1 baselines, and accuracies as of a small and of a good model.
SIZES = [1172, 2376, 3270, 1221, 10042, 14042, 500, 1838, 1954, 1000, 1267]
BASELINES = [0.25, 0.25, 0.62, 0.2, 0.25, 0.25, 0.25, 0.5, 1 / 3, 0.25, 0.5]
SMALL = [0.22, 0.3, 0.5, 0.2, 0.27, 0.24, 0.26, 0.55, 0.35, 0.3, 0.5]
GOOD = [0.5, 0.8, 0.8, 0.7, 0.75, 0.6, 0.45, 0.8, 0.5, 0.95, 0.7]
# One that never or hardly ever is right in half of its tasks.
NEVER = [0.22, 0.3, 0.5, 0.2, 0.27, 0.0, 0.001, 0.0, 0.002, 0.0, 0.01]


def weigh(sizes, baselines):
    return [
        Stratum(str(i), range(n), 1 / (len(sizes) * (1 - b)))
        for i, (n, b) in enumerate(zip(sizes, baselines, strict=True))
    ]


def sample(strata, verdicts, precision):
    """Return how many items of each stratum were drawn, and how many of them are right."""
    sizes = first_sizes(strata)
    while True:
        right = [int(np.sum(held[:n])) for held, n in zip(verdicts, sizes, strict=True)]
        wanted = next_sizes(strata, right, sizes, precision)
        if wanted is None:
            return sizes, right
        sizes = wanted


@pytest.mark.parametrize("accuracies", [SMALL, GOOD, NEVER], ids=["small", "good", "never right"])
@pytest.mark.parametrize(("precision", "most"), [(0.05, 0.03), (0.02, 0.12), (0.01, 0.28)])
def test_samples_hold_core_of_all_items_at_their_rate_and_spare_most(accuracies, precision, most):
    assert measure(SIZES, BASELINES, accuracies, precision) < most


@pytest.mark.parametrize(
    ("sizes", "accuracies", "precision"),
    [([2000] * 11, [0.05] * 11, 0.01), ([5000], [0.1], 0.05), ([1000] * 3, [0.9] * 3, 0.03)],
    ids=["seldom right", "a single task", "mostly right"],
)
def test_what_seldom_happens_does_not_end_a_sample_too_soon(sizes, accuracies, precision):
    assert measure(sizes, [0.0] * len(sizes), accuracies, precision) < 0.25


def measure(sizes_of_all, baselines, accuracies, precision):
    """Check how often resampled runs hold CORE of all items, and return the share of these that they score."""
    strata = weigh(sizes_of_all, baselines)
    population = [np.arange(n) < round(p * n) for n, p in zip(sizes_of_all, accuracies, strict=True)]
    truth = sum(s.weight * held.mean() for s, held in zip(strata, population, strict=True))
    rng = np.random.default_rng(2)
    held, used = 0, []
    for _ in range(600):
        sizes, right = sample(strata, [rng.permutation(one) for one in population], precision)
        found = sum(s.weight * k / n for s, k, n in zip(strata, right, sizes, strict=True))
        reached = half_width(strata, right, sizes)
        assert reached <= precision
        held += abs(found - truth) <= reached
        used.append(sum(sizes) / sum(sizes_of_all))
    assert 0.92 <= held / 600 <= 0.99
    return np.mean(used)


def test_the_half_width_is_that_of_a_stratified_sample_without_replacement():
    strata = [Stratum("a", range(100), 0.5), Stratum("b", range(40), 0.25)]
    # (right + 2) / (drawn + 4): 0.5 and 0.25.
    variances = [0.5**2 * 0.25 * (1 / 18 - 1 / 100), 0.25**2 * 0.1875 * (1 / 12 - 1 / 40)]
    assert sum(variances) ** 2 / (variances[0] ** 2 / 17 + variances[1] ** 2 / 11) == pytest.approx(24.0, abs=0.01)
    # Student's quantile of 0.975 is 2.0639 at 24 degrees of freedom.
    assert half_width(strata, [9, 2], [18, 12]) == pytest.approx(2.0639 * math.sqrt(sum(variances)), rel=1e-3)
    assert half_width(strata, [50, 10], [100, 40]) == 0.0


def test_more_is_drawn_where_the_accuracy_counts_more_and_varies_more():
    strata = [Stratum("a", range(10**6), 0.5), Stratum("b", range(10**6), 0.25), Stratum("c", range(30), 1.0)]
    # Chances of 1/2 and 1/10: weight x sqrt(p (1 - p)) is 0.25 and 0.075. (right + 2) / (drawn + 4): 996 drawn.
    # The two items that are left of the last one are what is uncertain most.
    assert next_sizes(strata, [498, 98, 14], [996, 996, 28], 0.02) == [996, 996, 30]
    first, second, _ = next_sizes(strata, [498, 98, 14], [996, 996, 28], 0.0095)
    assert 996 < second < first < 4 * 996
    assert first / second == pytest.approx(0.25 / 0.075, rel=1e-3)
    # No round goes further than four times what is known.
    assert next_sizes(strata, [498, 98, 14], [996, 996, 28], 0.0001) == [4 * 996, 4 * 996, 30]
    assert next_sizes(strata, [498, 98, 14], [996, 996, 28], 0.1) is None


def test_every_task_has_an_order_of_its_own_that_stays():
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


def test_a_sample_is_the_beginning_of_each_task_s_order_scored_as_in_the_whole_run(whole, bundle, tokenizer):
    found = evaluate_core(build_tiny_model(), tokenizer, precision=0.05, **options(bundle))
    orders = {name: draw_order(range(len(TASKS[name][3])), f"{name} ") for name in TASKS}
    strata = [Stratum(name, orders[name], 1 / (3 * (0.8 if name == "sums" else 1.0))) for name in TASKS]
    right = [[whole.tasks[name].items[place].correct for place in orders[name]] for name in TASKS]
    sizes, num_right = sample(strata, right, 0.05)
    assert 40 < sum(sizes) < 423
    assert sizes[2] == 3
    for name, size in zip(TASKS, sizes, strict=True):
        scored = {item.index: item for item in found.tasks[name].items}
        assert list(scored) == sorted(orders[name][:size])
        for place, item in scored.items():
            assert item.correct == whole.tasks[name].items[place].correct
            nats = [option.total_nats for option in whole.tasks[name].items[place].options]
            assert [option.total_nats for option in item.options] == pytest.approx(nats, rel=1e-5)
    assert found.sample.half_width == pytest.approx(half_width(strata, num_right, sizes))
    assert found.sample.half_width <= 0.05
    assert (found.sample.num_all, found.num_items, whole.num_items) == (423, sum(sizes), 423)
    assert "|limit:all|precision:0.05(1234)|" in found.signature
    assert "precision" not in whole.signature
    assert whole.sample is None


def test_categories_are_drawn_from_by_themselves_and_weigh_alike(tokenizer, tmp_path):
    rows = [{**row, "category": "rare" if number % 4 == 0 else "common"} for number, row in enumerate(TASKS["sums"][3])]
    bundle = write_bundle(tmp_path / "b", {"sums": (*TASKS["sums"][:3], rows)})
    config = bundle / "core.yaml"
    config.write_text(config.read_text() + "  has_categories: true\n")
    asked = {"tasks": ["sums"], "source": "bundle", "bundle": bundle, "max_length": 128, "protocol": "dclm"}
    whole = evaluate_core(build_tiny_model(), tokenizer, **asked).tasks["sums"].items
    found = evaluate_core(build_tiny_model(), tokenizer, precision=0.08, **asked)
    drawn = {item.index for item in found.tasks["sums"].items}
    assert 64 < len(drawn) < 300
    strata, right, sizes = [], [], []
    for category in dict.fromkeys(item.category for item in whole):
        order = draw_order([item.index for item in whole if item.category == category], f"sums {category}")
        size = len(drawn.intersection(order))
        assert drawn.intersection(order) == set(order[:size])
        strata.append(Stratum("sums", order, 1 / (2 * 0.8)))
        right.append(sum(whole[place].correct for place in order[:size]))
        sizes.append(size)
    assert found.sample.half_width == pytest.approx(half_width(strata, right, sizes))


def test_what_is_not_finite_in_a_later_round_is_named_by_its_own_item(tokenizer, tmp_path):
    rows = [{"context": f"number {n} and the river ran to", "continuation": "the sea"} for n in range(200)]
    asked = {"tasks": ["words"], "source": "bundle", "bundle": tmp_path / "b", "max_length": 128}
    write_bundle(tmp_path / "b", {"words": ("language_modeling", 0, " ", rows)})
    run = plan_core(**{name: asked[name] for name in ("tasks", "source", "bundle")})
    shown = run.protocol.select("language_modeling", run.load(run.tasks[0]).examples, None)
    place = draw_order(range(200), "words ")[40]
    row = int(shown[place].contexts[0].split()[1])
    rows[row]["context"] = "Q" + rows[row]["context"]
    (tmp_path / "b" / "eval_data" / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (letter,) = tokenizer.encode("Q", add_special_tokens=False)
    model = build_tiny_model()
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        model.transformer.wte.weight[letter] = float("nan")
    with pytest.raises(RunError, match=f"items {place}\\)"):
        evaluate_core(model, tokenizer, precision=0.001, **asked)


def test_a_precision_that_only_all_items_reach_scores_all_and_gives_the_same_core(whole, bundle, tokenizer):
    found = evaluate_core(build_tiny_model(), tokenizer, precision=1e-9, **options(bundle))
    assert found.num_items == 423
    assert found.sample.half_width == 0.0
    assert found.core == whole.core


def test_the_command_says_what_was_used_and_goes_on_where_it_was_killed(bundle, tmp_path):
    arguments = ("--eval", "core", "--tasks", ",".join(TASKS), "--bundle", str(bundle), "--precision", "0.05")
    arguments += ("--max-length", "128", "--batch-tokens", "256")
    finished = run_command(*arguments, "--output", str(tmp_path / "whole"), **ONE_THREAD)
    assert finished.returncode == 0, finished.stderr
    said = json.loads((tmp_path / "whole" / "results.json").read_text())["core"]["sample"]
    assert 32 + 32 + 3 < said["num_items"] < 423
    printed = " ".join(finished.stdout.split())
    assert f"Scored: {said['num_items']} of 423 items ({said['num_items'] / 423:.1%})." in printed
    assert f"± {said['half_width']:.4f} (95%)." in printed
    assert f"items: {said['num_items']} of 423 for ±0.05." in " ".join(finished.stderr.split())
    assert f"{said['num_items']} of 423 items" in (tmp_path / "whole" / "report.html").read_text()

    # The first sample is some forty items in ten forwards: this is in the second one.
    process = start(tmp_path / "killed", *arguments)
    assert wait_for_rows(tmp_path / "killed", process, 20)
    process.kill()
    process.wait()
    finished = run_command(*arguments, "--precision", "0.1", "--output", str(tmp_path / "killed"))
    assert finished.returncode == 2
    assert "got another: precision 0.05, now 0.1" in finished.stderr
    two = ("torchrun", "--nproc_per_node", "2")
    finished = run_command(*arguments, "--output", str(tmp_path / "killed"), launcher=two, **ONE_THREAD)
    assert finished.returncode == 0, finished.stderr
    assert "requests are scored already." in finished.stderr
    assert results_of(tmp_path / "killed") == results_of(tmp_path / "whole")


def test_sampled_runs_are_compared_on_what_both_have_scored(tmp_path, capsys):
    from hf_core_bpb.results.folder import write_results

    for name, places, right in (("a", range(300), 2), ("b", range(100, 400), 3)):
        signature = f"core|limit:all|precision:{len(name)}{name}|first:bos"
        core = {"suite": "custom", "core": 0.5, "sample": {}, "tasks": {"t": {"random_baseline": 0.5}}}
        rows = [{"index": i, "gold": 0, "correct": i % 4 < right} for i in places]
        write_results(tmp_path / name, {"signature": signature, "model": {"id": name}, "core": core}, {"t": rows})
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json", str(tmp_path / "c.json")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Compared: the 200 items that both runs scored, of 300 and 300." in printed
    (found,) = json.loads((tmp_path / "c.json").read_text())["comparisons"]
    # Of 200 items half are right, and three quarters; centered with a baseline of a half.
    assert [found["tasks"][0][key] for key in ("before", "after", "difference")] == [0.5, 0.75, 0.25]
    assert [found["core"][key] for key in ("before", "after", "difference")] == [0.0, 0.5, 0.5]


def test_the_callback_samples_the_same_items_first_every_time(bundle, tokenizer, tmp_path):
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
    # CORE of all items is meant, and not of the fifty that a schedule takes otherwise.
    assert first.sample.num_all == 423


@pytest.mark.parametrize("precision", [0, -0.1, 1, float("nan")])
def test_a_precision_that_is_none_is_refused(bundle, tokenizer, precision):
    with pytest.raises(InputError, match="--precision: expected half an interval of CORE, above 0 and below 1, got"):
        evaluate_core(build_tiny_model(), tokenizer, precision=precision, **options(bundle))


def test_a_precision_is_of_core(capsys):
    assert main(["--eval", "bpb", "--precision", "0.1"]) == 2
    assert "--precision: expected --eval to hold core, got --eval bpb" in capsys.readouterr().err
    with pytest.raises(InputError, match="expected core_every with core_precision, got none"):
        CoreBpbCallback(core_precision=0.1)
