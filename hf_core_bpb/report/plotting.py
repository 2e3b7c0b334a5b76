"""Every chart as a matplotlib Figure: of runs, comparisons, scaling fits and calculators (pure)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hf_core_bpb.formatting import show_count, show_flops
from hf_core_bpb.metrics.centering import centered_accuracy
from hf_core_bpb.report.figure_parts import (
    ACCENT,
    CONTRAST,
    INK,
    MUTED,
    SERIES,
    SOFT,
    Estimate,
    add_legend,
    bar_chart,
    draw_intervals,
    label_axes,
    label_rows,
    label_width,
    legend_height,
    log_x,
    new_figure,
    offset,
    plain_text,
    row_names,
)
from hf_core_bpb.report.relations import Relation, relations_of
from hf_core_bpb.results.saved import SavedRun

# Types alone: the page does not need scipy, which these import.
if TYPE_CHECKING:
    from hf_core_bpb.metrics.paired import Difference
    from hf_core_bpb.results.compare import Comparison
    from hf_core_bpb.scaling.curves import Frontier, IsoFlops
    from hf_core_bpb.scaling.fit import ParametricFit
    from hf_core_bpb.scaling.laws import Law
    from hf_core_bpb.scaling.plan import Plan

_MAX_POINTS, _NUM_BINS = 2000, 40
_COMPUTE = "training compute (FLOPs, 6 N D)"


def report_figures(runs: Sequence[SavedRun]) -> dict[str, Figure]:
    """Return the figures of one run or several by name: tasks, texts, and relations between their numbers."""
    figures = {}
    if any(run.items for run in runs):
        figures["tasks"] = task_figure(runs)
    if any(run.documents for run in runs):
        figures["bits-per-byte"] = text_figure(runs)
    return figures | {relation.name: relation_figure(relation) for relation in relations_of(runs)}


def task_figure(runs: Sequence[SavedRun]) -> Figure:
    """Return bars of the centered accuracy by task and run, with 95% intervals."""
    series = [(run.name, {name: _centered(run.results["core"]["tasks"][name]) for name in run.items}) for run in runs]
    figure, _ = bar_chart(series, "centered accuracy: 0 is chance, 1 is perfect (lines: 95% intervals)", "{:+.3f}")
    return figure


def _centered(task: Mapping[str, Any]) -> Estimate:
    low, high = (centered_accuracy(end, task["random_baseline"]) for end in task["ci95"])
    return Estimate(task["centered"], (low, high))


def text_figure(runs: Sequence[SavedRun]) -> Figure:
    """Return bars of the bits per byte by text and run, with 95% intervals, and compressors as markers."""
    texts = {name: run.results["bpb"][name] for run in reversed(runs) for name in run.documents}
    series = [(run.name, {name: _bits(run.results["bpb"][name]) for name in run.documents}) for run in runs]
    compressors = list(dict.fromkeys(packer for text in texts.values() for packer in text["compressors"]))
    label = "bits per byte, lower is better (lines: 95% intervals)"
    figure, axes = bar_chart(series, label, "{:.4f}", references=compressors)
    for packer, marker in zip(compressors, "osD^v", strict=False):
        bits = [texts[name]["compressors"].get(packer, math.nan) for name in row_names(series)]
        axes.plot(bits, range(len(bits)), marker, color=INK, markerfacecolor="white", label=packer)
    if compressors:
        add_legend(figure, axes)
    return figure


def _bits(text: Mapping[str, Any]) -> Estimate:
    return Estimate(text["bpb"], text["ci95"])


def value_figure(values: Mapping[str, float], highlighted: str, label: str, shown: str) -> Figure:
    """Return bars of values by name, the first at the bottom, with one highlighted; `shown` is their format."""
    bars = {name: Estimate(values[name]) for name in list(values)[::-1]}
    colours = [ACCENT if name == highlighted else MUTED for name in bars]
    return bar_chart([("", bars)], label, shown, colours=[colours])[0]


def comparison_figure(comparisons: Sequence[Comparison]) -> Figure:
    """Return the differences from the first run by task and text, with 95% intervals and a colour for each run."""
    rows = {
        "accuracy and CORE, higher is better": [[*c.tasks, *([c.core] if c.core else [])] for c in comparisons],
        "bits per byte, lower is better": [c.texts for c in comparisons],
    }
    panels = {label: by_run for label, by_run in rows.items() if by_run[0]}
    names = [plain_text(c.after.name) for c in comparisons]
    before = plain_text(comparisons[0].before.name)
    legend = names if len(names) > 1 else []
    left = label_width([row.name for by_run in panels.values() for row in by_run[0]])
    heights = [0.32 * (len(by_run[0]) + 1) for by_run in panels.values()]
    figure, grid = new_figure(heights, left=left, top=0.3 + legend_height(legend))
    for axes, (label, by_run) in zip(grid, panels.items(), strict=True):
        _draw_differences(axes, by_run, names)
        label_axes(axes, f"difference in {label} (lines: 95% intervals)")
    title = f"{names[0]} minus {before}" if len(names) == 1 else f"Differences from {before}"
    figure.text(0.01, 1 - 0.2 / figure.get_figheight(), title, va="center", fontsize="large", color=INK)
    if legend:
        add_legend(figure, grid[0], below=0.3)
    return figure


def _draw_differences(axes: Axes, by_run: Sequence[Sequence[Difference]], names: Sequence[str]) -> None:
    for number, (differences, name) in enumerate(zip(by_run, names, strict=True)):
        rows = [row + offset(number, len(by_run), 0.5) for row in range(len(differences))]
        colour = SERIES[number % len(SERIES)]
        draw_intervals(axes, rows, [row.ci95 for row in differences], colour)
        axes.plot([row.difference for row in differences], rows, "o", color=colour, markersize=5, label=name)
    label_rows(axes, [row.name for row in by_run[0]])


def relation_figure(relation: Relation) -> Figure:
    """Return the named points of a relation, a colour for each."""
    figure, (axes,) = new_figure([3.6], left=0.9)
    xs = [x for _, x, _ in relation.points]
    scale: Callable[[float], float] = float if relation.show_x is None else math.log10
    middle = (scale(min(xs)) + scale(max(xs))) / 2
    for number, (name, x, y) in enumerate(relation.points):
        axes.plot([x], [y], "o", color=SERIES[number % len(SERIES)])
        side, shift = ("left", 6) if scale(x) <= middle else ("right", -6)
        axes.annotate(plain_text(name), (x, y), xytext=(shift, 5), textcoords="offset points", ha=side, color=INK)
    axes.margins(0.12, 0.15)
    if relation.show_x is not None:
        log_x(axes, xs, relation.show_x)
    label_axes(axes, plain_text(relation.x_label), plain_text(relation.y_label))
    return figure


def document_figure(bits: Sequence[float], whole: Sequence[tuple[str, float]]) -> Figure:
    """Return the histogram of documents' bits per byte.

    whole: bits per byte of all documents together by the model and by compressors, drawn as lines.
    """
    names = [f"{plain_text(name)} {value:.2f}" for name, value in whole]
    figure, (axes,) = new_figure([1.9], left=0.7, top=legend_height(names))
    ends = [*bits, *(value for _, value in whole)]
    counts, edges = np.histogram(bits, bins=_NUM_BINS, range=(min(ends), max(ends)))
    axes.stairs(counts, edges, fill=True, color=ACCENT)
    for number, (name, (_, value)) in enumerate(zip(names, whole, strict=True)):
        colour, style = (INK, ("dashed", "dotted", "dashdot")[number % 3 - 1]) if number else (CONTRAST, "solid")
        axes.axvline(value, color=colour, linestyle=style, label=name)
    label_axes(axes, "bits per byte of a document (lines: all documents together)", "documents")
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    add_legend(figure, axes)
    return figure


def packer_figure(pairs_by_packer: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Return documents' bits per byte by compressor (x) and by model (y), at most 2,000, and the line of equality."""
    figure, grid = new_figure([3.1], num_columns=len(pairs_by_packer), left=0.7)
    for axes, (packer, pairs) in zip(grid, pairs_by_packer.items(), strict=True):
        points = pairs[:: -(-len(pairs) // _MAX_POINTS)]
        ends = [min(map(min, points)), max(map(max, points))]
        axes.plot(ends, ends, color=SOFT, linewidth=1)
        xs, ys = zip(*points, strict=True)
        axes.plot(xs, ys, "o", color=ACCENT, alpha=0.6, markersize=4, markeredgewidth=0)
        axes.set_aspect("equal")
        label_axes(axes, f"{packer}: bits per byte of a document", "model: bits per byte")
    return figure


def loss_figure(law: Law, plan: Plan) -> Figure:
    """Return the law's loss over model size at the plan's compute, a tenth of it and ten times it."""
    figure, (axes,) = new_figure([3.4], top=0.35)
    sizes = np.geomspace(plan.optimum.parameters / 100, plan.optimum.parameters * 100, 400)
    lowest = {}
    for factor, colour, width in ((0.1, MUTED, 1.2), (10.0, MUTED, 1.2), (1.0, ACCENT, 2.0)):
        flops = factor * plan.flops
        best = law.optimal(flops)
        lowest[factor] = law.loss(best.parameters, best.tokens)
        axes.plot(sizes, law.loss(sizes, flops / (6 * sizes)), color=colour, linewidth=width)
        at, text = (best.parameters, lowest[factor]), f"{show_flops(flops)} FLOPs"
        axes.annotate(text, at, xytext=(0, -14), textcoords="offset points", ha="center", color=SOFT)
    if plan.optimum.parameters_ci95 is not None:
        axes.axvspan(*plan.optimum.parameters_ci95, color=ACCENT, alpha=0.12, label="optimal N, 95% interval")
    loss = law.loss(plan.parameters, plan.tokens)
    axes.plot([plan.parameters], [loss], "o", color=CONTRAST, zorder=3, label="this plan")
    spread = lowest[0.1] - lowest[10.0]
    axes.set_ylim(lowest[10.0] - 0.35 * spread, lowest[0.1] + 1.6 * spread)
    log_x(axes, sizes.tolist(), show_count)
    size = "N, all parameters" if law.convention == "total" else "N, weight matrices and head"
    title = f"Loss over model size, {law.name} (its own text and tokenizer)"
    label_axes(axes, size, "predicted loss (nats per token)", title)
    axes.legend(loc="upper center", frameon=False, labelcolor=INK)
    return figure


def scaling_figures(fit: ParametricFit, isoflops: IsoFlops, frontier: Frontier | None, unit: str) -> dict[str, Figure]:
    """Return the figures of a scaling fit by name; `unit` is the unit of the losses."""
    figures = {"fit": _fit_figure(fit, unit), "residuals": _residual_figure(fit)}
    if isoflops.curves:
        figures["isoflop"] = _isoflop_figure(fit, isoflops, unit)
    if frontier is not None:
        figures["frontier"] = _frontier_figure(fit, frontier, unit)
    return figures


def _fit_figure(fit: ParametricFit, unit: str) -> Figure:
    figure, (axes,) = new_figure([3.8], top=0.35)
    observed = np.array([run.loss for run in fit.runs])
    predicted = np.array([fit.coefficients.loss(run.parameters, run.tokens) for run in fit.runs])
    ends = [min(observed.min(), predicted.min()), max(observed.max(), predicted.max())]
    axes.plot(ends, ends, color=SOFT, linewidth=1, label="observed = predicted")
    points: Any = axes.scatter(predicted, observed, c=[run.flops for run in fit.runs], norm=LogNorm(), s=14)
    _add_compute_bar(figure, axes, points)
    if outliers := list(fit.outliers):
        xs, ys = predicted[outliers], observed[outliers]
        axes.plot(xs, ys, "o", color=CONTRAST, fillstyle="none", markersize=9, label="outliers")
    label_axes(axes, f"predicted loss ({unit})", f"observed loss ({unit})", "Observed and predicted loss")
    axes.legend(frameon=False, labelcolor=INK)
    return figure


def _add_compute_bar(figure: Figure, axes: Axes, colours: ScalarMappable) -> None:
    bar = figure.colorbar(colours, ax=axes, pad=0.02, format=lambda value, _: show_flops(value))
    bar.set_label(_COMPUTE, color=INK)


def _residual_figure(fit: ParametricFit) -> Figure:
    figure, (axes,) = new_figure([3.8], top=0.35)
    flops = [run.flops for run in fit.runs]
    axes.axhline(0, color=SOFT, linewidth=1)
    axes.scatter(flops, [100 * math.expm1(residual) for residual in fit.residuals], s=14, color=ACCENT)
    log_x(axes, flops, show_flops)
    label_axes(axes, _COMPUTE, "observed / predicted loss - 1 (%)", "Residuals")
    return figure


def _isoflop_figure(fit: ParametricFit, isoflops: IsoFlops, unit: str) -> Figure:
    figure, (axes,) = new_figure([3.8], top=0.35)
    budgets = [curve.flops for curve in isoflops.curves]
    colours = ScalarMappable(LogNorm(min(budgets), max(budgets)))
    for curve, colour in zip(isoflops.curves, colours.to_rgba(np.array(budgets)), strict=True):
        runs = sorted((fit.runs[i] for i in curve.indices), key=lambda run: run.parameters)
        sizes = np.geomspace(runs[0].parameters, runs[-1].parameters, 100)
        axes.plot([run.parameters for run in runs], [run.loss for run in runs], "o", color=colour, markersize=3.5)
        axes.plot(sizes, fit.coefficients.loss(sizes, curve.flops / (6 * sizes)), color=colour, linewidth=1)
        if not curve.at_edge:
            axes.plot([curve.parameters], [curve.loss], "v", color=colour, markeredgecolor=INK, zorder=3)
    _add_compute_bar(figure, axes, colours)
    for style, name in (("o", "runs"), ("-", "fitted law"), ("v", "minimum of a parabola through the runs")):
        axes.plot([], [], style, color=SOFT, markersize=5, linewidth=1, label=name)
    log_x(axes, [run.parameters for run in fit.runs], show_count)
    label_axes(axes, "parameters", f"loss ({unit})", "IsoFLOP curves: runs of equal compute")
    axes.legend(frameon=False, labelcolor=INK)
    return figure


def _frontier_figure(fit: ParametricFit, frontier: Frontier, unit: str) -> Figure:
    figure, (axes,) = new_figure([3.8], top=0.35)
    flops = np.array([run.flops for run in fit.runs])
    best = [fit.runs[i] for i in frontier.indices]
    grid = np.geomspace(flops.min(), 10 * flops.max(), 200)
    sizes = np.array([fit.coefficients.optimal_parameters(c) for c in grid])
    losses = fit.coefficients.loss(sizes, grid / (6 * sizes))
    axes.scatter(flops, [run.loss for run in fit.runs], s=8, color=SOFT, alpha=0.35, label="runs")
    axes.scatter([r.flops for r in best], [r.loss for r in best], s=20, color=CONTRAST, label="best run at each budget")
    axes.plot(grid, frontier.law.at(grid), color=CONTRAST, linewidth=1, label="L(C), through the best runs")
    axes.plot(grid, losses, color=ACCENT, linewidth=1.5, label="L(N*, D*), optimum of the fitted law")
    log_x(axes, grid.tolist(), show_flops)
    label_axes(axes, _COMPUTE, f"loss ({unit})", "Compute-optimal frontier")
    axes.legend(frameon=False, labelcolor=INK)
    return figure
