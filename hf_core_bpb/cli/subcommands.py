"""The other commands than the evaluation: their options, and what does the work, imported once it is asked for."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from hf_core_bpb.cli.model_options import add_model_arguments, read_model_arguments
from hf_core_bpb.errors import InputError, reason

PROG = "hf-core-bpb"


def build_tasks_parser() -> argparse.ArgumentParser:
    """Return the parser of the tasks command."""
    parser = argparse.ArgumentParser(prog=f"{PROG} tasks", description="List the task files, or show one.")
    parser.add_argument(
        "name",
        nargs="*",
        metavar="[show] NAME",
        help="a task's name: show its file and a prompt rendered from demo rows",
    )
    item = parser.add_argument_group("one item as a model sees it: prompt, scored tokens, losses")
    item.add_argument("--index", type=int, metavar="I", help="its place, after the protocol's shuffle and limit")
    add_model_arguments(item)
    item.add_argument("--source", choices=["hub", "bundle", "demo"], help="where rows come from (default: hub)")
    item.add_argument("--bundle", metavar="PLACE", help="a CORE bundle: a folder, a zip file, or its https address")
    item.add_argument("--protocol", choices=["nanochat", "dclm"], help="default: nanochat")
    item.add_argument("--limit", type=int, metavar="N", help="as in the run that is looked into: it moves the shots")
    item.add_argument("--max-length", type=int, metavar="N", help="context window (default: the model's positions)")
    return parser


def _tasks(args: argparse.Namespace) -> int:
    names = args.name[1:] if args.name[:1] == ["show"] else args.name
    if len(names) > 1 or (not names and (args.name or args.index is not None)):
        raise InputError(f"tasks: expected one name, got {' '.join(names) or 'none'}")
    if args.index is None:
        for name, value in vars(args).items():
            if name not in ("name", "index") and value is not None and value is not False and value != "auto":
                raise InputError(f"--{name.replace('_', '-')}: expected --index with it, got none")
        from hf_core_bpb.cli.tasks import show_tasks

        show_tasks(names[0] if names else None)
        return 0
    from hf_core_bpb.cli.tasks import ItemOptions, show_one

    show_one(
        ItemOptions(
            task=names[0],
            index=args.index,
            model=read_model_arguments(args),
            tokenizer=args.tokenizer,
            dtype=args.dtype,
            source=args.source,
            bundle=args.bundle,
            protocol=args.protocol,
            limit=args.limit,
            max_length=args.max_length,
        )
    )
    return 0


def build_scaling_parser() -> argparse.ArgumentParser:
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


def build_report_parser() -> argparse.ArgumentParser:
    """Return the parser of the report command."""
    parser = argparse.ArgumentParser(
        prog=f"{PROG} report",
        description="One page of HTML of finished runs, which needs no network and nothing beside it.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output folders of runs; several are compared in front")
    parser.add_argument("--output", metavar="FILE", default="report.html", help="default: report.html")
    parser.add_argument("--png", metavar="DIR", help="write its charts as pictures too")
    return parser


def _report(args: argparse.Namespace) -> int:
    from hf_core_bpb.report.html import render_page
    from hf_core_bpb.results.folder import write_page
    from hf_core_bpb.results.saved import read_run

    path = Path(args.output)
    runs = [read_run(Path(run)) for run in args.runs]
    write_page(path, render_page(runs))
    print(path)
    if args.png is not None:
        from hf_core_bpb.report.figure_output import save_figures
        from hf_core_bpb.report.plotting import report_figures

        try:
            paths = save_figures(report_figures(runs), Path(args.png))
        except OSError as error:
            raise InputError(f"--png: expected a folder that can be written, got: {reason(error)}") from None
        print(*paths, sep="\n")
    return 0


def build_publish_parser() -> argparse.ArgumentParser:
    """Return the parser of the publish command."""
    parser = argparse.ArgumentParser(
        prog=f"{PROG} publish",
        description="Show what a run would add to its model's repository on the Hub: the card's evaluation results, "
        ".eval_results and results.json. Nothing is written without --push or --create-pr.",
    )
    parser.add_argument("run", metavar="RUN", help="output folder of a run")
    parser.add_argument("--repo", metavar="ID", help="the model's repository (default: the model that was evaluated)")
    parser.add_argument("--push", action="store_true", help="write it")
    parser.add_argument("--create-pr", action="store_true", help="propose it as a pull request")
    return parser


def _publish(args: argparse.Namespace) -> int:
    from hf_core_bpb.cli.publish import show_publication
    from hf_core_bpb.results.saved import read_run

    run = read_run(Path(args.run))
    show_publication(run, args.repo or run.name, args.push, args.create_pr)
    return 0


def build_compare_parser() -> argparse.ArgumentParser:
    """Return the parser of the compare command."""
    parser = argparse.ArgumentParser(
        prog=f"{PROG} compare",
        description="Hold runs against the first, item by item and document by document: differences with intervals.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output folders of two or more runs of one recipe")
    parser.add_argument("--only", choices=["core", "bpb"], help="compare only one of the two")
    parser.add_argument("--json", metavar="FILE", help="write everything, the items that flipped by their index too")
    parser.add_argument("--plot", metavar="FILE", help="write a picture (.png, .svg or .pdf)")
    return parser


def _compare(args: argparse.Namespace) -> int:
    if len(args.runs) < 2:
        raise InputError("compare: expected two or more runs, got one")
    from hf_core_bpb.cli.compare import show_comparison

    show_comparison(
        [Path(run) for run in args.runs], args.only, *(Path(p) if p else None for p in (args.json, args.plot))
    )
    return 0


def build_install_parser() -> argparse.ArgumentParser:
    """Return the parser of the install-metric command."""
    parser = argparse.ArgumentParser(
        prog=f"{PROG} install-metric",
        description='Make evaluate.load("hf_core_bpb/bpb") and ("hf_core_bpb/core") work from any folder, offline too.',
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="bpb, core (default: both)")
    return parser


def _install(args: argparse.Namespace) -> int:
    from hf_core_bpb.evaluate_metrics.install import METRICS, NAMESPACE, install_metric, metric_path

    names: Sequence[str] = args.names or list(METRICS)
    for name in names:
        metric_path(name)
    for name in names:
        print(f'evaluate.load("{NAMESPACE}/{name}"): {install_metric(name)}')
    return 0


def _scaling(args: argparse.Namespace) -> int:
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
    return 0


# By its first word: the parser of a command, and what it runs.
COMMANDS: dict[str, tuple[Callable[[], argparse.ArgumentParser], Callable[[argparse.Namespace], int]]] = {
    "tasks": (build_tasks_parser, _tasks),
    "compare": (build_compare_parser, _compare),
    "report": (build_report_parser, _report),
    "publish": (build_publish_parser, _publish),
    "install-metric": (build_install_parser, _install),
    "scaling": (build_scaling_parser, _scaling),
}
