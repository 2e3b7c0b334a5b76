"""The compare command: what it prints, writes and rejects."""

import json
import math

import numpy as np
import pytest

from hf_core_bpb.cli.main import main
from hf_core_bpb.results.folder import RunFolder

SIGNATURE = "core|limit:all|seeds:1234 in sequence|first:bos bpb|text:t|first:bos"


def write_run(folder, name, correct, nats, signature=SIGNATURE):
    results = {
        "signature": signature,
        "model": {"id": name},
        "core": {
            "suite": "custom",
            "core": (np.mean(correct) - 0.5) / 0.5,
            "tasks": {"piqa": {"accuracy": float(np.mean(correct)), "random_baseline": 0.5}},
        },
        "bpb": {"notes": {"bpb": sum(nats) / math.log(2) / 100}},
    }
    rows = [{"index": i, "gold": 0, "correct": bool(value)} for i, value in enumerate(correct)]
    documents = [{"index": i, "nats": n, "bytes": 100 // len(nats)} for i, n in enumerate(nats)]
    RunFolder(folder, overwrite=True).write(results, {"piqa": rows, "bpb-notes": documents})
    return str(folder)


@pytest.fixture
def verdicts():
    """Which of 400 items a small and a large model answer correctly."""
    rng = np.random.default_rng(1)
    return rng.random(400) < 0.5, rng.random(400) < 0.8


@pytest.fixture
def runs(tmp_path, verdicts):
    small, large = verdicts
    return (
        write_run(tmp_path / "small", "small", small, [60.0] * 20),
        write_run(tmp_path / "large", "large", large, [50.0 + i % 3 for i in range(20)]),
    )


def test_significant_differences_name_the_better_run(runs, capsys):
    assert main(["compare", *runs]) == 0
    printed = capsys.readouterr().out
    assert "custom: the second run is better (p < 0.001)." in printed
    assert "notes: the second run is better (p < 0.001)." in printed


def test_a_run_does_not_differ_from_itself(runs, capsys):
    small, large = runs
    assert main(["compare", small, small, large]) == 0
    assert "custom: no significant difference (p = 1.000)." in capsys.readouterr().out


def test_json_file_has_differences_and_the_items_won(runs, verdicts, tmp_path, capsys):
    first, second = verdicts
    assert main(["compare", *runs, "--json", str(tmp_path / "c.json")]) == 0
    (comparison,) = json.loads((tmp_path / "c.json").read_text())["comparisons"]
    assert comparison["tasks"][0]["difference"] == pytest.approx(second.mean() - first.mean())
    assert comparison["tasks"][0]["won"] == np.flatnonzero(second & ~first).tolist()
    assert comparison["core"]["difference"] == pytest.approx(2 * (second.mean() - first.mean()))


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_plot_has_the_format_of_its_suffix(runs, tmp_path, suffix, start):
    path = tmp_path / f"c.{suffix}"
    assert main(["compare", *runs, "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(start)


def test_a_plot_of_an_unknown_format_is_rejected(runs, tmp_path, capsys):
    assert main(["compare", *runs, "--plot", str(tmp_path / "c.docx")]) == 2
    assert "--json, --plot: cannot write: Format 'docx' is not supported" in capsys.readouterr().err


def test_rows_of_the_table_fit_80_columns(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["compare", *runs]) == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("│ piqa", "│ custom"))]
    assert len(table) == 2
    assert all(line.rstrip().endswith("│") for line in table)


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("core|limit:50|seeds:1234 in sequence|first:bos bpb|text:t|first:bos", "got core limit: all and 50"),
        ("core|limit:all|seeds:1234 in sequence|first:bos bpb|text:u|first:bos", "got bpb notes text: t and u"),
    ],
)
def test_runs_of_different_recipes_are_rejected_with_the_difference(tmp_path, capsys, signature, message):
    a = write_run(tmp_path / "a", "one", [1, 0] * 5, [5.0] * 5)
    b = write_run(tmp_path / "b", "two", [1, 0] * 5, [5.0] * 5, signature)
    assert main(["compare", a, b]) == 2
    assert message in capsys.readouterr().err


def test_a_different_property_of_the_model_is_noted(tmp_path, capsys):
    a = write_run(tmp_path / "a", "one", [1, 0] * 5, [5.0] * 5)
    signature = "core|limit:all|seeds:1234 in sequence|first:eos bpb|text:t|first:eos"
    b = write_run(tmp_path / "b", "two", [1, 0] * 5, [5.0] * 5, signature)
    assert main(["compare", a, b]) == 0
    assert "Recipes differ in a property of the model: core first: bos and eos." in capsys.readouterr().out


def torn_run(folder):
    write_run(folder, "two", [1, 0] * 5, [5.0] * 5)
    (folder / "samples" / "piqa.jsonl").write_text('{"index": 0, "corr')


@pytest.mark.parametrize(
    ("write_second", "message"),
    [
        (lambda _: None, "not the output folder of a finished run"),
        (torn_run, "piqa.jsonl, line 1: expected a row with index, correct"),
        (
            lambda folder: write_run(folder, "two", [1, 0] * 4, [5.0] * 5),
            "compare: expected the same items of piqa in both runs, got different ones",
        ),
    ],
    ids=["no run", "damaged samples", "other items"],
)
def test_runs_that_cannot_be_compared_are_one_line(tmp_path, capsys, write_second, message):
    a = write_run(tmp_path / "a", "one", [1, 0] * 5, [5.0] * 5)
    write_second(tmp_path / "b")
    assert main(["compare", a, str(tmp_path / "b")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_single_run_is_rejected(tmp_path, capsys):
    a = write_run(tmp_path / "a", "one", [1, 0] * 5, [5.0] * 5)
    assert main(["compare", a]) == 2
    assert "compare: expected two or more runs, got one" in capsys.readouterr().err
