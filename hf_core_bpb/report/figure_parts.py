"""Parts that figures share: colours, margins, axes, bars, legends and names.

Figures are 8 inches wide with margins in inches, so that they need no layout engine. The colours are those of the light
theme of the HTML report, which maps them to CSS variables.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

Interval = tuple[float, float]

INK, SOFT, GRID, MUTED = "#1f2933", "#5b6672", "#d8dee6", "#b8c4d0"
SERIES = ("#0b6e99", "#c2410c", "#5b7f2b", "#7c3aed", "#4c566a")
ACCENT, CONTRAST = SERIES[:2]

_WIDTH, _BOTTOM, _GAP = 8.0, 0.55, 0.65
_MAX_NAME = 40


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95% interval, None if unknown."""

    value: float
    ci95: Interval | None = None


Series = tuple[str, Mapping[str, Estimate]]


def plain_text(name: str) -> str:
    """Return a name as matplotlib text: dollar signs escaped, unprintable characters replaced, long names cut."""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in name)
    # The end of a long name, such as a path, tells more than its beginning.
    short = printable if len(printable) <= _MAX_NAME else f"...{printable[-_MAX_NAME:]}"
    return short.replace("$", r"\$")


def new_figure(
    heights: Sequence[float], left: float = 0.75, right: float = 0.25, top: float = 0.15, num_columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels of the given heights, row by row; sizes are in inches."""
    total = top + sum(heights) + _GAP * (len(heights) - 1) + _BOTTOM
    figure = Figure(figsize=(_WIDTH, total))
    grid = figure.add_gridspec(
        len(heights), num_columns, height_ratios=heights, hspace=_GAP * len(heights) / sum(heights), wspace=0.25,
        left=left / _WIDTH, right=1 - right / _WIDTH, bottom=_BOTTOM / total, top=1 - top / total,
    )  # fmt: skip
    panels = [figure.add_subplot(grid[i, j]) for i in range(len(heights)) for j in range(num_columns)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(SOFT)
        axes.tick_params(labelcolor=INK, length=0)
        axes.grid(color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.locator_params(nbins=6)
    return figure, panels


def label_axes(axes: Axes, x_label: str, y_label: str = "", title: str = "") -> None:
    """Write the labels of an axes and its title."""
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    if title:
        axes.set_title(title, color=INK)


def label_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a horizontal chart, the first at the top, with a line at 0."""
    for row, name in enumerate(names):
        write_beside(axes, row, plain_text(name), INK, is_left=True)
    axes.set_yticks([])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axvline(0, color=SOFT, linewidth=1)


def write_beside(axes: Axes, row: float, text: str, colour: str, is_left: bool = False) -> None:
    """Write a text beside a row of a horizontal chart; drawing tick labels takes several times as long."""
    x, side = (-0.01, "right") if is_left else (1.01, "left")
    axes.text(x, row, text, transform=axes.get_yaxis_transform(), ha=side, va="center", color=colour)


def label_width(names: Sequence[str]) -> float:
    """Return the width of the longest name with a margin, in inches."""
    return 0.25 + 0.083 * max(len(plain_text(name)) for name in names)


def draw_intervals(axes: Axes, rows: Sequence[float], intervals: Sequence[Interval | None], colour: str) -> None:
    """Draw the known intervals as horizontal lines."""
    known = [(row, *interval) for row, interval in zip(rows, intervals, strict=True) if interval is not None]
    if known:
        ys, lows, highs = zip(*known, strict=True)
        axes.hlines(ys, lows, highs, color=colour, linewidth=1.3)


def legend_height(names: Sequence[str]) -> float:
    """Return the height of a legend at the top of a figure with a margin, in inches."""
    return 0.15 + 0.24 * (-(-len(names) // _legend_columns(names)) if names else 0)


def add_legend(figure: Figure, axes: Axes, below: float = 0.0) -> None:
    """Add the legend of an axes to the top left of its figure, `below` inches from the top."""
    corner = (0.0, 1 - below / figure.get_figheight())
    handles, names = axes.get_legend_handles_labels()
    columns = _legend_columns(names)
    figure.legend(handles, names, loc="upper left", bbox_to_anchor=corner, ncols=columns, frameon=False, labelcolor=INK)


def _legend_columns(names: Sequence[str]) -> int:
    # Beside its name an entry has a symbol and two gaps.
    return max(1, int(_WIDTH / (label_width(names) + 0.5)))


def log_x(axes: Axes, values: Sequence[float], show: Callable[[float], str]) -> None:
    """Make x logarithmic, with ticks between the powers of ten if the values span few of these."""
    low, high = min(values), max(values)
    decades = math.log10(high / low)
    between = (1.0, 2.0, 5.0) if decades < 1.5 else (1.0, 3.0) if decades < 3 else (1.0,)
    if decades < 0.01:
        axes.set_xlim(low / 2, high * 2)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=between))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def bar_chart(
    series: Sequence[Series], label: str, shown: str, references: Sequence[str] = (), colours: Sequence[Any] = SERIES
) -> tuple[Figure, Axes]:
    """Return horizontal bars with intervals, grouped by name; the values of a single series are written beside them.

    references: names of what the caller draws beside the bars before it adds the legend.
    """
    names, count = row_names(series), len(series)
    height = (0.3 if count == 1 else 0.12 + 0.17 * count) * len(names)
    legend = [*references, *(name for name, bars in series if bars and count > 1)]
    figure, (axes,) = new_figure([height], left=label_width(names), right=0.7, top=legend_height(legend))
    for number, (name, bars) in enumerate(series):
        if not bars:
            continue
        rows = [names.index(row) + offset(number, count, 0.8) for row in bars]
        values = [bar.value for bar in bars.values()]
        colour = colours[number % len(colours)]
        axes.barh(rows, values, 0.72 / count, color=colour, label=plain_text(name) if count > 1 else None)
        draw_intervals(axes, rows, [bar.ci95 for bar in bars.values()], INK)
        for row, value in zip(rows, values, strict=True) if count == 1 else ():
            write_beside(axes, row, shown.format(value), SOFT)
    label_rows(axes, names)
    label_axes(axes, label)
    if count > 1 and not references:
        add_legend(figure, axes)
    return figure, axes


def row_names(series: Iterable[Series]) -> list[str]:
    """Return the names of the rows of a bar chart, in order of appearance."""
    return list(dict.fromkeys(name for _, bars in series for name in bars))


def offset(number: int, count: int, width: float) -> float:
    """Return the distance of one of several bars from the middle of its row."""
    return width * (number - (count - 1) / 2) / count
