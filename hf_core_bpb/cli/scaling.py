"""The commands scaling plan, scaling fit and scaling forecast: read, compute, print, write."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hf_core_bpb import __version__
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.formatting import show_count
from hf_core_bpb.scaling.curves import fit_core, fit_frontier, fit_isoflops
from hf_core_bpb.scaling.fit import ParametricFit, fit_parametric
from hf_core_bpb.scaling.forecast import forecast_loss
from hf_core_bpb.scaling.laws import LAWS, RATIOS, Law, find_rule
from hf_core_bpb.scaling.minimum import HUBER_DELTA
from hf_core_bpb.scaling.plan import Plan, Request, effective_tokens, make_plan, make_schedule, off_optimum
from hf_core_bpb.scaling.table import read_curve, read_runs

# Hoffmann et al.'s rounded constants are there to be asked for by name.
_SHOWN = ["besiroglu-2024", *RATIOS]


def show_plan(request: Request, law: str | None, tokens_a_step: int, unique_tokens: float | None) -> None:
    """Print what follows from a request under one rule, or under all that are recommended."""
    plans = [make_plan(request, find_rule(name)) for name in ([law] if law is not None else _SHOWN)]
    console = Console()
    table = Table(title="Plan", title_justify="left")
    for name in ("rule", "N counts", "FLOPs", "N", "D", "D/N", "wasted"):
        table.add_column(name, justify="left" if name in ("rule", "N counts") else "right", no_wrap=True)
    optima = Table(title="Optimum at the same compute (95 %)", title_justify="left")
    for name in ("rule", "N*", "D*", "D*/N*"):
        optima.add_column(name, justify="left" if name == "rule" else "right", no_wrap=True)
    for plan in plans:
        wasted = "-" if plan.wasted is None else f"{plan.wasted:.1%}"
        size, tokens = show_count(plan.parameters), show_count(plan.tokens)
        table.add_row(plan.rule, plan.convention, f"{plan.flops:.3g}", size, tokens, f"{plan.ratio:.1f}", wasted)
        best = plan.optimum
        optima.add_row(
            plan.rule,
            _range(best.parameters, best.parameters_ci95),
            _range(best.tokens, best.tokens_ci95),
            _range(best.ratio, best.ratio_ci95, "{:.3g}".format),
        )
    console.print(table)
    console.print(optima)
    console.print(
        "N counts: which parameters the rule's N is of (matmul: weight matrices and head). wasted: the share of "
        "compute that the optimum saves at the same loss.",
        soft_wrap=True,
    )
    for plan in plans:
        console.print(f"{plan.rule}: {plan.source}.", highlight=False, soft_wrap=True)
        if plan.extrapolated:
            low, high = LAWS[plan.rule].flops_range
            console.print(
                f"warning: {plan.flops:.2g} FLOPs lie outside of the {low:.0e} to {high:.0e} that {plan.rule} was "
                "fitted on: this is extrapolated",
                highlight=False,
                soft_wrap=True,
            )
    first = plans[0]
    rule = find_rule(first.rule)
    if isinstance(rule, Law):
        console.print(_off_optimum_table(rule, first.flops))
    if unique_tokens is not None:
        worth = effective_tokens(first.tokens, unique_tokens)
        console.print(
            f"{show_count(first.tokens)} tokens out of {show_count(unique_tokens)} unique ones are worth "
            f"{show_count(worth)} fresh ones (Muennighoff et al. 2023, arXiv:2305.16264).",
            highlight=False,
            soft_wrap=True,
        )
    _print_schedule(console, first, tokens_a_step)


def _off_optimum_table(law: Law, flops: float) -> Table:
    table = Table(title=f"Smaller and larger models at {flops:.3g} FLOPs, by {law.name}", title_justify="left")
    for name in ("times N*", "N", "D", "D/N", "compute wasted"):
        table.add_column(name, justify="right")
    for row in off_optimum(law, flops):
        ratio = row.tokens / row.parameters
        table.add_row(
            f"{row.times:g}", show_count(row.parameters), show_count(row.tokens), f"{ratio:.1f}", f"{row.wasted:.1%}"
        )
    return table


def _print_schedule(console: Console, plan: Plan, tokens_a_step: int) -> None:
    schedule = make_schedule(plan.tokens, tokens_a_step)
    console.print(
        f"Steps of {tokens_a_step:,} tokens for {plan.rule}: {schedule.max_steps:,}, of which "
        f"{schedule.num_warmup_steps:,} warm up and the last {schedule.num_decay_steps:,} decay. TrainingArguments:",
        highlight=False,
        soft_wrap=True,
    )
    for name, value in schedule.arguments().items():
        console.print(f"    {name}={value!r},", highlight=False, soft_wrap=True)


@dataclasses.dataclass(frozen=True, slots=True)
class FitOptions:
    """What `scaling fit` was asked for."""

    runs: Path
    json: Path | None
    plots: Path | None
    drop_highest: int
    bootstraps: int
    budgets: Sequence[float]
    repeated: bool
    seed: int


def show_fit(options: FitOptions) -> None:
    """Fit laws to the runs of a file, print them, and write them and their pictures where asked to."""
    runs, column = read_runs(options.runs, options.repeated)
    if options.repeated:
        runs = [dataclasses.replace(r, tokens=effective_tokens(r.tokens, r.unique_tokens or r.tokens)) for r in runs]
    fit = fit_parametric(
        runs,
        drop_highest=options.drop_highest,
        bootstraps=options.bootstraps,
        budgets=options.budgets,
        seed=options.seed,
    )
    isoflops = fit_isoflops(fit.runs, fit.coefficients)
    frontier = fit_frontier(fit.runs, options.bootstraps, options.seed)
    core = fit_core(runs)
    unit = "nats a token" if column == "loss" else "bits a byte"
    found = {
        "schema_version": 1,
        "recipe": recipe(fit, options, column),
        "parametric": _fit_values(fit),
        "isoflop": dataclasses.asdict(isoflops),
        "frontier": dataclasses.asdict(frontier) if frontier is not None else None,
        "core": dataclasses.asdict(core) if core is not None else None,
    }
    console = Console()
    _print_fit(console, fit, unit)
    if isoflops.exponent is not None:
        biases = [valley.bias for valley in isoflops.valleys if valley.bias is not None and not valley.at_edge]
        console.print(
            f"isoFLOP parabolas: N* ~ C^{isoflops.exponent:.3f} over {len(isoflops.valleys)} budgets; on the law's own "
            f"losses at these sizes they miss its N* by {min(biases):+.1%} to {max(biases):+.1%}: the method's bias.",
            highlight=False,
            soft_wrap=True,
        )
    if frontier is not None:
        low, high = frontier.exponent_ci95
        console.print(
            f"L(C) through the best runs: {frontier.law.floor:.4g} + {frontier.law.scale:.4g} C^-"
            f"{frontier.law.exponent:.3f} (exponent {low:.3f} to {high:.3f}).",
            highlight=False,
            soft_wrap=True,
        )
    if core is not None:
        low, high = core.slope_ci95
        console.print(
            f"CORE = {core.intercept:.4f} + {core.slope:.4f} log10 N (slope {low:.4f} to {high:.4f}, "
            f"{core.num_runs} runs).",
            highlight=False,
            soft_wrap=True,
        )
    console.print(found["recipe"], highlight=False, soft_wrap=True)
    try:
        if options.json is not None:
            options.json.write_text(json.dumps(_finite(found), indent=2) + "\n", encoding="utf-8")
        if options.plots is not None:
            from hf_core_bpb.report.figure_output import save_figures
            from hf_core_bpb.report.plotting import scaling_figures

            save_figures(scaling_figures(fit, isoflops, frontier, unit), options.plots)
    except OSError as error:
        raise InputError(f"--json, --plots: expected places that can be written, got: {reason(error)}") from None


def recipe(fit: ParametricFit, options: FitOptions, column: str) -> str:
    """Return the line that names all that a fit depends on."""
    parts = {
        "fit": "E+A/N^alpha+B/D^beta",
        "objective": f"sum-huber({HUBER_DELTA:g})-log-{column}",
        "runs": len(fit.runs),
        "dropped": f"highest:{options.drop_highest}",
        "repeated": "muennighoff2023" if options.repeated else "no",
        "bootstraps": fit.num_bootstraps,
        "seed": options.seed,
        "version": __version__,
    }
    return "|".join(f"{name}:{value}" for name, value in parts.items())


def _fit_values(fit: ParametricFit) -> dict[str, Any]:
    values = dataclasses.asdict(fit)
    values["coefficients"]["exponent"] = fit.coefficients.exponent
    for run, predicted in zip(values["runs"], fit.runs, strict=True):
        run["predicted"] = fit.coefficients.loss(predicted.parameters, predicted.tokens)
    return values


def _print_fit(console: Console, fit: ParametricFit, unit: str) -> None:
    table = Table(title=f"L(N, D) = E + A / N^alpha + B / D^beta, {unit}", title_justify="left")
    for name in ("coefficient", "value", "95 %"):
        table.add_column(name, justify="left" if name == "coefficient" else "right")
    values = dataclasses.asdict(fit.coefficients) | {"exponent": fit.coefficients.exponent}
    for name, value in values.items():
        title = "a, N* ~ C^a" if name == "exponent" else name
        table.add_row(title, f"{value:.5g}", _interval(fit.ci95.get(name)))
    console.print(table)
    optima = Table(title="Least loss at a budget", title_justify="left")
    for name in ("FLOPs", "N* (95 %)", "D* (95 %)", "D*/N* (95 %)"):
        optima.add_column(name, justify="right", no_wrap=True)
    for best in () if fit.at_bound else fit.optima:
        optima.add_row(
            f"{best.flops:.3g}",
            _range(best.parameters, best.parameters_ci95),
            _range(best.tokens, best.tokens_ci95),
            _range(best.ratio, best.ratio_ci95, "{:.1f}".format),
        )
    console.print(optima)
    notes = [
        f"Objective {fit.objective:.6g} over {len(fit.runs)} runs; {fit.converged_starts:.0%} of starts ended there."
    ]
    if fit.at_bound:
        bound = ", ".join(fit.at_bound)
        notes.append(f"warning: {bound} ended on a bound: the runs do not determine them, nor an optimum.")
    if fit.outliers:
        notes.append(
            f"{len(fit.outliers)} outliers, by place among the runs kept: {', '.join(map(str, fit.outliers))}."
        )
    if fit.held_out_error is not None:
        notes.append(
            f"A fit without those of most compute ({fit.num_held_out}) predicts them to {fit.held_out_error:.2%}."
        )
    for note in notes:
        console.print(note, highlight=False, soft_wrap=True)


def show_forecast(curve: Path, final_step: int) -> None:
    """Print the forecast of a curve's end."""
    steps, losses = read_curve(curve)
    found = forecast_loss(steps, losses, final_step)
    low, high = found.ci95
    print(f"{found.loss:.4f} at step {final_step:,}, 95 % {low:.4f} to {high:.4f}, from {found.num_points} points")
    print("At a constant learning rate: a decay that is still to come lowers it further.")


def _interval(values: tuple[float, float] | None, show: Callable[[float], str] = "{:.4g}".format) -> str:
    if values is None or not all(math.isfinite(value) for value in values):
        return "-"
    low, high = (show(value) for value in values)
    return f"{low}–{high}"


def _range(value: float, interval: tuple[float, float] | None, show: Callable[[float], str] = show_count) -> str:
    return show(value) if interval is None else f"{show(value)} ({_interval(interval, show)})"


def _finite(value: Any) -> Any:
    """Return plain values with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
