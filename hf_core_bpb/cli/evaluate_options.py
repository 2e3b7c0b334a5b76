"""The options of an evaluation: as typed, and read into those of the library."""

import argparse
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_core_bpb.cli.model_options import add_model_options, read_model_options
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.options import CoreOptions, TextOptions
from hf_core_bpb.formatting import read_number
from hf_core_bpb.models.options import ModelOptions

_CORE_ONLY = ("suite", "tasks", "source", "bundle", "protocol", "baselines", "limit", "precision")
_TEXT_ONLY = ("text", "stride", "documents")


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What the command line asks for; `core` and `text` are None where they are not evaluated."""

    model: ModelOptions
    core: CoreOptions | None
    text: TextOptions | None
    max_length: int | None
    batch_tokens: int | None
    trained_on: float | None
    output: Path
    overwrite: bool
    quiet: bool
    log_level: str
    report_to: tuple[str, ...]


def add_evaluate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of an evaluation to a parser."""
    _add_model_group(parser)
    _add_evaluation_group(parser)
    _add_run_group(parser)


def _add_model_group(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    add_model_options(group)
    group.add_argument(
        "--trained-on",
        metavar="TOKENS",
        help="training tokens, such as 300B, for reports of several runs (default: as CoreBpbCallback counted them)",
    )


def _add_evaluation_group(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to evaluate")
    group.add_argument("--eval", default="core,bpb", metavar="LIST", help="core, bpb or core,bpb (default: core,bpb)")
    group.add_argument("--suite", help="core-11 or core-22 (default: core-11)")
    group.add_argument(
        "--tasks", metavar="LIST", help="task names or .toml files, separated by commas, instead of a suite"
    )
    group.add_argument(
        "--source",
        choices=["hub", "bundle", "demo"],
        help="where rows come from (default: hub; demo without --model)",
    )
    group.add_argument("--bundle", metavar="PLACE", help="CORE bundle: a folder, a zip file, or its https address")
    group.add_argument(
        "--protocol", choices=["nanochat", "dclm"], help="how prompts are built and scored (default: nanochat)"
    )
    group.add_argument(
        "--baselines",
        choices=["v1", "v2"],
        help="random baselines for centering (default: v1 for nanochat, v2 for dclm; both are in results.json)",
    )
    group.add_argument("--limit", type=int, metavar="N", help="at most N items per task (default: all)")
    group.add_argument(
        "--precision",
        type=float,
        metavar="X",
        help="stop once the 95%% interval of CORE is within ±X (default: score all items)",
    )
    group.add_argument(
        "--text",
        action="append",
        metavar="SOURCE",
        help="repeatable: a text file, FILE.jsonl[:COLUMN], or DATASET:CONFIG:SPLIT:COLUMN "
        "(default: WikiText-2 test by document; the demo's texts without --model)",
    )


def _add_run_group(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how")
    group.add_argument("--max-length", type=int, metavar="N", help="context length (default: the model's positions)")
    group.add_argument(
        "--stride", type=int, metavar="N", help="tokens that the window moves by over text (default: the whole window)"
    )
    group.add_argument(
        "--documents",
        choices=["alone", "packed"],
        help="whether documents of a text share windows (packed) or not (default: alone)",
    )
    group.add_argument(
        "--batch-tokens", default="auto", metavar="N", help="maximum tokens per forward pass (default: auto)"
    )
    group.add_argument("--output", metavar="DIR", help="output folder (default: ./results/<model>-<time>)")
    group.add_argument("--overwrite", action="store_true", help="replace results in the output folder")
    group.add_argument(
        "--report-to", default="none", metavar="LIST", help="tensorboard, wandb, trackio (default: none)"
    )
    group.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default="warning",
        help="log level of this package and its dependencies (default: warning)",
    )
    group.add_argument("--quiet", action="store_true", help="print no progress, only tables and errors")


def read_options(args: argparse.Namespace) -> EvaluateOptions:
    """Return the options; raises InputError for values that do not fit, and for those that would change nothing."""
    evaluations = _split(args.eval)
    if not evaluations or set(evaluations) - {"core", "bpb"}:
        raise InputError(f"`eval`: expected core, bpb or core,bpb, got {args.eval!r}")
    for evaluation, other, names in (("core", "bpb", _CORE_ONLY), ("bpb", "core", _TEXT_ONLY)):
        for name in names:
            if evaluation not in evaluations and getattr(args, name) is not None:
                raise InputError(f"`{name}`: expected `eval` to contain {evaluation}, got `eval` {other}")
    model = read_model_options(args)
    sizes = {"max_length": args.max_length, "batch_tokens": _read_batch_tokens(args.batch_tokens)}
    return EvaluateOptions(
        model=model,
        core=_read_core(args, model, sizes) if "core" in evaluations else None,
        text=_read_text(args, model, sizes) if "bpb" in evaluations else None,
        **sizes,
        trained_on=read_number(args.trained_on, "`trained_on`"),
        output=Path(args.output) if args.output is not None else _default_output(args.model or "demo"),
        overwrite=args.overwrite,
        quiet=args.quiet,
        log_level=args.log_level,
        report_to=() if args.report_to == "none" else tuple(_split(args.report_to)),
    )


def _read_core(args: argparse.Namespace, model: ModelOptions, sizes: dict[str, Any]) -> CoreOptions:
    if args.suite is not None and args.tasks is not None:
        raise InputError("`suite`: expected a suite or `tasks`, got both")
    given = {name: getattr(args, name) for name in _CORE_ONLY if getattr(args, name) is not None}
    if "tasks" in given:
        given["tasks"] = tuple(_split(given["tasks"]))
    given.setdefault("source", default_source(args, model))
    return CoreOptions(**given, **sizes)


def default_source(args: argparse.Namespace, model: ModelOptions) -> str:
    """Return where rows come from unless the user says so."""
    if args.bundle is not None:
        return "bundle"
    return "demo" if model.is_demo else "hub"


def _read_text(args: argparse.Namespace, model: ModelOptions, sizes: dict[str, Any]) -> TextOptions:
    return TextOptions(
        texts=tuple(args.text) if args.text is not None else None,
        source="demo" if model.is_demo else "hub",
        stride=args.stride,
        packed=args.documents == "packed",
        **sizes,
    )


def _read_batch_tokens(text: str) -> int | None:
    if text == "auto":
        return None
    if not (text.isdecimal() and int(text) > 0):
        raise InputError(f"`batch_tokens`: expected auto or a whole number, 1 or more, got {text!r}")
    return int(text)


def _default_output(model: str) -> Path:
    name = re.sub(r"[^\w.-]+", "_", model).strip("_.")[:100] or "model"
    return Path("results") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
