"""What the figures draw: values, intervals and labels."""

import dataclasses
import math
import warnings

import pytest
from matplotlib.collections import LineCollection
from support.saved_runs import copy_run
from support.scaling_runs import make_runs

from hf_core_bpb.formatting import show_count
from hf_core_bpb.metrics.paired import Difference
from hf_core_bpb.report.figure_parts import ACCENT, MUTED, SERIES, plain_text
from hf_core_bpb.report.plotting import (
    comparison_figure,
    document_figure,
    loss_figure,
    packer_figure,
    relation_figure,
    report_figures,
    scaling_figures,
    task_figure,
    text_figure,
    value_figure,
)
from hf_core_bpb.report.relations import Relation
from hf_core_bpb.results.compare import Comparison
from hf_core_bpb.results.saved import SavedRun, read_run
from hf_core_bpb.scaling.curves import fit_frontier, fit_isoflops
from hf_core_bpb.scaling.fit import fit_parametric
from hf_core_bpb.scaling.laws import find_rule
from hf_core_bpb.scaling.plan import PlanInputs, make_plan


@pytest.fixture(scope="module")
def run(demo_run):
    return read_run(demo_run)


def texts_of(axes):
    return [text.get_text() for text in axes.texts]


def intervals_of(axes):
    """The ends of the intervals that are drawn, by row."""
    (lines,) = [collection for collection in axes.collections if isinstance(collection, LineCollection)]
    return [(begin[0], end[0]) for begin, end in lines.get_segments()]


def test_bars_of_tasks_are_as_long_as_their_centered_accuracies(run):
    (axes,) = task_figure([run]).axes
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == pytest.approx([task["centered"] for task in run.results["core"]["tasks"].values()])


def test_intervals_of_tasks_are_centered(run):
    (axes,) = task_figure([run]).axes
    for ends, task in zip(intervals_of(axes), run.results["core"]["tasks"].values(), strict=True):
        centered = [(share - task["random_baseline"]) / (1 - task["random_baseline"]) for share in task["ci95"]]
        assert ends == pytest.approx(centered)


def test_rows_of_tasks_are_named_and_have_their_values_beside_them(run):
    (axes,) = task_figure([run]).axes
    tasks = run.results["core"]["tasks"]
    expected = [*(f"{task['centered']:+.3f}" for task in tasks.values()), *tasks]
    assert texts_of(axes) == expected


def test_bars_of_several_runs_have_colours_and_a_legend(run, demo_run, tmp_path):
    other = read_run(copy_run(demo_run, tmp_path / "other", "other"))
    figure = task_figure([run, other])
    (axes,) = figure.axes
    assert len(axes.patches) == 22
    assert [text.get_text() for text in figure.legends[0].texts] == [plain_text(run.name), "other"]


def test_runs_without_tasks_have_no_entry_in_the_legend(run, demo_run, tmp_path):
    other = read_run(copy_run(demo_run, tmp_path / "other", "other"))
    figure = task_figure([run, dataclasses.replace(other, items={})])
    assert [text.get_text() for text in figure.legends[0].texts] == [plain_text(run.name)]


def test_bars_of_texts_are_as_long_as_their_bits_per_byte(run):
    (axes,) = text_figure([run]).axes
    assert [bar.get_width() for bar in axes.patches] == [text["bpb"] for text in run.results["bpb"].values()]


def test_compressors_are_markers_in_the_rows_of_their_texts(run):
    (axes,) = text_figure([run]).axes
    markers = {line.get_label(): line for line in axes.lines}
    texts = run.results["bpb"].values()
    for packer in ("gzip", "bzip2", "xz"):
        assert list(markers[packer].get_xdata()) == [text["compressors"][packer] for text in texts]
        assert list(markers[packer].get_ydata()) == [0, 1]


def test_a_run_without_texts_has_a_figure_of_tasks_alone(run):
    results = {name: value for name, value in run.results.items() if name != "bpb"}
    assert list(report_figures([SavedRun(run.folder, results, run.items, {}, [])])) == ["tasks"]


