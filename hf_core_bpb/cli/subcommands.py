"""The other commands than the evaluation: their options, and what does the work, imported once it is asked for."""

import argparse
from pathlib import Path

from hf_core_bpb.cli.main import PROG
from hf_core_bpb.errors import InputError


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the scaling commands."""
    parser = argparse.ArgumentParser(prog=f"{PROG} scaling", description="Plan training runs, and fit laws to them.")
    commands = parser.add_subparsers(dest="command", required=True)
    plan = commands.add_parser(
        "plan",
        help="from compute, size, tokens or ratio to the rest",
        description="One of --flops, --params, --tokens gives what is optimal for it; two of the four give the rest.",
    )
    plan.add_argument("--flops", type=float, metavar="C", help="compute, 6 N D")
    plan.add_argument("--params", type=float, metavar="N", help="parameters, as the rule counts them")
    plan.add_argument("--tokens", type=float, metavar="D", help="training tokens")
    plan.add_argument("--ratio", type=float, metavar="D/N", help="tokens per parameter")
    plan.add_argument("--law", help="one rule instead of all: besiroglu-2024, chinchilla-20, nanochat, ...")
    plan.add_argument("--tokens-per-step", type=int, default=524_288, metavar="N", help="default: 524288")
    plan.add_argument("--unique-tokens", type=float, metavar="U", help="how many of the tokens are not repetitions")
    fit = commands.add_parser(
        "fit",
        help="fit laws to finished runs",
        description="RUNS is a CSV file: parameters, tokens (or flops), loss or bpb; optionally core, unique_tokens.",
    )
    fit.add_argument("runs", metavar="RUNS")
    fit.add_argument("--json", metavar="FILE", help="write everything that was found")
    fit.add_argument("--plots", metavar="DIR", help="write pictures: fit, residuals, isoflop, frontier")
    fit.add_argument("--drop-highest", type=int, default=0, metavar="K", help="leave out the K runs of highest loss")
    fit.add_argument("--bootstraps", type=int, default=400, metavar="N", help="for intervals (default: 400)")
    fit.add_argument("--flops", type=float, action="append", default=[], metavar="C", help="repeatable: optimum there")
    fit.add_argument("--repeated", action="store_true", help="count repeated tokens for what they are worth")
    fit.add_argument("--seed", type=int, default=1234)
    forecast = commands.add_parser(
        "forecast", help="the end of a curve", description="CURVE is a CSV file: step, loss or bpb."
    )
    forecast.add_argument("curve", metavar="CURVE")
    forecast.add_argument("--final-step", type=int, required=True, metavar="N")
    return parser


def run(args: argparse.Namespace) -> None:
    """Plan, fit or forecast."""
    from hf_core_bpb.cli.scaling import FitOptions, show_fit, show_forecast, show_plan
    from hf_core_bpb.scaling.plan import Request

    if args.command == "plan":
        if args.tokens_per_step < 1:
            raise InputError(f"--tokens-per-step: expected 1 or more, got {args.tokens_per_step}")
        request = Request(args.flops, args.params, args.tokens, args.ratio)
        show_plan(request, args.law, args.tokens_per_step, args.unique_tokens)
    elif args.command == "fit":
        if args.bootstraps < 1:
            raise InputError(f"--bootstraps: expected 1 or more, got {args.bootstraps}")
        show_fit(
            FitOptions(
                runs=Path(args.runs),
                json=Path(args.json) if args.json is not None else None,
                plots=Path(args.plots) if args.plots is not None else None,
                drop_highest=args.drop_highest,
                bootstraps=args.bootstraps,
                budgets=args.flops,
                repeated=args.repeated,
                seed=args.seed,
            )
        )
    else:
        show_forecast(Path(args.curve), args.final_step)
