"""Relations between the numbers of several runs: CORE against bits per byte, size, tokens and compute (pure)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import correlation

from hf_core_bpb.formatting import show_count, show_flops
from hf_core_bpb.results.saved import SavedRun

_MAX_PAIRS = 10

Point = tuple[str, float, float]


@dataclass(frozen=True, slots=True)
class Relation:
    """Named points (x, y), the labels of both axes, and what the points show in words.

    show_x: format of x on a logarithmic axis, None for a linear axis.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    points: list[Point]
    show_x: Callable[[float], str] | None
    reading: str


def relations_of(runs: Sequence[SavedRun]) -> list[Relation]:
    """Return the relations between two or more runs of one suite; none for fewer runs or different suites."""
    suites = {run.suite for run in runs}
    if len(runs) < 2 or len(suites) != 1 or not all("core" in run.results for run in runs):
        return []
    (suite,) = suites
    relations = [_against_bpb(runs, text, suite) for text in common_texts(runs)]
    sizes = _points(runs, lambda run: run.results["model"]["parameters"]["total"])
    relations.append(_over("size", "parameters", suite, sizes, show_count, "All parameters, embeddings included."))
    trained = [run for run in runs if run.results["model"].get("trained") is not None]
    if len(trained) > 1:
        others = [run.name for run in runs if run not in trained]
        unknown = f"Unknown for {', '.join(others)}." if others else ""
        tokens = _points(trained, lambda run: run.results["model"]["trained"]["tokens"])
        relations.append(_over("tokens", "training tokens", suite, tokens, show_count, unknown))
        flops = _points(trained, lambda run: run.results["model"]["trained"]["flops"])
        reading = f"Estimated as 6 N D unless the run recorded its FLOPs. {unknown}".strip()
        relations.append(_over("compute", "training FLOPs", suite, flops, show_flops, reading))
    return relations


def common_texts(runs: Sequence[SavedRun]) -> list[str]:
    """Return the texts that all runs scored."""
    return [name for name in runs[0].documents if all(name in run.documents for run in runs)]


def _points(runs: Sequence[SavedRun], x_of: Callable[[SavedRun], float]) -> list[Point]:
    return [(run.name, float(x_of(run)), float(run.results["core"]["core"])) for run in runs]


def _over(
    name: str, x_label: str, suite: str, points: list[Point], show_x: Callable[[float], str], reading: str
) -> Relation:
    return Relation(f"core-over-{name}", f"{suite} over {x_label}", x_label, suite, points, show_x, reading)


def _against_bpb(runs: Sequence[SavedRun], text: str, suite: str) -> Relation:
    points = _points(runs, lambda run: run.results["bpb"][text]["bpb"])
    title, x_label = f"{suite} against bits per byte of {text}", f"bits per byte of {text}"
    return Relation(f"core-against-bpb-{text}", title, x_label, suite, points, None, _agreement(points, suite))


def _agreement(points: Sequence[Point], suite: str) -> str:
    """Return in words whether bits per byte (lower is better) and the suite (higher is better) rank models alike."""
    xs, ys = {x for _, x, _ in points}, {y for _, _, y in points}
    sentences = []
    # Two points, and equal values, have no rank correlation.
    if len(points) > 2 and len(xs) > 1 and len(ys) > 1:
        spearman = correlation(_ranks([x for _, x, _ in points]), _ranks([y for _, _, y in points]))
        sentences.append(f"Rank correlation {spearman:+.2f}.")
    products = [(a[0], b[0], (a[1] - b[1]) * (a[2] - b[2])) for a, b in combinations(points, 2)]
    disagreeing = [f"{a} and {b}" for a, b, product in products if product > 0]
    if disagreeing:
        rest = f" and {len(disagreeing) - _MAX_PAIRS} more pairs" if len(disagreeing) > _MAX_PAIRS else ""
        pairs = "; ".join(disagreeing[:_MAX_PAIRS]) + rest
        sentences.append(f"Bits per byte and {suite} disagree on which is better of {pairs}.")
    else:
        ties = " without a tie" if any(product == 0 for _, _, product in products) else ""
        sentences.append(f"Bits per byte and {suite} agree on every pair{ties}.")
    return " ".join(sentences)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, the mean of their ranks for equal values."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]