def test_values_are_bars_from_bottom_to_top_with_one_highlighted():
    (axes,) = value_figure({"chance": 8.0, "model": 1.5}, "model", "bits per byte", "{:.3g}").axes
    assert [bar.get_width() for bar in axes.patches] == [1.5, 8.0]
    assert axes.get_ylim() == (1.5, -0.5)
    assert [tuple(bar.get_facecolor()) for bar in axes.patches] == [rgba(ACCENT), rgba(MUTED)]


def rgba(colour):
    return (*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0)


def difference(name, value, ci95):
    return Difference(name, 0.5, 0.5 + value, value, ci95, 0.5)


@pytest.fixture
def comparisons(run, demo_run, tmp_path):
    """Two runs compared with the demo: two tasks, CORE and a text."""
    others = [read_run(copy_run(demo_run, tmp_path / name, name)) for name in ("one", "two")]
    return [
        Comparison(
            run, other, difference("core-11", 0.1 * sign, (0.0, 0.2)),
            [difference("boolq", 0.2 * sign, (-0.1, 0.5)), difference("piqa", 0.0, (-0.3, 0.3))],
            [difference("notes", -0.4 * sign, None)], [],
        )
        for other, sign in zip(others, (1, -1), strict=True)
    ]  # fmt: skip


def test_differences_are_points_at_their_values_in_a_panel_of_scores_and_one_of_texts(comparisons):
    scores, texts = comparison_figure(comparisons[:1]).axes
    assert [list(line.get_xdata()) for line in scores.lines if line.get_marker() == "o"] == [[0.2, 0.0, 0.1]]
    assert [list(line.get_xdata()) for line in texts.lines if line.get_marker() == "o"] == [[-0.4]]


def test_differences_have_their_intervals(comparisons):
    scores, texts = comparison_figure(comparisons[:1]).axes
    assert intervals_of(scores) == [(-0.1, 0.5), (-0.3, 0.3), (0.0, 0.2)]
    # An unknown interval is not drawn.
    assert not texts.collections


def test_runs_of_a_comparison_have_colours_and_a_legend(comparisons):
    figure = comparison_figure(comparisons)
    assert [text.get_text() for text in figure.legends[0].texts] == ["one", "two"]
    assert [line.get_color() for line in figure.axes[0].lines if line.get_marker() == "o"] == list(SERIES[:2])


def test_a_comparison_of_scores_alone_has_one_panel(comparisons):
    (comparison, _) = comparisons
    figure = comparison_figure([Comparison(comparison.before, comparison.after, comparison.core, [], [], [])])
    assert len(figure.axes) == 1


def relation(points, show_x):
    return Relation("name", "title", "parameters", "CORE", points, show_x, "")


def test_powers_of_ten_are_equally_far_apart_on_a_logarithmic_axis():
    figure = relation_figure(relation([("a", 1e6, 0.1), ("b", 1e7, 0.2), ("c", 1e8, 0.3)], show_count))
    (axes,) = figure.axes
    first, second, third = (axes.transData.transform(line.get_xydata()[0])[0] for line in axes.lines)
    assert third - second == pytest.approx(second - first)


def test_ticks_of_a_logarithmic_axis_are_short_counts():
    (axes,) = relation_figure(relation([("a", 1e6, 0.1), ("b", 1e8, 0.3)], show_count)).axes
    assert {"1M", "10M", "100M"} <= {text.get_text() for text in axes.get_xticklabels()}


def test_points_of_a_relation_are_named():
    (axes,) = relation_figure(relation([("a", 1.0, 0.1), ("b", 1.5, 0.3)], None)).axes
    assert texts_of(axes) == ["a", "b"]
    assert axes.get_xscale() == "linear"


@pytest.mark.parametrize("show_x", [None, show_count])
def test_equal_runs_have_a_relation(show_x):
    (axes,) = relation_figure(relation([("a", 1e6, 0.1), ("b", 1e6, 0.1)], show_x)).axes
    assert len(axes.lines) == 2


def test_histogram_counts_every_document():
    bits = [1.0, 1.1, 1.1, 2.0]
    (axes,) = document_figure(bits, [("model", 1.2), ("gzip", 3.0)]).axes
    (steps,) = axes.patches
    assert sum(steps.get_data().values) == len(bits)


