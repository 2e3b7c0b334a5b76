"""`hf-core-bpb report`: finished runs as one page of HTML."""

import argparse
from pathlib import Path

from hf_core_bpb.cli.main import PROG
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.report.html import render_page
from hf_core_bpb.results.folder import write_page
from hf_core_bpb.results.saved import read_run


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the report command."""
    parser = argparse.ArgumentParser(
        prog=f"{PROG} report", description="Write one self-contained page of HTML about finished runs."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output folders; several runs are compared first")
    parser.add_argument("--output", metavar="FILE", default="report.html", help="default: report.html")
    parser.add_argument("--png", metavar="DIR", help="also write the charts as PNG files")
    return parser


def run(args: argparse.Namespace) -> None:
    """Write the page, and print the files that were written."""
    path = Path(args.output)
    runs = [read_run(Path(folder)) for folder in args.runs]
    write_page(path, render_page(runs))
    print(path)
    if args.png is not None:
        from hf_core_bpb.report.figure_output import save_figures
        from hf_core_bpb.report.plotting import report_figures

        try:
            paths = save_figures(report_figures(runs), Path(args.png))
        except OSError as error:
            raise InputError(f"`png`: expected a writable folder, got: {reason(error)}") from None
        print(*paths, sep="\n")
