"""`hf-core-bpb install-metric`: make evaluate.load find the metrics by their bare ids."""

import argparse

from hf_core_bpb.cli.main import PROG
from hf_core_bpb.evaluate_metrics.install import METRICS, NAMESPACE, install_metric, metric_path


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the install-metric command."""
    parser = argparse.ArgumentParser(
        prog=f"{PROG} install-metric",
        description='Make evaluate.load("hf_core_bpb/bpb") and ("hf_core_bpb/core") work in any folder, also offline.',
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="bpb, core (default: both)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Install the metrics, and print where."""
    names = args.names or list(METRICS)
    for name in names:
        metric_path(name)
    for name in names:
        print(f'evaluate.load("{NAMESPACE}/{name}"): {install_metric(name)}')
