"""The compare command: compare runs with the first one, print the differences, write them."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hf_core_bpb import __version__
from hf_core_bpb.cli.main import PROG
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.metrics.paired import DOCUMENT_RESAMPLES, RESAMPLES, SEED, Difference
from hf_core_bpb.results.compare import Comparison, compare_runs
from hf_core_bpb.results.saved import read_run

RECIPE = (
    f"compare|paired:items,documents|bootstrap:{RESAMPLES},{DOCUMENT_RESAMPLES}|randomisations:{RESAMPLES}|holm:tasks"
    f"|seed:{SEED}|version:{__version__}"
)


def show_comparison(folders: Sequence[Path], only: str | None, json_path: Path | None, plot_path: Path | None) -> None:
    """Print how every run differs from the first, and write the JSON file and plot if requested."""
    runs = [read_run(folder) for folder in folders]
    comparisons = [compare_runs(runs[0], run, only) for run in runs[1:]]
    console = Console()
    for comparison in comparisons:
        _print(console, comparison)
    console.print(RECIPE, style="dim", soft_wrap=True, markup=False, highlight=False)
    try:
        if json_path is not None:
            json_path.write_text(json.dumps(_values(comparisons), indent=2) + "\n", encoding="utf-8")
        if plot_path is not None:
            from hf_core_bpb.report.figure_output import save_figure
            from hf_core_bpb.report.plotting import comparison_figure

            save_figure(comparison_figure(comparisons), plot_path)
    except (OSError, ValueError) as error:
        raise InputError(f"--json, --plot: cannot write: {reason(error)}") from None


def _values(comparisons: Sequence[Comparison]) -> dict[str, object]:
    return {
        "schema_version": 1,
        "recipe": RECIPE,
        "comparisons": [
            {
                "before": {"folder": str(c.before.folder), "model": c.before.name},
                "after": {"folder": str(c.after.folder), "model": c.after.name},
                "core": dataclasses.asdict(c.core) if c.core is not None else None,
                "tasks": [dataclasses.asdict(task) for task in c.tasks],
                "bpb": [dataclasses.asdict(text) for text in c.texts],
                "notes": c.notes,
            }
            for c in comparisons
        ],
    }


def _print(console: Console, comparison: Comparison) -> None:
    before, after = comparison.before, comparison.after
    title = f"{after.name} ({after.folder}) minus {before.name} ({before.folder})"
    console.print(title, style="bold", markup=False, highlight=False)
    if comparison.core is not None:
        console.print(_core_table(comparison, comparison.core))
        _print_line(console, _conclusion(comparison.core, higher_is_better=True))
    if comparison.texts:
        console.print(_text_table(comparison.texts))
        for row in comparison.texts:
            _print_line(console, _conclusion(row, higher_is_better=False))
    for note in comparison.notes:
        _print_line(console, f"{note}.")


def _print_line(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, markup=False, highlight=False)


def _core_table(comparison: Comparison, core: Difference) -> Table:
    table = _new_table("task", "first", "second", "change", "95%", "p*", "won/lost")
    for row in comparison.tasks:
        table.add_row(*_cells(row), _p(row.p_holm), f"{len(row.won)}/{len(row.lost)}")
    table.add_section()
    won, lost = (sum(len(getattr(row, side)) for row in comparison.tasks) for side in ("won", "lost"))
    table.add_row(*_cells(core), _p(core.p_value), f"{won}/{lost}", style="bold")
    table.caption = (
        "* p-values of tasks are corrected for multiple comparisons (Holm).\n"
        "won/lost: items that only the second/first run answers correctly."
    )
    table.caption_justify = "left"
    return table


def _text_table(texts: Sequence[Difference]) -> Table:
    table = _new_table("bits per byte of", "first", "second", "change", "95%", "p")
    for row in texts:
        table.add_row(*_cells(row), _p(row.p_value))
    return table


def _new_table(name: str, *numbers: str) -> Table:
    table = Table()
    table.add_column(name, overflow="fold", min_width=10)
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _cells(row: Difference) -> list[Text | str]:
    interval = "-" if row.ci95 is None else "{:+.3f}–{:+.3f}".format(*row.ci95)
    return [Text(row.name), f"{row.before:.4f}", f"{row.after:.4f}", f"{row.difference:+.4f}", interval]


def _p(value: float | None) -> str:
    return "-" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _conclusion(row: Difference, higher_is_better: bool) -> str:
    if row.p_value is None:
        return f"{row.name}: no test is possible with a single document."
    p = "p < 0.001" if row.p_value < 0.001 else f"p = {row.p_value:.3f}"
    if row.p_value >= 0.05:
        return f"{row.name}: no significant difference ({p})."
    better = (row.difference > 0) == higher_is_better
    return f"{row.name}: the second run is {'better' if better else 'worse'} ({p})."


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the compare command."""
    parser = argparse.ArgumentParser(
        prog=f"{PROG} compare",
        description="Compare runs with the first, item by item and document by document: differences with intervals.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output folders of two or more runs of one recipe")
    parser.add_argument("--only", choices=["core", "bpb"], help="compare only one of the two")
    parser.add_argument("--json", metavar="FILE", help="write everything, also the index of every item that flipped")
    parser.add_argument("--plot", metavar="FILE", help="write a plot (.png, .svg or .pdf)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Print how runs differ from the first."""
    if len(args.runs) < 2:
        raise InputError("compare: expected two or more runs, got one")
    paths = (Path(path) if path else None for path in (args.json, args.plot))
    show_comparison([Path(folder) for folder in args.runs], args.only, *paths)
