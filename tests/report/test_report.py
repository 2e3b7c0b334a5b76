"""The page of a run: its numbers, its text made harmless, and what a real browser makes of it."""

import dataclasses
import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from matplotlib.collections import LineCollection
from support.command import run_command

from hf_core_bpb.cli.main import main
from hf_core_bpb.report.charts import Bar, bars, cloud, histogram, scatter
from hf_core_bpb.report.html import render_page
from hf_core_bpb.report.plotting import _tasks, save_pictures
from hf_core_bpb.report.relations import relations_of
from hf_core_bpb.results.folder import samples_path
from hf_core_bpb.results.saved import read_run

pytestmark = pytest.mark.slow

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The demo's output folder."""
    made = tmp_path_factory.mktemp("report") / "out"
    finished = run_command("--output", str(made), "--quiet", OMP_NUM_THREADS="1")
    assert finished.returncode == 0, finished.stderr
    return made


def test_a_run_ends_in_a_page_with_its_numbers(folder):
    page = (folder / "report.html").read_text()
    results = json.loads((folder / "results.json").read_text())
    assert f"<b>{results['core']['core']:+.4f}</b>" in page
    for name, task in results["core"]["tasks"].items():
        assert re.search(
            rf"<td>{name}</td><td>6</td><td>{task['num_fewshot']}</td><td>{task['accuracy']:.4f}</td>", page
        )
    for text in results["bpb"].values():
        assert f"<b>{text['bpb']:.4f}</b>" in page
        assert f"<td>{text['compressors']['gzip']:.4f}</td>" in page
    for part in results["signature"].split(" "):
        assert f"<code>{part}</code>" in page
    assert f"{results['work']['forward_tokens']:,} in {results['work']['forwards']:,} forwards" in page


def test_a_page_needs_nothing_from_anywhere(folder):
    page = (folder / "report.html").read_text()
    assert not re.search(r"https?://|<script|<link|@import|url\(|src=", page)


def test_the_most_surprising_are_wrong_and_shown_with_their_prompts(folder):
    rows = [json.loads(line) for line in (folder / "samples" / "_surprising.jsonl").read_text().splitlines()]
    items = [row for row in rows if "task" in row and "longest_prompt_tokens" not in row]
    assert len(items) == 10
    for row in items:
        sample = (folder / "samples" / f"{row['task']}.jsonl").read_text().splitlines()[row["index"]]
        assert json.loads(sample)["correct"] is False
        if row["gold"] is not None:
            assert row["prompt"].endswith(row["options"][row["gold"]]) or row["task"] == "winogrande"
    texts = [row for row in rows if "text" in row]
    assert [row["bpb"] for row in texts[:5]] == sorted((row["bpb"] for row in texts[:5]), reverse=True)


def test_the_slowest_are_the_items_of_most_tokens(folder):
    from hf_core_bpb.evaluation.inspect_item import inspect_item
    from hf_core_bpb.evaluation.options import CoreOptions
    from hf_core_bpb.evaluation.resolve import resolve_core
    from hf_core_bpb.models.loading import ModelOptions, load_language_model

    rows = [json.loads(line) for line in (folder / "samples" / "_surprising.jsonl").read_text().splitlines()]
    slowest = [row for row in rows if "longest_prompt_tokens" in row]
    assert len(slowest) == 5
    lm = load_language_model(ModelOptions(), torch.device("cpu"), None)
    lengths = {
        (task, index): max(
            option.num_context_tokens + len(option.tokens)
            for option in inspect_item(lm, resolve_core(CoreOptions(tasks=[task], source="demo")), index).options
        )
        for task in ("boolq", "squad", "hellaswag", "arc_challenge")
        for index in range(6)
    }
    # All of them are of these four tasks, whose prompts are the longest.
    assert sorted(lengths.values(), reverse=True)[:5] == [row["longest_prompt_tokens"] for row in slowest]
    assert all(lengths[row["task"], row["index"]] == row["longest_prompt_tokens"] for row in slowest)


