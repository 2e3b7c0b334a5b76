"""A report as tables in the terminal."""

from typing import get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hf_core_bpb.metrics.intervals import Interval, accuracy_ci95, bpb_ci95, core_ci95, least_difference
from hf_core_bpb.metrics.results import CoreResult, Sample
from hf_core_bpb.results.record import RunRecord
from hf_core_bpb.types import Baselines


def print_report(report: RunRecord, console: Console) -> None:
    """Print the model, tables of CORE and of bits per byte, and the signatures."""
    counts = report.model.parameters
    title = f"{report.model.name} ({report.model.dtype}, {counts.total:,} parameters)"
    console.print(title, style="bold", markup=False, highlight=False)
    if report.core is not None:
        console.print(core_table(report.core))
    if report.bpb:
        console.print(bpb_table(report))
    if any(report.compressors.values()):
        console.print(compressor_table(report))
    for line in report.signatures:
        console.print(line, style="dim", soft_wrap=True, markup=False, highlight=False)


def core_table(core: CoreResult) -> Table:
    """Return accuracy, baseline and centered accuracy by task, with CORE in the last row."""
    title = f"{core.suite}, {core.protocol} protocol, rows from {core.source}"
    if core.source == "demo":
        title = "Demo rows written for this package: not the benchmark, not comparable"
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("task")
    for name in ("shots", "n", "accuracy", "95%", "baseline", "centered"):
        table.add_column(name, justify="right")
    for name, result in core.tasks.items():
        table.add_row(
            Text(name),
            str(result.num_fewshot),
            str(result.num_items),
            f"{result.accuracy:.4f}",
            "{:.2f}–{:.2f}".format(*accuracy_ci95(result)),
            f"{result.task.baselines[core.baselines]:.4f}",
            f"{result.centered(core.baselines):+.4f}",
        )
    table.add_section()
    interval = core_ci95(core, core.baselines)
    shown = "{:+.3f}–{:+.3f}".format(*interval)
    table.add_row(core.suite, "", "", "", shown, core.baselines, f"{core.core:+.4f}", style="bold")
    for version in get_args(Baselines):
        if core.core_by(version) != core.core:
            table.add_row(core.suite, "", "", "", "", version, f"{core.core_by(version):+.4f}")
    table.caption = "\n".join(_captions(core, interval))
    return table


def _captions(core: CoreResult, interval: Interval) -> list[str]:
    captions = [
        f"Differences of {core.suite} below {least_difference(interval):.3f} are not significant at 95%; "
        "`hf-core-bpb compare` pairs items and detects smaller differences."
    ]
    if core.sample is not None:
        captions.insert(0, describe_sample(core, core.sample))
    truncated = {name: result for name, result in core.tasks.items() if result.num_truncated}
    if truncated:
        counts = (f"{name} {result.num_truncated} of {result.num_items}" for name, result in truncated.items())
        captions.append(f"Truncated on the left to fit the context: {', '.join(counts)}.")
    return captions


def describe_sample(core: CoreResult, sample: Sample) -> str:
    """Return how many items were scored and the resulting precision, in words."""
    return (
        f"Scored: {core.num_items:,} of {sample.num_all:,} items ({core.num_items / sample.num_all:.1%}). "
        f"{core.suite} of all items: {core.core:+.4f} ± {sample.half_width:.4f} (95%)."
    )


def bpb_table(report: RunRecord) -> Table:
    """Return bits per byte by text, with other units of the same loss and the size of the text."""
    table = Table(title="Bits per byte", title_justify="left")
    for name in ("bpb", "95%", "bits/char", "token ppl", "docs", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("text", overflow="fold")
    for name, result in report.bpb.items():
        table.add_row(
            f"{result.bpb:.4f}",
            "-" if (interval := bpb_ci95(result.documents)) is None else "{:.3f}–{:.3f}".format(*interval),
            "-" if result.bits_per_character is None else f"{result.bits_per_character:.4f}",
            f"{result.token_perplexity:.2f}" if result.token_perplexity < 1e5 else f"{result.token_perplexity:.3g}",
            f"{len(result.documents):,}",
            f"{result.total.num_bytes:,}",
            Text(name),
        )
    return table


def compressor_table(report: RunRecord) -> Table:
    """Return bits per byte by text, of the model and of compressors."""
    table = Table(title="Bits per byte, compared with compressors", title_justify="left")
    names = sorted({name for measured in report.compressors.values() for name in measured})
    for name in ("model", *names):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("text", overflow="fold")
    for text, measured in report.compressors.items():
        values = [f"{measured[name]:.4f}" if name in measured else "-" for name in names]
        table.add_row(f"{report.bpb[text].bpb:.4f}", *values, Text(text))
    table.caption = "8 bits per byte is chance. A model below the compressors uses what it learned from other texts."
    table.caption_justify = "left"
    return table