def test_histogram_marks_the_model_and_compressors():
    figure = document_figure([1.0, 2.0], [("model", 1.2), ("gzip", 3.0)])
    assert [line.get_xdata()[0] for line in figure.axes[0].lines] == [1.2, 3.0]
    assert [text.get_text() for text in figure.legends[0].texts] == ["model 1.20", "gzip 3.00"]


def test_documents_that_the_model_compresses_better_lie_below_the_line():
    (axes,) = packer_figure({"gzip": [(3.0, 1.0), (2.0, 2.5)]}).axes
    line, points = axes.lines
    assert list(line.get_xdata()) == list(line.get_ydata()) == [1.0, 3.0]
    assert points.get_xydata().tolist() == [[3.0, 1.0], [2.0, 2.5]]
    assert axes.get_aspect() == 1


def test_many_documents_are_thinned_out():
    (axes,) = packer_figure({"gzip": [(i, i + 1) for i in range(10_000)]}).axes
    assert len(axes.lines[1].get_xdata()) == 2_000


def test_loss_figure_marks_the_plan_at_its_loss():
    law = find_rule("besiroglu-2024")
    plan = make_plan(PlanInputs(flops=1e20, parameters=2e9), law)
    (axes,) = loss_figure(law, plan).axes
    (point,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert point.get_xydata().tolist() == [[plan.parameters, law.loss(plan.parameters, plan.tokens)]]


def test_loss_figure_names_the_budgets_of_its_curves():
    law = find_rule("besiroglu-2024")
    (axes,) = loss_figure(law, make_plan(PlanInputs(flops=1e20), law)).axes
    assert texts_of(axes) == ["1e19 FLOPs", "1e21 FLOPs", "1e20 FLOPs"]


@pytest.fixture(scope="module")
def fit():
    return fit_parametric(make_runs(0.001), bootstraps=3)


@pytest.fixture(scope="module")
def fit_figures(fit):
    isoflops = fit_isoflops(fit.runs, fit.coefficients)
    return scaling_figures(fit, isoflops, fit_frontier(fit.runs, 3, 1234), "nats per token")


def test_a_fit_has_four_figures(fit_figures):
    assert list(fit_figures) == ["fit", "residuals", "isoflop", "frontier"]


def test_fit_figure_shows_predicted_and_observed_losses(fit, fit_figures):
    points = fit_figures["fit"].axes[0].collections[0].get_offsets()
    expected = [(fit.coefficients.loss(run.parameters, run.tokens), run.loss) for run in fit.runs]
    assert points.tolist() == [pytest.approx(pair) for pair in expected]


def test_residual_figure_shows_percentages_over_compute(fit, fit_figures):
    points = fit_figures["residuals"].axes[0].collections[0].get_offsets()
    expected = [(run.flops, 100 * (math.exp(r) - 1)) for run, r in zip(fit.runs, fit.residuals, strict=True)]
    assert points.tolist() == [pytest.approx(pair) for pair in expected]


def test_isoflop_figure_has_points_and_a_curve_for_each_budget(fit_figures):
    lines = fit_figures["isoflop"].axes[0].lines
    assert sum(len(line.get_xdata()) for line in lines if line.get_marker() == "o") == 45
    assert sum(len(line.get_xdata()) == 100 for line in lines) == 5


def test_frontier_figure_names_its_curves(fit_figures):
    (axes,) = fit_figures["frontier"].axes
    assert [text.get_text() for text in axes.get_legend().texts] == [
        "runs", "best run at each budget", "L(C), through the best runs", "L(N*, D*), optimum of the fitted law",
    ]  # fmt: skip


def test_runs_of_one_budget_have_figures(fit):
    one = dataclasses.replace(fit, runs=fit.runs[:9], residuals=fit.residuals[:9], outliers=())
    figures = scaling_figures(one, fit_isoflops(one.runs, one.coefficients), None, "nats per token")
    assert list(figures) == ["fit", "residuals", "isoflop"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures.values():
            figure.canvas.draw()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a/b_c^d", "a/b_c^d"),
        ("costs $5", r"costs \$5"),
        ("x" * 50, "..." + "x" * 40),
        ("a\x1b\n\ud800b", "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_names_are_plain_text(name, text):
    assert plain_text(name) == text
