"""Intervals hold the truth at their rate, p-values are even under the null: by simulation, and by hand."""

import json
import math

import numpy as np
import pytest

from hf_core_bpb.cli.main import main
from hf_core_bpb.metrics.intervals import Share, accuracy_ci95, core_ci95, least_difference, shares_ci95
from hf_core_bpb.metrics.paired import (
    Difference,
    PairedShare,
    compare_documents,
    compare_shares,
    correct_by_holm,
    pair_shares,
)
from hf_core_bpb.metrics.results import CoreResult, ItemResult, TaskResult
from hf_core_bpb.results.folder import RunFolder

SUITE = [(0.25, 100)] * 8 + [(0.5, 50)] * 4 + [(0.0, 100)] * 7 + [(0.0, 32)] * 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tasks", "accuracies"),
    [
        ([(0.0, 100)], [0.4]),
        ([(0.0, 30)], [0.7]),
        (SUITE, np.linspace(0.02, 0.8, len(SUITE))),
        (SUITE, np.linspace(0.001, 0.3, len(SUITE))),
    ],
    ids=["a task of 100", "a task of 30", "a suite", "a suite of a small model"],
)
def test_intervals_of_accuracies_hold_the_truth_at_their_rate(tasks, accuracies):
    rng = np.random.default_rng(11)
    weights = [1 / (len(tasks) * (1 - baseline)) for baseline, _ in tasks]
    truth = sum(w * p for w, p in zip(weights, accuracies, strict=True))
    held = 0
    for _ in range(300):
        right = [rng.binomial(n, p) for (_, n), p in zip(tasks, accuracies, strict=True)]
        low, high = shares_ci95([Share(int(k), n, w) for k, (_, n), w in zip(right, tasks, weights, strict=True)])
        held += low <= truth <= high
    assert 0.92 <= held / 300 <= 0.98


@pytest.mark.parametrize("count", [10, 20, 50])
@pytest.mark.parametrize(
    "accuracies", [[0.002] * 10, [0.002] * 10 + [0.25] * 12, [0.95] * 4], ids=["never", "half of them never", "always"]
)
def test_intervals_near_the_ends_do_not_leave_out_the_truth(accuracies, count):
    """They may be too wide there: items are too few to say how seldom something happens."""
    rng = np.random.default_rng(12)
    weight = 1 / len(accuracies)
    held = 0
    for _ in range(100):
        low, high = shares_ci95([Share(int(rng.binomial(count, p)), count, weight) for p in accuracies])
        held += low <= np.mean(accuracies) <= high
    assert held >= 90


def test_no_share_is_certain_and_no_accuracy_leaves_its_range():
    low, high = shares_ci95([Share(0, 100)])
    # The rule of three: with none of 100 seen, 3 % are still possible.
    assert (low, high) == (0.0, pytest.approx(0.03, abs=0.01))
    low, high = shares_ci95([Share(100, 100)])
    assert (low, high) == (pytest.approx(0.97, abs=0.01), 1.0)
    assert shares_ci95([Share(49, 50)])[1] <= 1.0
    assert shares_ci95([Share(1, 50)])[0] >= 0.0


def items(verdicts, categories=None):
    return tuple(
        ItemResult(i, 0, 0, bool(v), (), False, categories[i] if categories else "") for i, v in enumerate(verdicts)
    )


def test_core_s_interval_is_that_of_its_weighted_accuracies(package):
    from hf_core_bpb.data.task_files import list_tasks

    known = {task.name: task for task in list_tasks()}
    tasks = {
        "arc_easy": TaskResult(known["arc_easy"], 0, "", items([1] * 30 + [0] * 70)),
        "squad": TaskResult(known["squad"], 0, "", items([1] * 20 + [0] * 30, ["a"] * 25 + ["b"] * 25)),
    }
    core = CoreResult("custom", "nanochat", "demo", "v1", tasks, "")
    # Squad's categories have 20 and 0 of 25 right, and count a half each.
    expected = shares_ci95([Share(30, 100, 1 / (2 * 0.75)), Share(20, 25, 1 / 4), Share(0, 25, 1 / 4)])
    guessing = 0.25 / (2 * 0.75)
    assert core_ci95(core, "v1") == pytest.approx((expected[0] - guessing, expected[1] - guessing))
    low, high = core_ci95(core, "v1")
    assert low < core.core < high
    assert accuracy_ci95(tasks["arc_easy"]) == shares_ci95([Share(30, 100)])
    assert least_difference((0.1, 0.3)) == pytest.approx(0.1 * math.sqrt(2))


