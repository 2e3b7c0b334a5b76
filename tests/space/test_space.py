"""The calculators against the functions of the library, and the app in a browser."""

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
def test_numbers_are_read_with_units_and_separators(written, value):
    assert read_number(written, "x") == value


@pytest.mark.parametrize("written", ["ten", "1e999", "1.2.3", "5 x", "--1", "nan", "3,1", "1,5000"])
def test_text_that_is_no_number_is_rejected(written):
    with pytest.raises(InputError, match="x: expected a number such as 1e20, 1,000 or 1.3B, got"):
        read_number(written, "x")


def test_a_fraction_is_rejected_as_a_count():
    with pytest.raises(InputError, match="x: expected a whole number, got '1.5'"):
        read_count("1.5", "x")


def test_counts_are_shown_with_units():
    assert [show_count(value) for value in (950, 1.5e3, 2.34e9, 7e12)] == ["950", "1.5k", "2.34B", "7T"]


def test_a_count_that_rounds_to_the_next_unit_is_shown_with_it():
    assert [show_count(value) for value in (999.4e6, 999.5e6, 1e9 - 1e-4)] == ["999M", "1B", "1B"]


def test_a_pasted_text_determines_its_bytes_and_characters():
    result = bits.calculate("total bits", 100.0, 20, 1, TEXT)
    assert result.quantities["bits per byte"] == pytest.approx(100 / len(TEXT.encode()))
    assert result.quantities["bits per character"] == pytest.approx(100 / len(TEXT))
    assert result.compressors["gzip"] > result.quantities["bits per byte"]
    assert bits.count_text(TEXT) == str(len(TEXT.encode()))


def test_a_text_that_utf8_cannot_encode_is_rejected():
    with pytest.raises(InputError, match="text: expected characters that UTF-8 can encode"):
        bits.calculate("total bits", 100.0, 20, 1, "\ud800")


@pytest.mark.parametrize("law", planner.RULES)
def test_a_plan_is_the_optimum_of_the_law_by_its_convention(law):
    tables = planner.plan(planner.QUANTITIES[0], 1e20, None, law)
    best = (LAWS | RATIOS)[law].optimal(1e20)
    rows = {row[0]: row[1:] for row in tables.rows}
    counts = {"total": "all parameters", "matmul": "weight matrices and head, no embeddings"}[tables.rule.convention]
    assert rows[f"N ({counts})"][0] == show_count(best.parameters)
    assert rows["D (tokens)"][0] == show_count(best.tokens)
    assert counts in planner.describe_rule(law)
    interval = rows["optimal N at this compute"][1]
    assert bool(interval) == (best.parameters_ci95 is not None)


def test_a_plan_outside_the_fitted_budgets_has_a_warning():
    assert planner.plan(planner.QUANTITIES[0], 1e20, None, "besiroglu-2024").warnings == []
    (warning,) = planner.plan(planner.QUANTITIES[1], 1e12, None, "besiroglu-2024").warnings
    assert warning.endswith(
        "are outside the 1e+18 to 1e+22 that besiroglu-2024 was fitted on: this is an extrapolation."
    )


def test_lines_are_scored_by_the_library(shared):
    golden = json.loads((shared / "golden" / "core_published.json").read_text())["models"][1]
    lines = "\n".join(f"{name}\t{value}" for name, value in golden["accuracy"].items())
    scores = dashboard.read_lines(lines)
    assert (scores.core_by("v1"), scores.core_by("v2")) == (
        core_score(golden["accuracy"], "v1"), core_score(golden["accuracy"], "v2"),
    )  # fmt: skip
    assert dashboard.headline(scores).startswith(f"## CORE {golden['core_v1']:.4f} (v1), {golden['core_v2']:.4f} (v2)")
    assert dashboard.compare_with_published(scores)["yours"] == scores.core_by("v1")


def test_random_baselines_have_a_core_of_0():
    scores = dashboard.read_lines(dashboard.baseline_lines("core-22"))
    assert scores.core_by("v1") == pytest.approx(0)


def test_eleven_tasks_are_not_called_core():
    scores = dashboard.read_lines(dashboard.baseline_lines("core-11"))
    assert "the mean of core-11, not CORE" in dashboard.headline(scores)
    assert dashboard.compare_with_published(scores) == {}


def test_lines_may_have_quotes_separators_and_percentages():
    assert dashboard.read_lines("'piqa'; 75 %").centered("v1") == {"piqa": 0.5}


def test_a_results_file_becomes_lines():
    content = json.dumps({"core": {"tasks": {"piqa": {"accuracy": 0.75}, "boolq": {"accuracy": 0.62}}}})
    assert dashboard.lines_from_results(content) == "piqa, 0.750000\nboolq, 0.620000"


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "[" * 200_000,
        '{"core": {"tasks": {"piqa": {"accuracy": ' + "9" * 400 + "}}}}",
        '{"core": {"tasks": {}}}',
        '{"core": {"tasks": {"piqa": {"accuracy": NaN}}}}',
    ],
    ids=["list", "deep", "huge", "empty", "nan"],
)
def test_other_json_is_rejected_as_results(content):
    with pytest.raises(InputError, match="results.json: expected the accuracies of CORE tasks, got something else"):
        dashboard.lines_from_results(content)


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
def test_invalid_lines_are_rejected_with_their_number(lines, message):
    with pytest.raises(InputError, match=message):
        dashboard.read_lines(lines)


