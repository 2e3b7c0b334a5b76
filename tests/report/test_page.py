"""The HTML page of a run: its numbers, its charts, and hostile data as text."""

import dataclasses
import json
import math
import re
import shutil

import pytest
from support.saved_runs import copy_run, edit_results

from hf_core_bpb.errors import InputError
from hf_core_bpb.report.figure_output import THEME
from hf_core_bpb.report.html import render_page
from hf_core_bpb.results.saved import read_run

MARKUP = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def results(demo_run):
    return json.loads((demo_run / "results.json").read_text())


def test_page_shows_core(demo_page, results):
    assert f"<b>{results['core']['core']:+.4f}</b>" in demo_page


def test_page_shows_items_shots_and_accuracy_of_every_task(demo_page, results):
    for name, task in results["core"]["tasks"].items():
        row = rf"<td>{name}</td><td>6</td><td>{task['num_fewshot']}</td><td>{task['accuracy']:.4f}</td>"
        assert re.search(row, demo_page)


def test_page_shows_bits_per_byte_of_texts_and_compressors(demo_page, results):
    for text in results["bpb"].values():
        assert f"<b>{text['bpb']:.4f}</b>" in demo_page
        assert f"<td>{text['compressors']['gzip']:.4f}</td>" in demo_page


def test_page_shows_the_signature_of_every_number(demo_page, results):
    for part in results["signature"].split(" "):
        assert f"<code>{part}</code>" in demo_page


def test_page_shows_the_cost(demo_page, results):
    work = results["work"]
    assert f"{work['forward_tokens']:,} in {work['forwards']:,} passes" in demo_page


def test_page_counts_documents_that_the_model_compresses_better(demo_page, demo_run):
    rows = [json.loads(line) for line in (demo_run / "samples" / "bpb-python-reference.jsonl").read_text().splitlines()]
    for packer in ("gzip", "xz"):
        wins = sum(row["nats"] / math.log(2) < 8 * row["packed"][packer] for row in rows)
        assert f"than {packer} for {wins} of 6 documents" in demo_page


def test_page_needs_no_other_file_and_no_network(demo_page):
    assert not re.search(r"https?://|<script|<link|@import|url\(|src=", demo_page)


def test_charts_use_no_colours_but_those_of_the_theme(demo_page):
    body = demo_page.partition("<body>")[2]
    variables = set(re.findall(r"var\(--([\w-]+)\)", body))
    assert variables <= set(THEME.values())
    assert not re.search(r"(fill|stroke): ?#", body)


def test_light_and_dark_theme_define_every_colour_of_the_charts(demo_page):
    light, dark = re.findall(r":root {([^}]*)}", demo_page)
    for colour, variable in THEME.items():
        assert f"--{variable}: {colour};" in light
        assert f"--{variable}: #" in dark


def test_every_chart_is_labelled_for_screen_readers(demo_page):
    charts = re.findall("<svg[^>]*>", demo_page)
    assert len(charts) == 3
    assert all(re.search('role="img" aria-label="[^"]+"', chart) for chart in charts)


def test_ids_are_unique_in_a_page_of_several_runs(demo_run):
    page = render_page([read_run(demo_run), read_run(demo_run)])
    ids = re.findall(' id="([^"]*)"', page)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall('href="#([^"]*)"', page)) == set(ids)


def test_pages_of_the_same_run_are_the_same(demo_run, demo_page):
    assert render_page([read_run(demo_run)]) == demo_page


def test_page_of_core_22_and_ten_thousand_documents_is_smaller_than_1_mb(demo_run):
    run = read_run(demo_run)
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
def hostile(demo_run, tmp_path):
    """A run whose model, strategy, tasks, texts and samples are markup."""
    folder = tmp_path / "hostile"
    shutil.copytree(demo_run, folder)
    with edit_results(folder) as results:
        results["model"]["id"] = MARKUP
        results["work"]["backend"] = MARKUP
    path = folder / "samples" / "_surprising.jsonl"
    rows = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        row |= {key: MARKUP for key in ("prompt", "begins", "task", "text") if key in row}
        if "options" in row:
            row["options"] = [MARKUP] * len(row["options"])
        rows.append(json.dumps(row))
    path.write_text("\n".join(rows) + "\n")
    return folder


def test_what_came_from_data_or_model_is_text_and_never_markup(hostile, demo_run):
    for page in (render_page([read_run(hostile)]), render_page([read_run(hostile), read_run(demo_run)])):
        assert MARKUP not in page
        assert "&lt;script&gt;alert(" in page


def test_page_shows_the_limit_of_items(demo_run, tmp_path, demo_page):
    limited = copy_run(demo_run, tmp_path / "limited", "limited")
    with edit_results(limited) as results:
        results["signatures"] = [part.replace("|limit:all|", "|limit:4|") for part in results["signatures"]]
    assert "at most 4 items per task" in render_page([read_run(limited)])
    assert "items per task" not in demo_page


def test_page_of_several_runs_starts_with_a_table_of_them(demo_run, tmp_path):
    runs = [read_run(copy_run(demo_run, tmp_path / name, name)) for name in ("small", "large")]
    assert "<td>small</td><td>1M</td><td>+0.1000</td>" in render_page(runs)


def test_page_of_several_runs_shows_how_they_are_related(demo_run, tmp_path):
    numbers = {"small": (0.1, 1.5), "large": (0.2, 1.2)}
    runs = [read_run(copy_run(demo_run, tmp_path / n, n, core=core, bpb=bpb)) for n, (core, bpb) in numbers.items()]
    assert "Bits per byte and core-11 agree on every pair." in render_page(runs)


def test_page_warns_of_different_recipes(demo_run, tmp_path):
    first, second = (read_run(copy_run(demo_run, tmp_path / name, name)) for name in "ab")
    assert "recipes of the runs differ" not in render_page([first, second])
    second.results["signature"] = second.results["signature"].replace("|limit:all|", "|limit:4|")
    assert "recipes of the runs differ" in render_page([first, second])


def test_results_without_a_number_of_the_page_are_rejected(demo_run, tmp_path):
    older = copy_run(demo_run, tmp_path / "older", "older")
    with edit_results(older) as results:
        del results["core"]["ci95"]
    with pytest.raises(InputError, match="older: expected results.json as this version writes it: 'ci95' is missing"):
        render_page([read_run(older)])


def test_results_with_an_impossible_value_are_rejected(demo_run, tmp_path):
    other = copy_run(demo_run, tmp_path / "other", "other")
    with edit_results(other) as results:
        results["core"]["tasks"]["piqa"]["ci95"] = None
    with pytest.raises(InputError, match="other: expected results.json as this version writes it: "):
        render_page([read_run(other)])