@pytest.mark.slow
def test_p_values_of_core_are_even_where_nothing_differs():
    """Of 200 pairs of runs with the same chances, one in twenty has a p-value of one in twenty, and so on."""
    rng = np.random.default_rng(5)
    found = []
    for number in range(200):
        shares = []
        for baseline, n in SUITE:
            p = rng.uniform(0.2, 0.8)
            first, second = rng.random(n) < p, rng.random(n) < p
            won, lost = int((second & ~first).sum()), int((first & ~second).sum())
            shares.append(PairedShare(won, lost, n, 1 / (len(SUITE) * (1 - baseline))))
        found.append(compare_shares(shares, seed=number)[2])
    for level in (0.05, 0.25, 0.5, 0.75):
        share = np.mean(np.array(found) <= level)
        assert abs(share - level) <= 3 * math.sqrt(level * (1 - level) / len(found)) + 0.005


@pytest.mark.slow
def test_paired_intervals_hold_the_difference_at_their_rate():
    rng = np.random.default_rng(6)
    weight = 1 / len(SUITE)
    held = 0
    for number in range(200):
        shares = []
        for _, n in SUITE:
            kind = rng.multinomial(n, [0.15, 0.10, 0.75])
            shares.append(PairedShare(int(kind[0]), int(kind[1]), n, weight))
        _, (low, high), _ = compare_shares(shares, seed=number)
        held += low <= 0.05 <= high
    assert 0.92 <= held / 200 <= 0.98


@pytest.mark.slow
def test_p_values_of_bits_per_byte_are_even_where_nothing_differs_and_intervals_hold():
    rng = np.random.default_rng(9)
    found, held = [], 0
    for number in range(200):
        sizes = rng.integers(200, 2000, 25).astype(float)
        nats = sizes * rng.normal(1.0, 0.2, 25)
        change = rng.normal(0.0, 0.05, (2, 25)) * sizes
        _, interval, p = compare_documents(nats + change[0], nats + change[1], sizes, seed=number)
        found.append(p)
        held += interval[0] <= 0 <= interval[1]
    for level in (0.05, 0.25, 0.5, 0.75):
        share = np.mean(np.array(found) <= level)
        assert abs(share - level) <= 3 * math.sqrt(level * (1 - level) / len(found)) + 0.005
    assert 0.92 <= held / 200 <= 0.98


def test_a_difference_by_hand():
    before = [{"index": i, "correct": i < 4} for i in range(10)]
    after = [{"index": i, "correct": 2 <= i < 9} for i in range(10)]
    shares, won, lost = pair_shares(before, after, weight=1.0)
    assert (won, lost) == ((4, 5, 6, 7, 8), (0, 1))
    assert shares == [PairedShare(5, 2, 10)]
    difference, (low, high), p = compare_shares(shares)
    assert difference == pytest.approx(0.3)
    assert low < 0.3 < high
    # The exact test: 2 (1 + 7 + 21) of 128 splits of seven items are as uneven.
    assert p == pytest.approx(58 / 128, abs=0.02)
    nats = np.array([10.0, 20.0, 30.0])
    difference, _, p = compare_documents(nats, nats + np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 30.0]))
    assert difference == pytest.approx(6 / math.log(2) / 60)
    # All three up or all three down: 2 of 8.
    assert p == pytest.approx(2 / 8, abs=0.02)
    assert compare_documents(nats[:1], nats[:1] + 1, nats[:1])[1:] == (None, None)


def test_holm_by_hand():
    differences = [Difference(str(i), 0, 0, 0, None, p) for i, p in enumerate((0.04, 0.01, 0.03, None))]
    # Sorted: 0.01 x 4, 0.03 x 3, then 0.04 x 2, which may not be below the one before.
    assert [d.p_holm for d in correct_by_holm(differences)] == pytest.approx([0.09, 0.04, 0.09, None])