def test_published_cores_match_the_published_accuracies(shared):
    golden = json.loads((shared / "golden" / "core_published.json").read_text())["models"]
    published = {row.model: row for row in dashboard.read_published()}
    names = {"GPT-2 XL (1.6B)": "gpt2-xl", "GPT-2 (124M)": "gpt2"}
    for name, suffix in names.items():
        for row in golden:
            if row["model"].endswith(suffix):
                assert published[name].v1 == pytest.approx(row["core_v1"], abs=5e-5)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def spaces(pytestconfig):
    """Start the apps of both Spaces as the Hub does."""
    servers = {}
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
        servers[metric] = (process, f"http://127.0.0.1:{port}/")
    for process, address in servers.values():
        _wait_for(process, address)
    yield {metric: address for metric, (_, address) in servers.items()}
    for process, _ in servers.values():
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

    def open_space(metric):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(60_000)
        page.errors = []
        page.on("console", lambda line: page.errors.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(spaces[metric], wait_until="domcontentloaded")
        pages.append(page)
        return page

    yield open_space
    for page in pages:
        assert page.errors == []
        page.close()


def wait_for_text(page, text):
    """Wait until the page shows a text."""
    page.get_by_text(re.compile(text)).filter(visible=True).first.wait_for()


@pytest.mark.slow
def test_the_bits_tab_counts_pasted_bytes_computes_and_shows_errors(open_page):
    page = open_page("bpb")
    wait_for_text(page, r"^0\.9\d+ bits per byte$")
    page.get_by_label("Text (its bytes").fill("海 a")
    bytes_field = page.get_by_label("UTF-8 bytes")
    page.wait_for_function("field => field.value === '5' && field.disabled", arg=bytes_field.element_handle())
    page.get_by_label("Its value").filter(visible=True).fill("1.1666666667")
    page.get_by_label("Tokens scored").fill("3")
    page.get_by_role("button", name="Calculate").click()
    wait_for_text(page, r"^1\.0099 bits per byte$")
    wait_for_text(page, r"^3\.21127$")
    page.get_by_label("Tokens scored").fill("three")
    page.get_by_role("button", name="Calculate").click()
    wait_for_text(page, "Invalid input")
    wait_for_text(page, "tokens: expected a number such as 1e20, 1,000 or 1.3B, got 'three'")
    assert "Traceback" not in page.content()


@pytest.mark.slow
def test_the_planner_tab_computes_plots_and_warns_of_extrapolation(open_page):
    page = open_page("bpb")
    page.get_by_role("tab", name="Compute planner").click()
    best = LAWS["besiroglu-2024"].optimal(1e20)
    wait_for_text(page, f"^{show_count(best.parameters)}$")
    page.get_by_label("Its value (1e20").fill("1e25")
    page.get_by_role("button", name="Plan").click()
    wait_for_text(page, "was fitted on: this is an extrapolation")
    wait_for_text(page, f"^{show_count(LAWS['besiroglu-2024'].optimal(1e25).parameters)}$")
    plot = page.locator("img").filter(visible=True).first
    assert plot.evaluate("image => image.naturalWidth") > 400
    page.get_by_label("Scaling law").click()
    page.get_by_role("option", name="nanochat").click()
    wait_for_text(page, "N counts weight matrices and head, no embeddings")
    page.get_by_role("button", name="Plan").click()
    wait_for_text(page, "nanochat is a ratio, not a law")
    page.get_by_label("Its value (1e20").fill("-1")
    page.get_by_role("button", name="Plan").click()
    wait_for_text(page, r"compute \(FLOPs\): expected a number above 0 and below 1e40, got -1")
    assert "Traceback" not in page.content()


@pytest.mark.slow
def test_the_core_tab_opens_first_in_its_space_scores_and_shows_errors(open_page, tmp_path):
    page = open_page("core")
    wait_for_text(page, r"^CORE -?0\.0000 \(v1\), -0\.0281 \(v2\)$")
    lines = page.get_by_label("One task per line")
    lines.fill("arc_easy 0.5\npiqa 75%")
    page.get_by_role("button", name="Score").click()
    wait_for_text(page, r"^0\.4167 \(v1\), 0\.4167 \(v2\)$")
    wait_for_text(page, "the mean of 2 tasks, not CORE")
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"core": {"tasks": {"boolq": {"accuracy": 0.81}}}}))
    page.locator("input[type=file][accept='.json']").set_input_files(str(path))
    page.wait_for_function("field => field.value === 'boolq, 0.810000'", arg=lines.element_handle())
    page.get_by_role("button", name="Score").click()
    wait_for_text(page, r"^0\.5000 \(v1\), 0\.5000 \(v2\)$")
    lines.fill("boolq 81")
    page.get_by_role("button", name="Score").click()
    wait_for_text(page, "expected fractions from 0 to 1, got 81.0 for boolq")
    assert "Traceback" not in page.content()


def test_the_apps_of_the_spaces_contain_no_formula(pytestconfig):
    for metric in ("bpb", "core"):
        source = Path(pytestconfig.rootpath / "metric_cards" / metric / "app.py").read_text()
        assert not re.search(r"math|numpy|log|[*/+]\s*\d", source.partition('"""\n')[2])
