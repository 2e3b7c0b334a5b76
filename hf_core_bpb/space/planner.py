"""The compute planner: compute, size or tokens in, the rest under a named law out (pure)."""

from dataclasses import dataclass

from hf_core_bpb.errors import InputError
from hf_core_bpb.formatting import show_count
from hf_core_bpb.scaling.laws import LAWS, RATIOS, FixedRatio, Law, find_rule
from hf_core_bpb.scaling.plan import Plan, PlanInputs, make_plan, off_optimum

RULES = (*LAWS, *RATIOS)
GIVEN = ("compute (FLOPs)", "parameters (N)", "tokens (D)")
_COUNTED = {"total": "all parameters", "matmul": "weight matrices and head, no embeddings"}


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan as rows of a table, smaller and larger models beside it, and what to be warned of."""

    rule: Law | FixedRatio
    plan: Plan
    rows: list[list[str]]
    off_optimum: list[list[str]]
    warnings: list[str]


def counted(law: str) -> str:
    """Return what a law's N counts, in words."""
    rule = find_rule(law)
    return f"N counts {_COUNTED[rule.convention]}. Source: {rule.source}."


def plan(given: str, value: float | None, ratio: float | None, law: str) -> Planned:
    """Return the plan for compute, parameters or tokens, at a ratio or, without one, at the law's optimum.

    Raises InputError for what is missing or does not fit.
    """
    if given not in GIVEN:
        raise InputError(f"given: expected one of {', '.join(GIVEN)}, got {given!r}")
    if value is None:
        raise InputError(f"{given}: expected a number, got none")
    for name, number in ((given, value), ("tokens per parameter", ratio)):
        if number is not None and not 1e-3 < number < 1e40:
            raise InputError(f"{name}: expected a number above 0 and below 1e40, got {number:g}")
    rule = find_rule(law)
    known = dict(zip(GIVEN, ("flops", "parameters", "tokens"), strict=True))[given]
    made = make_plan(PlanInputs(**{known: value}, ratio=ratio), rule)
    return Planned(rule, made, _rows(made), _beside(rule, made.flops), _warnings(rule, made))


def _rows(made: Plan) -> list[list[str]]:
    best, counted = made.optimum, _COUNTED[made.convention]
    rows = [
        ["compute, 6 N D (FLOPs)", f"{made.flops:.3g}", ""],
        [f"N ({counted})", show_count(made.parameters), ""],
        ["D (tokens)", show_count(made.tokens), ""],
        ["D / N", f"{made.ratio:.3g}", ""],
        ["optimal N at this compute", show_count(best.parameters), _interval(best.parameters_ci95, show_count)],
        ["optimal D at this compute", show_count(best.tokens), _interval(best.tokens_ci95, show_count)],
        ["optimal D / N", f"{best.ratio:.3g}", _interval(best.ratio_ci95, "{:.3g}".format)],
    ]
    if made.wasted is not None:
        rows.append(["compute that the optimum saves", f"{made.wasted:.1%}", ""])
    return rows


def _interval(values: tuple[float, float] | None, show: object) -> str:
    return "" if values is None or not callable(show) else f"{show(values[0])} to {show(values[1])}"


def _beside(rule: Law | FixedRatio, flops: float) -> list[list[str]]:
    if not isinstance(rule, Law):
        return []
    return [
        [f"{row.times:g}", show_count(row.parameters), show_count(row.tokens), f"{row.wasted:.1%}"]
        for row in off_optimum(rule, flops)
    ]


def _warnings(rule: Law | FixedRatio, made: Plan) -> list[str]:
    if not isinstance(rule, Law):
        return [
            f"{rule.name} is a ratio, not a law: it has no loss to draw, and nothing is said of what leaving it costs."
        ]
    warnings = []
    if made.extrapolated:
        low, high = rule.flops_range
        warnings.append(
            f"{made.flops:.2g} FLOPs lie outside of the {low:.0e} to {high:.0e} that {rule.name} was fitted on: "
            "this is extrapolated."
        )
    if rule.uncertainty is None:
        warnings.append(
            f"{rule.name} comes without intervals; as printed, its constants are too rounded to extrapolate."
        )
    return warnings