def write_run(
    folder, name, verdicts, nats, signature="core|limit:all|seeds:1234 in sequence|first:bos bpb|text:t|first:bos"
):
    results = {
        "signature": signature,
        "model": {"id": name},
        "core": {
            "suite": "custom",
            "core": (np.mean(verdicts) - 0.5) / 0.5,
            "tasks": {"piqa": {"accuracy": float(np.mean(verdicts)), "random_baseline": 0.5}},
        },
        "bpb": {"notes": {"bpb": sum(nats) / math.log(2) / 100}},
    }
    rows = [{"index": i, "gold": 0, "correct": bool(v)} for i, v in enumerate(verdicts)]
    documents = [{"index": i, "nats": n, "bytes": 100 // len(nats)} for i, n in enumerate(nats)]
    RunFolder(folder, overwrite=True).write(results, {"piqa": rows, "bpb-notes": documents})
    return str(folder)


def test_compare_prints_writes_and_draws(tmp_path, capsys):
    rng = np.random.default_rng(1)
    first, second = rng.random(400) < 0.5, rng.random(400) < 0.8
    a = write_run(tmp_path / "a", "small", first, [60.0] * 20)
    b = write_run(tmp_path / "b", "large", second, [50.0 + i % 3 for i in range(20)])
    arguments = ["compare", a, b, "--json", str(tmp_path / "c.json"), "--plot", str(tmp_path / "c.png")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "custom: the second is better (p <0.001)." in printed
    assert "notes: the second is better (p <0.001)." in printed
    (found,) = json.loads((tmp_path / "c.json").read_text())["comparisons"]
    assert found["tasks"][0]["difference"] == pytest.approx(second.mean() - first.mean())
    assert found["tasks"][0]["won"] == np.flatnonzero(second & ~first).tolist()
    assert found["core"]["difference"] == pytest.approx(2 * (second.mean() - first.mean()))
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert main(["compare", a, a, b]) == 0
    assert "custom: not told apart (p 1.000)." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("core|limit:50|seeds:1234 in sequence|first:bos bpb|text:t|first:bos", "got core limit: all and 50"),
        ("core|limit:all|seeds:1234 in sequence|first:bos bpb|text:u|first:bos", "got bpb notes text: t and u"),
    ],
)
def test_runs_of_different_recipes_are_refused_with_what_differs(tmp_path, capsys, signature, message):
    a = write_run(tmp_path / "a", "one", [1, 0] * 5, [5.0] * 5)
    b = write_run(tmp_path / "b", "two", [1, 0] * 5, [5.0] * 5, signature)
    assert main(["compare", a, b]) == 2
    assert message in capsys.readouterr().err


def test_what_is_the_model_s_own_is_said_and_no_reason_to_refuse(tmp_path, capsys):
    a = write_run(tmp_path / "a", "one", [1, 0] * 5, [5.0] * 5)
    b = write_run(
        tmp_path / "b",
        "two",
        [1, 0] * 5,
        [5.0] * 5,
        "core|limit:all|seeds:1234 in sequence|first:eos bpb|text:t|first:eos",
    )
    assert main(["compare", a, b]) == 0
    assert "Differs, and is the model's own: core first: bos and eos." in capsys.readouterr().out


def test_what_is_no_finished_run_is_refused_in_one_line(tmp_path, capsys):
    a = write_run(tmp_path / "a", "one", [1, 0] * 5, [5.0] * 5)
    (tmp_path / "torn").mkdir()
    write_run(tmp_path / "torn", "two", [1, 0] * 5, [5.0] * 5)
    (tmp_path / "torn" / "samples" / "piqa.jsonl").write_text('{"index": 0, "corr')
    write_run(tmp_path / "fewer", "two", [1, 0] * 4, [5.0] * 5)
    for arguments, message in (
        ([a], "compare: expected two or more runs, got one"),
        ([a, str(tmp_path)], "not the output folder of a finished run"),
        ([a, str(tmp_path / "torn")], "piqa.jsonl, line 1: expected a row with index, correct"),
        ([a, str(tmp_path / "fewer")], "compare: expected the same items of piqa in both, got others"),
    ):
        assert main(["compare", *arguments]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
