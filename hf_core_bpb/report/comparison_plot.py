"""Differences of runs as a picture: a dot and its interval for every task and text."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_core_bpb.metrics.paired import Difference
from hf_core_bpb.results.compare import Comparison

_LONGEST_NAME = 40
_COLOURS = ("#0b6e99", "#c2410c", "#5b7f2b", "#7c3aed", "#4c566a")


def plain_text(name: str) -> str:
    """Return a name as matplotlib shows it: a dollar begins a formula; of a long one the end, which tells more."""
    shown = name if len(name) <= _LONGEST_NAME else f"...{name[-_LONGEST_NAME:]}"
    return shown.replace("$", r"\$")


def save_plot(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write the picture; every run less the first has a colour of its own."""
    parts = {
        "accuracy, and CORE": [[*c.tasks, *([c.core] if c.core is not None else [])] for c in comparisons],
        "bits per byte (less is better)": [c.texts for c in comparisons],
    }
    parts = {label: rows for label, rows in parts.items() if rows[0]}
    heights = [len(rows[0]) + 1 for rows in parts.values()]
    figure = Figure(figsize=(8.0, 1.2 + 0.32 * sum(heights)), layout="constrained")
    grid = figure.subplots(len(parts), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axes, (label, rows) in zip(grid[:, 0], parts.items(), strict=True):
        _draw(axes, label, rows)
    names = [plain_text(c.after.name) for c in comparisons]
    figure.suptitle(f"{', '.join(names)} less {plain_text(comparisons[0].before.name)}", fontsize=11)
    if len(comparisons) > 1:
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


def _draw(axes: Axes, label: str, by_run: Sequence[Sequence[Difference]]) -> None:
    names = [row.name for row in by_run[0]]
    for number, rows in enumerate(by_run):
        offset = 0.24 * (number - (len(by_run) - 1) / 2)
        places = [len(names) - 1 - i - offset for i in range(len(rows))]
        low = [row.difference - row.ci95[0] if row.ci95 is not None else 0.0 for row in rows]
        high = [row.ci95[1] - row.difference if row.ci95 is not None else 0.0 for row in rows]
        values = [row.difference for row in rows]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.errorbar(
            values, places, xerr=[low, high], fmt="o", color=colour, capsize=3, markersize=5, label=f"run {number + 2}"
        )
    axes.axvline(0, color="#4c566a", linewidth=1)
    axes.set_yticks(range(len(names)), [plain_text(name) for name in reversed(names)])
    axes.set(xlabel=f"difference in {label}", ylim=(-0.7, len(names) - 0.3))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
