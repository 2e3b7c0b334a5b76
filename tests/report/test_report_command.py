"""The report command: the files it writes and the runs it rejects."""

import re
import shutil

import pytest
from support.saved_runs import copy_run, edit_results

from hf_core_bpb.cli.main import main
from hf_core_bpb.results.folder import samples_path


@pytest.fixture
def trained_runs(demo_run, tmp_path):
    return [
        str(copy_run(demo_run, tmp_path / name, name, core=core, trained={"tokens": tokens, "flops": 6e6 * tokens}))
        for name, core, tokens in (("a", 0.1, 1e6), ("b", 0.2, 1e7), ("c", 0.3, 1e8))
    ]


def test_command_prints_the_path_of_the_page(demo_run, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert main(["report", str(demo_run), "--output", str(path)]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert path.read_text().startswith("<!doctype html>")


def test_png_option_writes_every_chart_of_several_runs(trained_runs, tmp_path, capsys):
    arguments = ["--output", str(tmp_path / "all.html"), "--png", str(tmp_path / "png")]
    assert main(["report", *trained_runs, *arguments]) == 0
    names = [path.rsplit("/", 1)[1] for path in capsys.readouterr().out.split()[1:]]
    assert names == [
        "tasks.png", "bits-per-byte.png", "core-against-bpb-python-reference.png", "core-against-bpb-scripts.png",
        "core-over-size.png", "core-over-tokens.png", "core-over-compute.png",
    ]  # fmt: skip
    assert all((tmp_path / "png" / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_page_and_charts_take_any_name_of_a_model(demo_run, tmp_path):
    names = ["mod$\\a$" + "x" * 300, "b_{", "\x1b[31m海"]
    trained = {"tokens": 1e6, "flops": 6e12}
    runs = [str(copy_run(demo_run, tmp_path / str(i), name, trained=trained)) for i, name in enumerate(names)]
    arguments = ["--output", str(tmp_path / "x.html"), "--png", str(tmp_path / "png")]
    assert main(["report", *runs, *arguments]) == 0


def test_texts_with_long_similar_names_have_charts_of_their_own(demo_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(demo_run, run)
    names = [f"/data/{'x' * 90}/{letter}.txt" for letter in "ab"]
    with edit_results(run) as results:
        text, rows = next((text, samples_path(run, f"bpb-{name}").read_text()) for name, text in results["bpb"].items())
        results["bpb"] = dict.fromkeys(names, text)
    for name in names:
        samples_path(run, f"bpb-{name}").write_text(rows)
    shutil.copytree(run, tmp_path / "again")
    runs = [str(run), str(tmp_path / "again")]
    assert main(["report", *runs, "--output", str(tmp_path / "x.html"), "--png", str(tmp_path / "png")]) == 0
    paths = capsys.readouterr().out.split()[1:]
    assert len(set(paths)) == len(paths) == 5


def test_a_folder_for_charts_that_cannot_be_written_is_rejected(demo_run, tmp_path, capsys):
    (tmp_path / "file").touch()
    arguments = ["--output", str(tmp_path / "x.html"), "--png", str(tmp_path / "file")]
    assert main(["report", str(demo_run), *arguments]) == 2
    assert "--png: expected a writable folder, got" in capsys.readouterr().err


def cut_samples(folder):
    path = folder / "samples" / "piqa.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def change_nats(folder):
    path = folder / "samples" / "bpb-scripts.jsonl"
    path.write_text(path.read_text().replace('"nats": 2', '"nats": 3'))


def change_bytes(folder):
    path = folder / "samples" / "bpb-scripts.jsonl"
    path.write_text(re.sub(r'"bytes": (\d)', r'"bytes": 1\1', path.read_text(), count=1))


def remove_results(folder):
    (folder / "results.json").unlink()


def remove_interval(folder):
    with edit_results(folder) as results:
        del results["core"]["ci95"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_results, "of a finished run"),
        (cut_samples, "piqa: the samples are not the items of results.json"),
        (change_nats, "scripts: the nats of the samples do not add up to those of results.json"),
        (change_bytes, "scripts: the bytes of the samples do not add up to those of results.json"),
        (remove_interval, "'ci95' is missing"),
    ],
)
def test_damaged_runs_are_rejected_in_one_line(demo_run, tmp_path, capsys, damage, message):
    folder = tmp_path / "run"
    shutil.copytree(demo_run, folder)
    damage(folder)
    assert main(["report", str(folder), "--output", str(tmp_path / "x.html")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
