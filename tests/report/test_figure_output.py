"""Figures as files and inside the page."""

import re
import subprocess
import sys
import warnings

import pytest

from hf_core_bpb.report.figure_output import inline_svg, save_figure, save_figures
from hf_core_bpb.report.plotting import packer_figure, value_figure


def make_figure(name="model"):
    return value_figure({"chance": 8.0, name: 1.5}, name, "bits per byte", "{:.3g}")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files_of_the_same_figure_are_the_same(tmp_path, suffix):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_figure(make_figure(), tmp_path / folder / f"figure.{suffix}")
    assert (tmp_path / "a" / f"figure.{suffix}").read_bytes() == (tmp_path / "b" / f"figure.{suffix}").read_bytes()


def test_svg_files_have_text_as_text_and_no_date(tmp_path):
    save_figure(make_figure(), tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    assert ">model</text>" in text
    assert "<dc:date>" not in text


def test_figures_are_saved_as_png_by_name(tmp_path):
    paths = save_figures({"one": make_figure(), "a/b": make_figure()}, tmp_path / "new")
    assert [path.name for path in paths] == ["one.png", "a_b-c14cddc0.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_inline_svg_has_a_label_as_plain_text():
    svg = inline_svg(make_figure(), 'bits of "<b>"', "x")
    assert svg.startswith('<svg viewBox="0 0 576 ')
    assert 'role="img" aria-label="bits of &quot;&lt;b&gt;&quot;">' in svg


def test_inline_svg_escapes_names():
    svg = inline_svg(make_figure("<script>alert(1)</script>"), "label", "x")
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


def test_inline_svg_keeps_names_that_are_no_svg():
    """Quotes and ids in a name are text, dollar signs are no formula."""
    assert '>a$b$ id="q" style="fill:#0b6e99"</text>' in inline_svg(
        make_figure('a$b$ id="q" style="fill:#0b6e99"'), "label", "x"
    )


def test_inline_svg_refers_to_its_own_prefixed_ids():
    svg = inline_svg(packer_figure({"gzip": [(1.0, 2.0), (2.0, 1.0)]}), "label", "first")
    ids = set(re.findall(' id="([^"]*)"', svg))
    assert ids == set(re.findall('href="#([^"]*)"', svg))
    assert all(name.startswith("first-") for name in ids)


def test_points_share_the_style_of_their_group():
    svg = inline_svg(packer_figure({"gzip": [(1.0 + i / 100, 2.0) for i in range(1000)]}), "label", "x")
    assert svg.count("<use ") == 1000
    assert not re.search("<use [^>]*style", svg)
    assert svg.count("fill:var(--series-1)") == 1


def test_inline_svg_is_the_same_for_the_same_figure():
    assert inline_svg(make_figure(), "label", "x") == inline_svg(make_figure(), "label", "x")


def test_names_in_any_script_are_drawn_without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ">海</text>" in inline_svg(make_figure("海"), "label", "x")


@pytest.mark.slow
@pytest.mark.parametrize(
    "statements",
    ["import hf_core_bpb", "from hf_core_bpb.cli.main import main; sys.argv = ['x', '--help']; run(main)"],
    ids=["import", "help"],
)
def test_matplotlib_is_not_imported_before_it_is_needed(statements):
    script = f"""
import contextlib, sys

def run(main):
    with contextlib.suppress(SystemExit):
        main()

{statements}
assert "matplotlib" not in sys.modules
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.slow
def test_figures_do_not_need_pyplot():
    script = """
import sys
from hf_core_bpb.report import figure_output, plotting

figure = plotting.value_figure({"model": 1.5}, "model", "bits per byte", "{:.3g}")
figure_output.inline_svg(figure, "label", "x")
assert "matplotlib.pyplot" not in sys.modules
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