def test_documents_are_held_against_compressors_one_by_one(folder):
    rows = [json.loads(line) for line in (folder / "samples" / "bpb-python-reference.jsonl").read_text().splitlines()]
    page = (folder / "report.html").read_text()
    for packer in ("gzip", "xz"):
        fewer = sum(row["nats"] / math.log(2) < 8 * row["packed"][packer] for row in rows)
        assert f"The model needs fewer bits than {packer} for {fewer} of 6 documents, each by itself" in page
    # A line on which both are equal, and a point for each document.
    (drawn, _) = re.findall(r'<svg [^>]*class="cloud">.*?</svg>', page)
    assert drawn.count("<circle") == 6
    (line,) = re.findall(r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"', drawn)
    x1, y1, x2, y2 = map(float, line)
    slope = (y2 - y1) / (x2 - x1)
    below = sum(float(y) > y1 + slope * (float(x) - x1) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn))
    assert below == sum(row["nats"] / math.log(2) < 8 * row["packed"]["gzip"] for row in rows)


def test_a_run_of_the_whole_of_core_22_and_ten_thousand_documents_is_a_page_of_less_than_5_mb(folder):
    run = read_run(folder)
    results = json.loads(json.dumps(run.results))
    task = results["core"]["tasks"]["arc_easy"] | {"n": 10_000}
    results["core"]["tasks"] = {f"task_{i}": task for i in range(22)}
    item = run.items["arc_easy"][0]
    documents = [
        {"index": i, "nats": 700.0 + i, "bytes": 1000, "packed": {"gzip": 400, "xz": 410 + i % 9}}
        for i in range(10_000)
    ]
    results["bpb"] = {"text": results["bpb"]["python-reference"]}
    results["signatures"] = results["signatures"][:2]
    long = [row | {"prompt": "x" * 1500} for row in run.surprises if "prompt" in row]
    big = dataclasses.replace(
        run, results=results, items={name: [item] * 10_000 for name in results["core"]["tasks"]},
        documents={"text": documents}, surprises=long,
    )  # fmt: skip
    assert len(render_page([big]).encode()) < 1_000_000


@pytest.fixture
def hostile(folder, tmp_path):
    """A run whose model, tasks, texts and samples are markup."""
    made = tmp_path / "hostile"
    shutil.copytree(folder, made)
    path = made / "results.json"
    results = json.loads(path.read_text())
    results["model"]["id"] = EVIL
    results["work"]["backend"] = EVIL
    path.write_text(json.dumps(results))
    rows = (made / "samples" / "_surprising.jsonl").read_text().splitlines()
    changed = []
    for line in rows:
        row = json.loads(line)
        for key in ("prompt", "begins", "task", "text"):
            if key in row:
                row[key] = EVIL
        if "options" in row:
            row["options"] = [EVIL] * len(row["options"])
        changed.append(json.dumps(row))
    (made / "samples" / "_surprising.jsonl").write_text("\n".join(changed) + "\n")
    return made


def test_what_came_from_data_or_model_is_text_and_never_markup(hostile, folder):
    for page in (render_page([read_run(hostile)]), render_page([read_run(hostile), read_run(folder)])):
        assert EVIL not in page
        assert "&lt;script&gt;alert(" in page
    for drawn in (
        bars([Bar(EVIL, 0.5)]),
        scatter([(EVIL, 1, 2), ("b", 2, 3)], EVIL, EVIL),
        histogram([1, 2], [(EVIL, 1)], EVIL),
        cloud([(1, 2), (2, 1)], EVIL, EVIL),
    ):
        assert "<script" not in drawn


def test_bars_are_as_long_as_their_values():
    drawn = bars([Bar("half", 0.5), Bar("whole", 1.0), Bar("below", -0.5, -1.0, 0.0)])
    widths = [float(width) for width in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn)]
    assert widths == pytest.approx([widths[1] / 2, widths[1], widths[1] / 2], abs=0.2)
    (whisker,) = re.findall(r'<line x1="([\d.]+)" x2="([\d.]+)"[^>]*class="whisker"', drawn)
    assert float(whisker[1]) - float(whisker[0]) == pytest.approx(widths[1], abs=0.2)


