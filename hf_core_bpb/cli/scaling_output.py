"""What the scaling commands print and write: tables, lines, JSON and plots."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hf_core_bpb import __version__
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.formatting import show_count
from hf_core_bpb.scaling.curves import CoreLine, Frontier, IsoFlops
from hf_core_bpb.scaling.fit import ParametricFit
from hf_core_bpb.scaling.forecast import Forecast
from hf_core_bpb.scaling.laws import FixedRatio, Law
from hf_core_bpb.scaling.minimum import HUBER_DELTA
from hf_core_bpb.scaling.plan import Plan, effective_tokens, make_schedule, off_optimum

_PLAN_LEGEND = (
    "N counts: the parameters that the rule counts as N (matmul: weight matrices and head). "
    "wasted: the share of compute that the optimal allocation saves at the same loss."
)


def print_plans(
    plans: Sequence[tuple[Law | FixedRatio, Plan]], tokens_per_step: int, unique_tokens: float | None
) -> None:
    """Print a plan under each rule, and the alternatives and the schedule of the first plan."""
    first_rule, first = plans[0]
    parts: list[Table | str] = [
        _plan_table([plan for _, plan in plans]),
        _optimum_table([plan for _, plan in plans]),
        _PLAN_LEGEND,
    ]
    for rule, plan in plans:
        parts += _source_lines(rule, plan)
    if isinstance(first_rule, Law):
        parts.append(_off_optimum_table(first_rule, first.flops))
    if unique_tokens is not None:
        parts.append(_repetition_line(first.tokens, unique_tokens))
    _print([*parts, *_schedule_lines(first, tokens_per_step)])


def _plan_table(plans: Sequence[Plan]) -> Table:
    rows = [
        (
            plan.rule,
            plan.convention,
            f"{plan.flops:.3g}",
            show_count(plan.parameters),
            show_count(plan.tokens),
            f"{plan.ratio:.1f}",
            "-" if plan.wasted is None else f"{plan.wasted:.1%}",
        )
        for plan in plans
    ]
    return _table("Plan", ("rule", "N counts", "FLOPs", "N", "D", "D/N", "wasted"), rows, num_left=2)


def _optimum_table(plans: Sequence[Plan]) -> Table:
    rows = [
        (
            plan.rule,
            _with_interval(plan.optimum.parameters, plan.optimum.parameters_ci95),
            _with_interval(plan.optimum.tokens, plan.optimum.tokens_ci95),
            _with_interval(plan.optimum.ratio, plan.optimum.ratio_ci95, "{:.3g}".format),
        )
        for plan in plans
    ]
    title = "Optimum at the same compute (95% interval)"
    return _table(title, ("rule", "N*", "D*", "D*/N*"), rows, num_left=1)


def _source_lines(rule: Law | FixedRatio, plan: Plan) -> list[str]:
    lines = [f"{plan.rule}: {plan.source}."]
    if plan.extrapolated and isinstance(rule, Law):
        low, high = rule.flops_range
        lines.append(
            f"warning: {plan.flops:.2g} FLOPs are outside the {low:.0e} to {high:.0e} that {plan.rule} was fitted on: "
            "this is an extrapolation"
        )
    return lines


def _off_optimum_table(law: Law, flops: float) -> Table:
    rows = [
        (
            f"{model.times:g}",
            show_count(model.parameters),
            show_count(model.tokens),
            f"{model.tokens / model.parameters:.1f}",
            f"{model.wasted:.1%}",
        )
        for model in off_optimum(law, flops)
    ]
    title = f"Smaller and larger models at {flops:.3g} FLOPs, by {law.name}"
    return _table(title, ("times N*", "N", "D", "D/N", "compute wasted"), rows)


def _repetition_line(tokens: float, unique_tokens: float) -> str:
    return (
        f"{show_count(tokens)} tokens that repeat {show_count(unique_tokens)} unique ones are worth "
        f"{show_count(effective_tokens(tokens, unique_tokens))} unique tokens "
        "(Muennighoff et al. 2023, arXiv:2305.16264)."
    )


def _schedule_lines(plan: Plan, tokens_per_step: int) -> list[str]:
    schedule = make_schedule(plan.tokens, tokens_per_step)
    return [
        f"Schedule for {plan.rule} with {tokens_per_step:,} tokens per step: {schedule.max_steps:,} steps, the first "
        f"{schedule.num_warmup_steps:,} of warmup and the last {schedule.num_decay_steps:,} of decay. "
        "TrainingArguments:",
        *(f"    {name}={value!r}," for name, value in schedule.arguments().items()),
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class FittedLaws:
    """All curves fitted to the runs of a file, and the inputs that they depend on."""

    parametric: ParametricFit
    isoflops: IsoFlops
    frontier: Frontier | None
    core: CoreLine | None
    loss_column: str
    drop_highest: int
    repeated: bool
    seed: int

    @property
    def unit(self) -> str:
        """The unit of the losses."""
        return "nats per token" if self.loss_column == "loss" else "bits per byte"

    @property
    def recipe(self) -> str:
        """One line with everything that the numbers depend on."""
        parts = {
            "fit": "E+A/N^alpha+B/D^beta",
            "objective": f"sum-huber({HUBER_DELTA:g})-log-{self.loss_column}",
            "runs": len(self.parametric.runs),
            "dropped": f"highest:{self.drop_highest}",
            "repeated": "muennighoff2023" if self.repeated else "no",
            "bootstraps": self.parametric.num_bootstraps,
            "seed": self.seed,
            "version": __version__,
        }
        return "|".join(f"{name}:{value}" for name, value in parts.items())


def print_fit(laws: FittedLaws) -> None:
    """Print the coefficients, the optima, the diagnostics, the curves and the recipe of a fit."""
    fit = laws.parametric
    _print(
        [
            _coefficients_table(fit, laws.unit),
            _budgets_table(fit),
            *_diagnostics(fit),
            *_curve_lines(laws),
            laws.recipe,
        ]
    )


def _coefficients_table(fit: ParametricFit, unit: str) -> Table:
    values = dataclasses.asdict(fit.coefficients) | {"exponent": fit.coefficients.exponent}
    rows = [
        ("a, N* ~ C^a" if name == "exponent" else name, f"{value:.5g}", _interval(fit.ci95.get(name)))
        for name, value in values.items()
    ]
    title = f"L(N, D) = E + A / N^alpha + B / D^beta, {unit}"
    return _table(title, ("coefficient", "value", "95% interval"), rows, num_left=1)


def _budgets_table(fit: ParametricFit) -> Table:
    rows = [
        (
            f"{optimum.flops:.3g}",
            _with_interval(optimum.parameters, optimum.parameters_ci95),
            _with_interval(optimum.tokens, optimum.tokens_ci95),
            _with_interval(optimum.ratio, optimum.ratio_ci95, "{:.1f}".format),
        )
        for optimum in (() if fit.at_bound else fit.optima)
    ]
    return _table("Optimum by budget (95% interval)", ("FLOPs", "N*", "D*", "D*/N*"), rows)


def _diagnostics(fit: ParametricFit) -> list[str]:
    lines = [
        f"Objective {fit.objective:.6g} over {len(fit.runs)} runs; {fit.converged_starts:.0%} of the starts "
        "converged to it."
    ]
    if fit.at_bound:
        lines.append(
            f"warning: {', '.join(fit.at_bound)} ended on a bound: the runs determine neither these coefficients nor "
            "an optimum."
        )
    if fit.outliers:
        indices = ", ".join(map(str, fit.outliers))
        lines.append(f"{len(fit.outliers)} outliers, by index among the fitted runs: {indices}.")
    if fit.held_out_error is not None:
        lines.append(
            f"Held-out error: a fit without the {fit.num_held_out} runs of most compute predicts their losses to "
            f"within {fit.held_out_error:.2%} on average."
        )
    return lines


def _curve_lines(laws: FittedLaws) -> list[str]:
    lines = []
    if laws.isoflops.exponent is not None:
        lines.append(f"IsoFLOP curves: N* ~ C^{laws.isoflops.exponent:.3f} over {len(laws.isoflops.curves)} budgets.")
        biases = [curve.bias for curve in laws.isoflops.curves if curve.bias is not None and not curve.at_edge]
        if biases:
            lines.append(
                f"Bias of the IsoFLOP method: on losses of the fitted law at the same sizes, it misses the law's N* "
                f"by {min(biases):+.1%} to {max(biases):+.1%}."
            )
    if laws.frontier is not None:
        low, high = laws.frontier.exponent_ci95
        law = laws.frontier.law
        lines.append(
            f"Compute frontier: L(C) = {law.floor:.4g} + {law.scale:.4g} C^-{law.exponent:.3f} "
            f"(exponent {low:.3f} to {high:.3f})."
        )
    if laws.core is not None:
        low, high = laws.core.slope_ci95
        lines.append(
            f"CORE = {laws.core.intercept:.4f} + {laws.core.slope:.4f} log10 N (slope {low:.4f} to {high:.4f}, "
            f"{laws.core.num_runs} runs)."
        )
    return lines


def write_fit(laws: FittedLaws, json_path: Path | None, plots_folder: Path | None) -> None:
    """Write a fit as JSON and as plots, where paths are given. Raises InputError for paths that cannot be written."""
    try:
        if json_path is not None:
            text = json.dumps(_null_for_non_finite(_fit_values(laws)), indent=2) + "\n"
            json_path.write_text(text, encoding="utf-8")
        if plots_folder is not None:
            from hf_core_bpb.report.figure_output import save_figures
            from hf_core_bpb.report.plotting import scaling_figures

            save_figures(scaling_figures(laws.parametric, laws.isoflops, laws.frontier, laws.unit), plots_folder)
    except OSError as error:
        raise InputError(f"--json, --plots: cannot write the files: {reason(error)}") from None


def _fit_values(laws: FittedLaws) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "recipe": laws.recipe,
        "parametric": _parametric_values(laws.parametric),
        "isoflop": dataclasses.asdict(laws.isoflops),
        "frontier": dataclasses.asdict(laws.frontier) if laws.frontier is not None else None,
        "core": dataclasses.asdict(laws.core) if laws.core is not None else None,
    }


def _parametric_values(fit: ParametricFit) -> dict[str, Any]:
    """Return the fields of a fit together with the properties of their values."""
    values = dataclasses.asdict(fit)
    values["coefficients"]["exponent"] = fit.coefficients.exponent
    for row, optimum in zip(values["optima"], fit.optima, strict=True):
        row |= {"ratio": optimum.ratio, "ratio_ci95": optimum.ratio_ci95}
    for row, run in zip(values["runs"], fit.runs, strict=True):
        row["predicted"] = fit.coefficients.loss(run.parameters, run.tokens)
    return values


def _null_for_non_finite(value: Any) -> Any:
    """Return nested values with None for floats that JSON cannot represent."""
    if isinstance(value, dict):
        return {key: _null_for_non_finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_null_for_non_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_forecast(forecast: Forecast, final_step: int) -> None:
    """Print the forecast of a curve's loss at a step."""
    low, high = forecast.ci95
    print(
        f"{forecast.loss:.4f} at step {final_step:,}, 95% interval {low:.4f} to {high:.4f}, "
        f"from {forecast.num_points} points"
    )
    print("This assumes a constant learning rate: a later decay lowers the loss further.")


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], num_left: int = 0) -> Table:
    """Return a table whose first `num_left` columns are aligned to the left, the others to the right."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < num_left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _print(parts: Sequence[Table | str]) -> None:
    console = Console()
    for part in parts:
        console.print(part, highlight=False, soft_wrap=isinstance(part, str))


def _interval(values: tuple[float, float] | None, show: Callable[[float], str] = "{:.4g}".format) -> str:
    if values is None or not all(math.isfinite(value) for value in values):
        return "-"
    low, high = (show(value) for value in values)
    return f"{low}–{high}"


def _with_interval(
    value: float, interval: tuple[float, float] | None, show: Callable[[float], str] = show_count
) -> str:
    return show(value) if interval is None else f"{show(value)} ({_interval(interval, show)})"
