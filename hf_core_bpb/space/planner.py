"""The compute planner: completes a training plan from compute, size or tokens under a named law (pure)."""

from collections.abc import Callable
from dataclasses import dataclass

from hf_core_bpb.errors import InputError
from hf_core_bpb.formatting import show_count
from hf_core_bpb.scaling.laws import LAWS, RATIOS, FixedRatio, Law, find_rule
from hf_core_bpb.scaling.plan import Plan, PlanInputs, make_plan, off_optimum

RULES = (*LAWS, *RATIOS)
# The choices of the form, with the field of PlanInputs that each one sets.
_FIELDS = {"compute (FLOPs)": "flops", "parameters (N)": "parameters", "tokens (D)": "tokens"}
QUANTITIES = tuple(_FIELDS)
_CONVENTIONS = {"total": "all parameters", "matmul": "weight matrices and head, no embeddings"}


@dataclass(frozen=True, slots=True)
class PlanTables:
    """A plan as rows of text, smaller and larger models at the same compute, and warnings."""

    rule: Law | FixedRatio
    plan: Plan
    rows: list[list[str]]
    off_optimum: list[list[str]]
    warnings: list[str]


def describe_rule(name: str) -> str:
    """Return a sentence with what the N of a rule counts, and its source."""
    rule = find_rule(name)
    return f"N counts {_CONVENTIONS[rule.convention]}. Source: {rule.source}."


def plan(quantity: str, value: float | None, ratio: float | None, law: str) -> PlanTables:
    """Plan from compute, parameters or tokens, at a ratio or, without one, at the optimum of the law.

    Raises InputError for missing and invalid values.
    """
    if quantity not in _FIELDS:
        raise InputError(f"quantity: expected one of {', '.join(_FIELDS)}, got {quantity!r}")
    if value is None:
        raise InputError(f"{quantity}: expected a number, got none")
    for name, number in ((quantity, value), ("tokens per parameter", ratio)):
        if number is not None and not 1e-3 < number < 1e40:
            raise InputError(f"{name}: expected a number above 0 and below 1e40, got {number:g}")
    rule = find_rule(law)
    result = make_plan(PlanInputs(**{_FIELDS[quantity]: value}, ratio=ratio), rule)
    return PlanTables(rule, result, _rows(result), _off_optimum_rows(rule, result.flops), _warnings(rule, result))


def _rows(plan: Plan) -> list[list[str]]:
    best = plan.optimum
    rows = [
        ["compute, 6 N D (FLOPs)", f"{plan.flops:.3g}", ""],
        [f"N ({_CONVENTIONS[plan.convention]})", show_count(plan.parameters), ""],
        ["D (tokens)", show_count(plan.tokens), ""],
        ["D / N", f"{plan.ratio:.3g}", ""],
        ["optimal N at this compute", show_count(best.parameters), _interval(best.parameters_ci95, show_count)],
        ["optimal D at this compute", show_count(best.tokens), _interval(best.tokens_ci95, show_count)],
        ["optimal D / N", f"{best.ratio:.3g}", _interval(best.ratio_ci95, "{:.3g}".format)],
    ]
    if plan.wasted is not None:
        rows.append(["compute that the optimum saves", f"{plan.wasted:.1%}", ""])
    return rows


def _interval(values: tuple[float, float] | None, show: Callable[[float], str]) -> str:
    return "" if values is None else f"{show(values[0])} to {show(values[1])}"


def _off_optimum_rows(rule: Law | FixedRatio, flops: float) -> list[list[str]]:
    if not isinstance(rule, Law):
        return []
    return [
        [f"{model.times:g}", show_count(model.parameters), show_count(model.tokens), f"{model.wasted:.1%}"]
        for model in off_optimum(rule, flops)
    ]


def _warnings(rule: Law | FixedRatio, plan: Plan) -> list[str]:
    if not isinstance(rule, Law):
        return [f"{rule.name} is a ratio, not a law: it predicts neither a loss nor the cost of another ratio."]
    warnings = []
    if plan.extrapolated:
        low, high = rule.flops_range
        warnings.append(
            f"{plan.flops:.2g} FLOPs are outside the {low:.0e} to {high:.0e} that {rule.name} was fitted on: "
            "this is an extrapolation."
        )
    if rule.uncertainty is None:
        warnings.append(f"{rule.name} has no intervals, and its printed constants are too rounded to extrapolate.")
    return warnings
