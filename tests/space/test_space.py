"""The calculators against the library's own functions, and the app around them in a real browser."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from hf_core_bpb.errors import InputError
from hf_core_bpb.formatting import read_count, read_number, show_count
from hf_core_bpb.metrics.core import core_score
from hf_core_bpb.scaling.laws import LAWS, RATIOS
from hf_core_bpb.space import bits, dashboard, planner

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
TEXT = "Any text at all, 海も空も. " * 20


@pytest.mark.parametrize(
    ("written", "value"),
    [("1e20", 1e20), ("1.3B", 1.3e9), (" 300 m ", 3e8), ("1,000", 1000.0), ("2_048", 2048.0), (".5", 0.5), ("", None)],
)
def test_numbers_are_read_as_people_write_them(written, value):
    assert read_number(written, "x") == value


@pytest.mark.parametrize("written", ["ten", "1e999", "1.2.3", "5 x", "--1", "nan", "3,1", "1,5000"])
def test_what_is_no_number_is_refused_in_words(written):
    with pytest.raises(InputError, match="x: expected a number such as 1e20, 1,000 or 1.3B, got"):
        read_number(written, "x")
    with pytest.raises(InputError, match="x: expected a whole number, got '1.5'"):
        read_count("1.5", "x")


def test_counts_are_shown_short():
    assert [show_count(value) for value in (950, 1.5e3, 2.34e9, 7e12)] == ["950", "1.5k", "2.34B", "7T"]


def test_the_bits_of_a_pasted_text_go_by_its_own_bytes():
    found = bits.calculate("total bits", 100.0, 20, 1, TEXT)
    assert found.quantities["bits per byte"] == pytest.approx(100 / len(TEXT.encode()))
    assert found.quantities["bits per character"] == pytest.approx(100 / len(TEXT))
    assert found.compressors["gzip"] > found.quantities["bits per byte"]
    assert bits.count_text(TEXT) == str(len(TEXT.encode()))
    with pytest.raises(InputError, match="text: expected characters that UTF-8 has bytes for"):
        bits.calculate("total bits", 100.0, 20, 1, "\ud800")


@pytest.mark.parametrize("law", planner.RULES)
def test_a_plan_is_that_of_the_law_by_its_own_count_of_parameters(law):
    made = planner.plan(planner.GIVEN[0], 1e20, None, law)
    best = (LAWS | RATIOS)[law].optimal(1e20)
    rows = {row[0]: row[1:] for row in made.rows}
    counts = {"total": "all parameters", "matmul": "weight matrices and head, no embeddings"}[made.rule.convention]
    assert rows[f"N ({counts})"][0] == show_count(best.parameters)
    assert rows["D (tokens)"][0] == show_count(best.tokens)
    assert counts in planner.counted(law)
    interval = rows["optimal N at this compute"][1]
    assert bool(interval) == (best.parameters_ci95 is not None)


def test_a_plan_warns_outside_of_what_its_law_was_fitted_on():
    assert planner.plan(planner.GIVEN[0], 1e20, None, "besiroglu-2024").warnings == []
    (warning,) = planner.plan(planner.GIVEN[1], 1e12, None, "besiroglu-2024").warnings
    assert warning.endswith(
        "lie outside of the 1e+18 to 1e+22 that besiroglu-2024 was fitted on: this is extrapolated."
    )


def test_lines_become_the_scores_of_the_library(shared):
    golden = json.loads((shared / "golden" / "core_published.json").read_text())["models"][1]
    lines = "\n".join(f"{name}\t{value}" for name, value in golden["accuracy"].items())
    scores = dashboard.read_lines(lines)
    assert (scores.core_by("v1"), scores.core_by("v2")) == (
        core_score(golden["accuracy"], "v1"), core_score(golden["accuracy"], "v2"),
    )  # fmt: skip
    assert dashboard.headline(scores).startswith(f"## CORE {golden['core_v1']:.4f} (v1), {golden['core_v2']:.4f} (v2)")
    assert dashboard.beside(scores)["yours"] == scores.core_by("v1")


def test_guessing_is_0_and_eleven_tasks_are_not_called_core():
    scores = dashboard.read_lines(dashboard.guessing("core-22"))
    assert scores.core_by("v1") == pytest.approx(0)
    eleven = dashboard.read_lines(dashboard.guessing("core-11"))
    assert "the mean of core-11, which is not CORE" in dashboard.headline(eleven)
    assert dashboard.beside(eleven) == {}
    assert dashboard.read_lines("'piqa'; 75 %").centered("v1") == {"piqa": 0.5}


def test_a_results_file_becomes_lines(tmp_path):
    content = json.dumps({"core": {"tasks": {"piqa": {"accuracy": 0.75}, "boolq": {"accuracy": 0.62}}}})
    assert dashboard.lines_of_results(content) == "piqa, 0.750000\nboolq, 0.620000"
    huge = '{"core": {"tasks": {"piqa": {"accuracy": ' + "9" * 400 + "}}}}"
    for wrong in (
        "[]",
        "[" * 200_000,
        huge,
        '{"core": {"tasks": {}}}',
        '{"core": {"tasks": {"piqa": {"accuracy": NaN}}}}',
    ):
        with pytest.raises(InputError):
            dashboard.lines_of_results(wrong)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("piqa", "line 1: expected a task and its accuracy, got 'piqa'"),
        ("\npiqa, high", "line 2: expected a number for piqa, got 'high'"),
        ("piqa 0.5\npiqa 0.6", "line 2: expected each task once, got piqa again"),
        ("piqa 71.2", "expected fractions from 0 to 1, got 71.2 for piqa"),
        ("", "accuracies: expected tasks of .*, got none"),
    ],
)
def test_lines_that_do_not_fit_are_refused_by_number(lines, message):
    with pytest.raises(InputError, match=message):
        dashboard.read_lines(lines)


def test_published_cores_are_those_of_the_golden_accuracies(shared):
    """Where a published model's accuracies are known, the CORE shown beside it is theirs to its last digit."""
    known = {row["model"]: row for row in json.loads((shared / "golden" / "core_published.json").read_text())["models"]}
    shown = {row.model: row for row in dashboard.read_published()}
    pairs = {"GPT-2 XL (1.6B)": "gpt2-xl", "GPT-2 (124M)": "gpt2"}
    for name, golden in pairs.items():
        held = [row for model, row in known.items() if model.endswith(golden)]
        for row in held:
            assert shown[name].v1 == pytest.approx(row["core_v1"], abs=5e-5)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def spaces(pytestconfig):
    """Both Spaces' apps, started as the Hub starts them."""
    started = {}
    for metric in ("bpb", "core"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
        folder = pytestconfig.rootpath / "metric_cards" / metric
        process = subprocess.Popen(
            [sys.executable, "-P", "app.py"], cwd=folder, env=os.environ | environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        started[metric] = (process, f"http://127.0.0.1:{port}/")
    for process, address in started.values():
        _wait_for(process, address)
    yield {metric: address for metric, (_, address) in started.items()}
    for process, _ in started.values():
        process.terminate()
        process.wait()


def _wait_for(process, address):
    for _ in range(600):
        try:
            urllib.request.urlopen(address, timeout=5).read()
        except OSError:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"no answer at {address}")


@pytest.fixture
def open_page(browser, spaces):
    pages = []

    def open_one(metric):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.complaints = []
        page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(spaces[metric], wait_until="domcontentloaded")
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        assert page.complaints == []
        page.close()


def shown(page, text):
    """Wait until the page shows a text."""
    page.get_by_text(re.compile(text)).filter(visible=True).first.wait_for()


def test_the_bits_tab_computes_counts_pasted_bytes_and_says_what_does_not_fit(open_page):
    page = open_page("bpb")
    shown(page, r"^0\.9\d+ bits per byte$")
    page.get_by_label("Text (its bytes").fill("海 a")
    bytes_field = page.get_by_label("UTF-8 bytes")
    page.wait_for_function("field => field.value === '5' && field.disabled", arg=bytes_field.element_handle())
    page.get_by_label("Its value").filter(visible=True).fill("1.1666666667")
    page.get_by_label("Tokens scored").fill("3")
    page.get_by_role("button", name="Calculate").click()
    shown(page, r"^1\.0099 bits per byte$")
    shown(page, r"^3\.21127$")
    page.get_by_label("Tokens scored").fill("three")
    page.get_by_role("button", name="Calculate").click()
    shown(page, "That does not fit")
    shown(page, "tokens: expected a number such as 1e20, 1,000 or 1.3B, got 'three'")
    assert "Traceback" not in page.content()


def test_the_planner_tab_computes_draws_and_warns_of_what_is_extrapolated(open_page):
    page = open_page("bpb")
    page.get_by_role("tab", name="Compute planner").click()
    best = LAWS["besiroglu-2024"].optimal(1e20)
    shown(page, f"^{show_count(best.parameters)}$")
    page.get_by_label("Its value (1e20").fill("1e25")
    page.get_by_role("button", name="Plan").click()
    shown(page, "was fitted on: this is extrapolated")
    shown(page, f"^{show_count(LAWS['besiroglu-2024'].optimal(1e25).parameters)}$")
    picture = page.locator("img").filter(visible=True).first
    assert picture.evaluate("image => image.naturalWidth") > 400
    page.get_by_label("By which law").click()
    page.get_by_role("option", name="nanochat").click()
    shown(page, "N counts weight matrices and head, no embeddings")
    page.get_by_role("button", name="Plan").click()
    shown(page, "nanochat is a ratio, not a law")
    page.get_by_label("Its value (1e20").fill("-1")
    page.get_by_role("button", name="Plan").click()
    shown(page, r"compute \(FLOPs\): expected a number above 0 and below 1e40, got -1")
    assert "Traceback" not in page.content()


def test_the_core_tab_is_first_in_its_space_scores_and_says_what_does_not_fit(open_page, tmp_path):
    page = open_page("core")
    shown(page, r"^CORE -?0\.0000 \(v1\), -0\.0281 \(v2\)$")
    lines = page.get_by_label("One task a line")
    lines.fill("arc_easy 0.5\npiqa 75%")
    page.get_by_role("button", name="Score").click()
    shown(page, r"^0\.4167 \(v1\), 0\.4167 \(v2\)$")
    shown(page, "the mean of 2 tasks, which is not CORE")
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"core": {"tasks": {"boolq": {"accuracy": 0.81}}}}))
    page.locator("input[type=file][accept='.json']").set_input_files(str(path))
    page.wait_for_function("field => field.value === 'boolq, 0.810000'", arg=lines.element_handle())
    page.get_by_role("button", name="Score").click()
    shown(page, r"^0\.5000 \(v1\), 0\.5000 \(v2\)$")
    lines.fill("boolq 81")
    page.get_by_role("button", name="Score").click()
    shown(page, "expected fractions from 0 to 1, got 81.0 for boolq")
    assert "Traceback" not in page.content()


def test_no_formula_lives_in_a_space(pytestconfig):
    for metric in ("bpb", "core"):
        source = Path(pytestconfig.rootpath / "metric_cards" / metric / "app.py").read_text()
        assert not re.search(r"math|numpy|log|[*/+]\s*\d", source.partition('"""\n')[2])