def rescored(folder, path, name, parameters, core, bpb, trained=None):
    shutil.copytree(folder, path)
    results = json.loads((path / "results.json").read_text())
    results["model"]["id"] = name
    results["model"]["parameters"]["total"] = parameters
    results["core"]["core"] = core
    if trained is not None:
        results["model"]["trained"] = trained
    for text in results["bpb"].values():
        text["bpb"] = bpb
    (path / "results.json").write_text(json.dumps(results))
    return str(path)


def test_several_runs_are_ranked_and_their_disagreements_named(folder, tmp_path, capsys):
    runs = [
        rescored(folder, tmp_path / "a", "small", 10**6, 0.1, 1.5),
        rescored(folder, tmp_path / "b", "middle", 10**7, 0.3, 1.2),
        rescored(folder, tmp_path / "c", "large", 10**8, 0.2, 1.0),
    ]
    assert main(["report", *runs, "--output", str(tmp_path / "all.html")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "all.html")
    page = (tmp_path / "all.html").read_text()
    # Ranks 1 2 3 of CORE small, large, middle; of bpb large, middle, small: rho = 1 - 6 (1 + 1 + 4) / (3 x 8) = -0.5.
    assert "Rank correlation -0.50. Bits per byte and core-11 disagree on which is better of middle and large." in page
    assert "<td>small</td><td>1M</td><td>+0.1000</td>" in page
    assert "core-11 over parameters" in page
    assert "core-11 over training tokens" not in page


def test_runs_that_carry_their_training_are_drawn_over_it_and_as_pictures(folder, tmp_path, capsys):
    runs = [
        rescored(folder, tmp_path / name, name, 10**6, core, 1.5, {"tokens": tokens, "flops": 6e6 * tokens})
        for name, core, tokens in (("a", 0.1, 1e6), ("b", 0.2, 1e7), ("c", 0.3, 1e8))
    ]
    arguments = ["--output", str(tmp_path / "all.html"), "--png", str(tmp_path / "png")]
    assert main(["report", *runs, *arguments]) == 0
    names = [path.rsplit("/", 1)[1] for path in capsys.readouterr().out.split()[1:]]
    assert names == [
        "tasks.png", "bits-per-byte.png", "core-against-bpb-python-reference.png", "core-against-bpb-scripts.png",
        "core-over-size.png", "core-over-tokens.png", "core-over-compute.png",
    ]  # fmt: skip
    assert all((tmp_path / "png" / name).read_bytes().startswith(b"\x89PNG") for name in names)
    page = (tmp_path / "all.html").read_text()
    tokens = page.split("core-11 over training tokens")[1].split("</svg>")[0]
    # Powers of ten stand as far apart as each other.
    first, second, third = (float(x) for x in re.findall(r'<circle cx="([\d.]+)"', tokens))
    assert third - second == pytest.approx(second - first, abs=0.2)
    assert ">1e+06</text>" in tokens
    assert ">1e+08</text>" in tokens
    assert ">6e+12</text>" in page.split("core-11 over training FLOPs")[1].split("</svg>")[0]


def test_names_are_text_in_pictures_and_what_is_not_known_of_one_is_said(folder, tmp_path, capsys):
    known = {"tokens": 1e6, "flops": 6e12}
    runs = [
        rescored(folder, tmp_path / str(number), name, 10**6, 0.1, 1.5, trained)
        for number, (name, trained) in enumerate([("mod$\\a$" + "x" * 300, known), ("b_{", known), ("other", None)])
    ]
    assert main(["report", *runs, "--output", str(tmp_path / "x.html"), "--png", str(tmp_path / "png")]) == 0
    page = (tmp_path / "x.html").read_text()
    assert "core-11 over training tokens" in page
    assert "Not known of other." in page
    assert "agree on every pair that is told apart by both." in page


def test_every_picture_has_a_file_of_its_own_and_bars_the_intervals_of_their_tasks(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "results.json"
    results = json.loads(path.read_text())
    (_, text), *_ = results["bpb"].items()
    names = [f"/data/{'x' * 90}/{letter}.txt" for letter in "ab"]
    rows = (tmp_path / "run" / "samples" / f"bpb-{next(iter(results['bpb']))}.jsonl").read_text()
    results["bpb"] = dict.fromkeys(names, text)
    path.write_text(json.dumps(results))
    for name in names:
        samples_path(tmp_path / "run", f"bpb-{name}").write_text(rows)
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    paths = save_pictures(tmp_path / "png", [read_run(tmp_path / "run"), read_run(tmp_path / "again")])
    assert len(set(paths)) == len(paths) == 5
    run = read_run(folder)
    (axes,) = _tasks([run], list(run.items)).axes
    (lines,) = [held for held in axes.collections if isinstance(held, LineCollection)]
    for (begin, end), task in zip(lines.get_segments(), run.results["core"]["tasks"].values(), strict=True):
        centered = [(share - task["random_baseline"]) / (1 - task["random_baseline"]) for share in task["ci95"]]
        assert [begin[0], end[0]] == pytest.approx(centered)


def test_runs_of_other_suites_or_recipes_are_not_shown_as_if_they_were_alike(folder, tmp_path):
    first, second = (read_run(Path(rescored(folder, tmp_path / n, n, 10**6, 0.1, 1.5))) for n in "ab")
    assert [relation.name for relation in relations_of([first, second])][-1] == "core-over-size"
    assert "recipes differ" not in render_page([first, second])
    assert "at most 4 items a task" not in render_page([first])
    second.results["signatures"] = [part.replace("|limit:all|", "|limit:4|") for part in second.results["signatures"]]
    second.results["signature"] = " ".join(second.results["signatures"])
    assert "recipes differ" in render_page([first, second])
    assert "at most 4 items a task" in render_page([second])
    second.results["core"]["suite"] = "core-22"
    assert relations_of([first, second]) == []


def test_pictures_go_into_a_folder_that_can_be_written(folder, tmp_path, capsys):
    (tmp_path / "file").touch()
    arguments = ["--output", str(tmp_path / "x.html"), "--png", str(tmp_path / "file")]
    assert main(["report", str(folder), *arguments]) == 2
    assert "--png: expected a folder that can be written, got" in capsys.readouterr().err


def test_a_folder_without_a_run_and_results_that_lack_something_are_one_line(folder, tmp_path, capsys):
    older = tmp_path / "older"
    shutil.copytree(folder, older)
    results = json.loads((older / "results.json").read_text())
    results["core"].pop("ci95")
    (older / "results.json").write_text(json.dumps(results))
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    results["core"]["ci95"] = [0.0, 0.1]
    results["core"]["tasks"]["piqa"]["ci95"] = None
    (other / "results.json").write_text(json.dumps(results))
    mixed = tmp_path / "mixed"
    shutil.copytree(folder, mixed)
    path = mixed / "samples" / "bpb-scripts.jsonl"
    path.write_text(path.read_text().replace('"nats": 2', '"nats": 3'))
    cut = tmp_path / "cut"
    shutil.copytree(folder, cut)
    path = cut / "samples" / "piqa.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    other_bytes = tmp_path / "other bytes"
    shutil.copytree(folder, other_bytes)
    path = other_bytes / "samples" / "bpb-scripts.jsonl"
    path.write_text(re.sub(r'"bytes": (\d)', r'"bytes": 1\1', path.read_text(), count=1))
    for place, message in (
        (cut, "piqa: the samples are not the items of results.json"),
        (other_bytes, "scripts: the bytes of the samples do not add up to those of results.json"),
        (tmp_path, "of a finished run"),
        (older, "got one without 'ci95'"),
        (other, "expected results.json as this version writes it, got"),
        (mixed, "scripts: the nats of the samples do not add up to those of results.json"),
    ):
        assert main(["report", str(place), "--output", str(tmp_path / "x.html")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_the_page_without_complaint_and_without_scrolling_sideways(folder, hostile, scheme, width):
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    several = hostile.parent / "several.html"
    several.write_text(render_page([read_run(folder), read_run(hostile)]))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        for path in (folder / "report.html", several):
            page.goto(path.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.locator("svg.bars rect").count() >= 11
            page.locator("details").first.locator("summary").click()
            assert page.locator("details pre").first.is_visible()
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert back == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]
        browser.close()
    assert said == []
