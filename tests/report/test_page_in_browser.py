"""The page in a real browser, in both themes, on a phone and on a desktop."""

import shutil

import pytest
from support.saved_runs import copy_run

from hf_core_bpb.report.html import render_page
from hf_core_bpb.results.saved import read_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.slow

MARKUP = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def pages(demo_run, tmp_path_factory):
    """The page of the demo, and that of two runs."""
    folder = tmp_path_factory.mktemp("pages")
    runs = [read_run(demo_run), read_run(copy_run(demo_run, folder / "hostile", MARKUP))]
    (folder / "several.html").write_text(render_page(runs))
    return [demo_run / "report.html", folder / "several.html"]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request):
    return request.param


@pytest.fixture(params=[390, 1200], ids=["phone", "desktop"])
def width(request):
    return request.param


@pytest.fixture
def tab(browser, width, scheme):
    """A tab that has logged nothing, neither messages nor errors nor dialogs, when the test ends."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    messages = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: messages.append(dialog.message))
    yield page
    page.close()
    assert messages == []


def test_pages_do_not_scroll_sideways(tab, pages, width):
    for path in pages:
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") == width


def test_charts_have_bars_for_all_tasks(tab, pages):
    for path in pages:
        tab.goto(path.as_uri())
        chart = tab.get_by_role("img", name="Centered accuracy by task").first
        assert chart.locator("path").count() >= 11
        assert chart.get_by_text("arc_challenge").is_visible()


def test_samples_open_on_a_click(tab, pages):
    for path in pages:
        tab.goto(path.as_uri())
        tab.locator("details").first.locator("summary").click()
        assert tab.locator("details pre").first.is_visible()


def test_background_and_bars_follow_the_theme(tab, pages, scheme):
    tab.goto(pages[0].as_uri())
    background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]
    bar = tab.locator("svg path[style*='fill:var(--series-1)']").first
    fill = bar.evaluate("bar => getComputedStyle(bar).fill")
    assert fill == {"light": "rgb(11, 110, 153)", "dark": "rgb(74, 168, 208)"}[scheme]
