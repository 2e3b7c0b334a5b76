"""The charts of a report as PNG files."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.metrics.centering import centered_accuracy
from hf_core_bpb.report.comparison_plot import plain_text
from hf_core_bpb.report.relations import Relation, relations_of
from hf_core_bpb.results.folder import file_name
from hf_core_bpb.results.saved import SavedRun

_COLOURS = ("#0b6e99", "#c2410c", "#5b7f2b", "#7c3aed", "#4c566a")


def save_pictures(folder: Path, runs: Sequence[SavedRun]) -> list[Path]:
    """Write what the runs' page draws of tasks, texts and their relations, and return the files.

    Raises InputError for a folder that cannot be written.
    """
    drawn: list[tuple[str, Figure]] = []
    if tasks := list(dict.fromkeys(name for run in runs for name in run.items)):
        drawn.append(("tasks", _tasks(runs, tasks)))
    if texts := list(dict.fromkeys(name for run in runs for name in run.documents)):
        drawn.append(("bits-per-byte", _texts(runs, texts)))
    drawn += [(relation.name, _relation(relation)) for relation in relations_of(runs)]
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in drawn:
            path = folder / f"{file_name(name)}.png"
            figure.savefig(path, dpi=150)
            paths.append(path)
    except OSError as error:
        raise InputError(f"--png: expected a folder that can be written, got: {reason(error)}") from None
    return paths


def _tasks(runs: Sequence[SavedRun], names: Sequence[str]) -> Figure:
    figure, axes = _rows(len(runs), len(names), 0.24)
    for number, run in enumerate(runs):
        held = [(place, run.results["core"]["tasks"][name]) for place, name in enumerate(names) if name in run.items]
        values = [task["centered"] for _, task in held]
        ends = [[centered_accuracy(end, task["random_baseline"]) for end in task["ci95"]] for _, task in held]
        low = [max(value - end[0], 0.0) for value, end in zip(values, ends, strict=True)]
        high = [max(end[1] - value, 0.0) for value, end in zip(values, ends, strict=True)]
        places = [place + _offset(number, len(runs)) for place, _ in held]
        axes.barh(places, values, height=0.8 / len(runs), color=_colour(number), label=plain_text(run.name))
        axes.errorbar(values, places, xerr=[low, high], fmt="none", ecolor="#1f2933", elinewidth=1, capsize=2)
    _finish_rows(axes, names, "centered accuracy: 0 is guessing, 1 is perfect; lines are intervals of 95 %")
    return figure


def _texts(runs: Sequence[SavedRun], names: Sequence[str]) -> Figure:
    figure, axes = _rows(len(runs), len(names), 0.5)
    for number, run in enumerate(runs):
        held = [(place, run.results["bpb"][name]["bpb"]) for place, name in enumerate(names) if name in run.documents]
        places = [place + _offset(number, len(runs)) for place, _ in held]
        axes.barh(
            places, [bpb for _, bpb in held], height=0.8 / len(runs), color=_colour(number), label=plain_text(run.name)
        )
    for place, name in enumerate(names):
        run = next(run for run in runs if name in run.documents)
        for packer, bpb in run.results["bpb"][name]["compressors"].items():
            axes.plot([bpb, bpb], [place - 0.45, place + 0.45], color="#1f2933", linewidth=1)
            axes.annotate(packer, (bpb, place - 0.45), ha="left", va="bottom", fontsize=7, rotation=60)
    _finish_rows(axes, names, "bits per byte: less is better; lines are compressors of the same text")
    return figure


def _relation(relation: Relation) -> Figure:
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.subplots()
    for number, (name, x, y) in enumerate(relation.points):
        axes.plot([x], [y], "o", color=_colour(number))
        axes.annotate(plain_text(name), (x, y), xytext=(5, 5), textcoords="offset points", fontsize=8)
    if relation.is_log:
        axes.set_xscale("log")
    axes.set(title=plain_text(relation.title), xlabel=plain_text(relation.x_label), ylabel=plain_text(relation.y_label))
    axes.margins(0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    return figure


def _rows(num_runs: int, num_names: int, height: float) -> tuple[Figure, Axes]:
    """Return a figure of horizontal bars with a place for each name, and beside them for a legend of several runs."""
    width = 11.0 if num_runs > 1 else 8.0
    figure = Figure(figsize=(width, 1.4 + height * num_names * (1 + 0.4 * num_runs)), layout="constrained")
    return figure, figure.subplots()


def _offset(number: int, count: int) -> float:
    return 0.8 * (number - (count - 1) / 2) / count


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _finish_rows(axes: Axes, names: Sequence[str], label: str) -> None:
    axes.set_yticks(range(len(names)), [plain_text(name) for name in names])
    axes.invert_yaxis()
    axes.axvline(0, color="#4c566a", linewidth=1)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.2)
    handles, labels = axes.get_legend_handles_labels()
    if len(handles) > 1:
        axes.figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
