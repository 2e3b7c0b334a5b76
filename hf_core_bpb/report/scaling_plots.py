"""A fit as pictures: points beside the law, residuals, valleys of equal compute, and the frontier."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_core_bpb.scaling.curves import Frontier, IsoFlops
from hf_core_bpb.scaling.fit import ParametricFit

_SIZE = (7.0, 4.5)
_DPI = 150
_INK, _ACCENT, _WARN = "#4c566a", "#0b6e99", "#c2410c"


def save_plots(
    folder: Path, fit: ParametricFit, isoflops: IsoFlops, frontier: Frontier | None, unit: str
) -> list[Path]:
    """Write the pictures into a folder and return their paths; `unit` is what the losses are in."""
    folder.mkdir(parents=True, exist_ok=True)
    drawings: dict[str, Callable[[Axes], None]] = {
        "fit": lambda axes: _draw_fit(axes, fit, unit),
        "residuals": lambda axes: _draw_residuals(axes, fit),
    }
    if isoflops.curves:
        drawings["isoflop"] = lambda axes: _draw_valleys(axes, fit, isoflops, unit)
    if frontier is not None:
        best = frontier
        drawings["frontier"] = lambda axes: _draw_frontier(axes, fit, best, unit)
    paths = []
    for name, draw in drawings.items():
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=_DPI)
        paths.append(path)
    return paths


def _draw_fit(axes: Axes, fit: ParametricFit, unit: str) -> None:
    seen = np.array([run.loss for run in fit.runs])
    predicted = np.array([fit.coefficients.loss(run.parameters, run.tokens) for run in fit.runs])
    flops = np.log10([run.flops for run in fit.runs])
    points: Any = axes.scatter(predicted, seen, c=flops, cmap="viridis", s=14)
    outliers = list(fit.outliers)
    axes.scatter(predicted[outliers], seen[outliers], s=60, facecolors="none", edgecolors=_WARN, label="outliers")
    ends = [min(seen.min(), predicted.min()), max(seen.max(), predicted.max())]
    axes.plot(ends, ends, color=_INK, linewidth=1)
    axes.set(title="Losses seen and predicted", xlabel=f"predicted ({unit})", ylabel=f"seen ({unit})")
    axes.figure.colorbar(points, ax=axes, label="log10 FLOPs")
    if outliers:
        axes.legend(frameon=False)


def _draw_residuals(axes: Axes, fit: ParametricFit) -> None:
    flops = [run.flops for run in fit.runs]
    axes.scatter(flops, [100 * (math.exp(r) - 1) for r in fit.residuals], s=14, color=_ACCENT)
    axes.axhline(0, color=_INK, linewidth=1)
    axes.set(
        title="What the law leaves over", xlabel="FLOPs (6 N D)", ylabel="seen over predicted, less 1 (%)", xscale="log"
    )


def _draw_valleys(axes: Axes, fit: ParametricFit, isoflops: IsoFlops, unit: str) -> None:
    import matplotlib as mpl

    colours = mpl.colormaps["viridis"](np.linspace(0.1, 0.9, len(isoflops.curves)))
    for valley, colour in zip(isoflops.curves, colours, strict=True):
        runs = sorted((fit.runs[i] for i in valley.indices), key=lambda run: run.parameters)
        sizes = [run.parameters for run in runs]
        axes.scatter(sizes, [run.loss for run in runs], s=12, color=colour, label=f"{valley.flops:.1e} FLOPs")
        grid = np.geomspace(sizes[0], sizes[-1], 100)
        axes.plot(grid, fit.coefficients.loss(grid, valley.flops / (6 * grid)), color=colour, linewidth=1)
        if not valley.at_edge:
            axes.scatter(
                [valley.parameters], [valley.loss], marker="v", s=50, color=colour, edgecolors="black", zorder=3
            )
    axes.set(
        title="Valleys of equal compute: runs, the law's lines, and the parabolas' bottoms",
        xlabel="parameters",
        ylabel=unit,
        xscale="log",
    )
    axes.legend(frameon=False, fontsize="x-small", ncols=2)


def _draw_frontier(axes: Axes, fit: ParametricFit, frontier: Frontier, unit: str) -> None:
    flops = np.array([run.flops for run in fit.runs])
    axes.scatter(flops, [run.loss for run in fit.runs], s=8, color=_INK, alpha=0.35, label="runs")
    best = [fit.runs[i] for i in frontier.indices]
    axes.scatter(
        [run.flops for run in best], [run.loss for run in best], s=20, color=_WARN, label="best of each budget"
    )
    grid = np.geomspace(flops.min(), 10 * flops.max(), 200)
    axes.plot(grid, frontier.law.at(grid), color=_WARN, linewidth=1, label="L(C) through the best")
    sizes = np.array([fit.coefficients.optimal_parameters(c) for c in grid])
    axes.plot(grid, fit.coefficients.loss(sizes, grid / (6 * sizes)), color=_ACCENT, linewidth=1.5, label="L(N*, D*)")
    axes.set(title="The lowest loss for compute", xlabel="FLOPs (6 N D)", ylabel=unit, xscale="log")
    axes.legend(frameon=False)
