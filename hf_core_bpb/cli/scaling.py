"""The commands scaling plan, scaling fit and scaling forecast: their options and computations."""

import argparse
import dataclasses
from pathlib import Path

from hf_core_bpb.cli.main import PROG
from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling.laws import RATIOS, find_rule
from hf_core_bpb.scaling.plan import PlanInputs, effective_tokens, make_plan
from hf_core_bpb.scaling.runs import read_curve, read_runs

# Without the rounded constants of Hoffmann et al., which are available by name.
RECOMMENDED = ("besiroglu-2024", *RATIOS)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the scaling commands."""
    parser = argparse.ArgumentParser(
        prog=f"{PROG} scaling",
        description="Plan training runs, fit scaling laws to finished ones, forecast losses.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_plan_options(
        commands.add_parser(
            "plan",
            help="plan a training run from compute, size, tokens or ratio",
            description="Give --flops, --params or --tokens alone for the optimal allocation, or two of --flops, "
            "--params, --tokens and --ratio to compute the rest.",
        )
    )
    _add_fit_options(
        commands.add_parser(
            "fit",
            help="fit scaling laws to finished runs",
            description="RUNS is a CSV file with columns parameters, tokens (or flops), and loss or bpb; optionally "
            "core and unique_tokens.",
        )
    )
    _add_forecast_options(
        commands.add_parser(
            "forecast",
            help="forecast the final loss of a run",
            description="CURVE is a CSV file with columns step, and loss or bpb.",
        )
    )
    return parser


def _add_plan_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--flops", type=float, metavar="C", help="training compute, 6 N D")
    parser.add_argument("--params", type=float, metavar="N", help="parameters, as the rule counts them")
    parser.add_argument("--tokens", type=float, metavar="D", help="training tokens")
    parser.add_argument("--ratio", type=float, metavar="D/N", help="tokens per parameter")
    parser.add_argument(
        "--law",
        metavar="NAME",
        help=f"besiroglu-2024, hoffmann-2022, chinchilla-20 or nanochat (default: {', '.join(RECOMMENDED)})",
    )
    parser.add_argument(
        "--tokens-per-step", type=int, default=524_288, metavar="N", help="for the schedule (default: 524288)"
    )
    parser.add_argument(
        "--unique-tokens", type=float, metavar="U", help="unique tokens available; the training tokens repeat them"
    )


def _add_fit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUNS")
    parser.add_argument("--json", metavar="FILE", help="write all results as JSON")
    parser.add_argument(
        "--plots", metavar="DIR", help="write plots of the fit, residuals, IsoFLOP curves and compute frontier"
    )
    parser.add_argument("--drop-highest", type=int, default=0, metavar="K", help="leave out the K runs of highest loss")
    parser.add_argument("--bootstraps", type=int, default=400, metavar="N", help="for the intervals (default: 400)")
    parser.add_argument(
        "--flops",
        type=float,
        action="append",
        default=[],
        metavar="C",
        help="repeatable: a budget to report the optimal allocation for (default: the largest of the runs, and ten "
        "times that)",
    )
    parser.add_argument("--repeated", action="store_true", help="discount repeated tokens (column unique_tokens)")
    parser.add_argument("--seed", type=int, default=1234, help="default: 1234")


def _add_forecast_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("curve", metavar="CURVE")
    parser.add_argument("--final-step", type=int, required=True, metavar="N", help="the step to forecast")


def run(args: argparse.Namespace) -> None:
    """Plan a training run, fit laws to finished ones, or forecast a loss."""
    commands = {"plan": _plan, "fit": _fit, "forecast": _forecast}
    commands[args.command](args)


def _plan(args: argparse.Namespace) -> None:
    if args.tokens_per_step < 1:
        raise InputError(f"--tokens-per-step: expected 1 or more, got {args.tokens_per_step}")
    from hf_core_bpb.cli.scaling_output import print_plans

    inputs = PlanInputs(flops=args.flops, parameters=args.params, tokens=args.tokens, ratio=args.ratio)
    rules = [find_rule(name) for name in ([args.law] if args.law is not None else RECOMMENDED)]
    plans = [(rule, make_plan(inputs, rule)) for rule in rules]
    print_plans(plans, args.tokens_per_step, args.unique_tokens)


def _fit(args: argparse.Namespace) -> None:
    if args.bootstraps < 1:
        raise InputError(f"--bootstraps: expected 1 or more, got {args.bootstraps}")
    from hf_core_bpb.cli.scaling_output import FittedLaws, print_fit, write_fit
    from hf_core_bpb.scaling.curves import fit_core, fit_frontier, fit_isoflops
    from hf_core_bpb.scaling.fit import fit_parametric

    runs, loss_column = read_runs(Path(args.runs), args.repeated)
    if args.repeated:
        runs = [dataclasses.replace(r, tokens=effective_tokens(r.tokens, r.unique_tokens or r.tokens)) for r in runs]
    fit = fit_parametric(
        runs, drop_highest=args.drop_highest, bootstraps=args.bootstraps, budgets=args.flops, seed=args.seed
    )
    laws = FittedLaws(
        parametric=fit,
        isoflops=fit_isoflops(fit.runs, fit.coefficients),
        frontier=fit_frontier(fit.runs, args.bootstraps, args.seed),
        core=fit_core(runs),
        loss_column=loss_column,
        drop_highest=args.drop_highest,
        repeated=args.repeated,
        seed=args.seed,
    )
    print_fit(laws)
    write_fit(
        laws,
        json_path=Path(args.json) if args.json is not None else None,
        plots_folder=Path(args.plots) if args.plots is not None else None,
    )


def _forecast(args: argparse.Namespace) -> None:
    from hf_core_bpb.cli.scaling_output import print_forecast
    from hf_core_bpb.scaling.forecast import forecast_loss

    steps, losses = read_curve(Path(args.curve))
    print_forecast(forecast_loss(steps, losses, args.final_step), args.final_step)
