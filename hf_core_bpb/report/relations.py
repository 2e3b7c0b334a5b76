"""How numbers of several runs go together: CORE against bits per byte, over size, tokens and compute (pure)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scipy.stats import spearmanr

from hf_core_bpb.results.saved import SavedRun

_MOST_PAIRS = 10


@dataclass(frozen=True, slots=True)
class Relation:
    """Named points (x, y), what the axes are, whether x goes by powers of ten, and what is to be read off."""

    name: str
    title: str
    x_label: str
    y_label: str
    points: list[tuple[str, float, float]]
    is_log: bool
    reading: str


def relations_of(runs: Sequence[SavedRun]) -> list[Relation]:
    """Return what can be drawn of two or more runs of one suite; nothing where they lack one."""
    suites = {run.suite for run in runs}
    if len(runs) < 2 or len(suites) != 1 or not all("core" in run.results for run in runs):
        return []
    (label,) = suites
    found = [_against_bpb(runs, text, label) for text in common_texts(runs)]
    found.append(
        _over(runs, label, "size", "parameters", _parameters, "Parameters are all of them, embeddings included.")
    )
    known = [run for run in runs if run.results["model"].get("trained") is not None]
    if len(known) > 1:
        others = [run.name for run in runs if run not in known]
        missing = f" Not known of {', '.join(others)}." if others else ""
        found.append(_over(known, label, "tokens", "training tokens", _tokens, missing.strip()))
        reading = f"FLOPs are 6 N D where no others are known.{missing}"
        found.append(_over(known, label, "compute", "training FLOPs", _flops, reading))
    return found


def common_texts(runs: Sequence[SavedRun]) -> list[str]:
    """Return the texts that all runs have scored."""
    return [name for name in runs[0].documents if all(name in run.documents for run in runs)]


def _core(run: SavedRun) -> float:
    return float(run.results["core"]["core"])


def _parameters(run: SavedRun) -> float:
    return float(run.results["model"]["parameters"]["total"])


def _tokens(run: SavedRun) -> float:
    return float(run.results["model"]["trained"]["tokens"])


def _flops(run: SavedRun) -> float:
    return float(run.results["model"]["trained"]["flops"])


def _over(
    runs: Sequence[SavedRun], label: str, name: str, x_label: str, x_of: Callable[[SavedRun], float], reading: str
) -> Relation:
    points = [(run.name, x_of(run), _core(run)) for run in runs]
    return Relation(f"core-over-{name}", f"{label} over {x_label}", x_label, label, points, True, reading)


def _against_bpb(runs: Sequence[SavedRun], text: str, label: str) -> Relation:
    points = [(run.name, float(run.results["bpb"][text]["bpb"]), _core(run)) for run in runs]
    # Less is better of the one, more of the other.
    disagreeing = [
        f"{a[0]} and {b[0]}" for n, a in enumerate(points) for b in points[n + 1 :] if (a[1] - b[1]) * (a[2] - b[2]) > 0
    ]
    reading = ""
    xs, ys = [p[1] for p in points], [p[2] for p in points]
    # Where all are equal there are no ranks.
    if len(runs) > 2 and len(set(xs)) > 1 and len(set(ys)) > 1:
        correlation = float(spearmanr(xs, ys).statistic)
        reading = f"Rank correlation {correlation:+.2f}. "
    ties = any((a[1] - b[1]) * (a[2] - b[2]) == 0 for n, a in enumerate(points) for b in points[n + 1 :])
    if not disagreeing:
        reading += f"Bits per byte and {label} agree on every pair{' that is told apart by both' if ties else ''}."
    else:
        more = f" and {len(disagreeing) - _MOST_PAIRS} more" if len(disagreeing) > _MOST_PAIRS else ""
        named = "; ".join(disagreeing[:_MOST_PAIRS]) + more
        reading += f"Bits per byte and {label} disagree on which is better of {named}."
    title = f"{label} against bits per byte of {text}"
    return Relation(f"core-against-bpb-{text}", title, f"bits per byte of {text}", label, points, False, reading)
