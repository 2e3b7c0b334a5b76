"""The evaluation that the command runs: load, score, print, write."""

import re
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from rich.console import Console

from hf_core_bpb import __version__
from hf_core_bpb.cli.logs import quieten_libraries, set_log_level
from hf_core_bpb.distributed import from_main_process, leave, main_process_first, process_group
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.core import CoreRun, TextSource, prepare_bpb, prepare_core, score_bpb, score_core
from hf_core_bpb.evaluation.resolve import DEFAULT_TEXT, DEMO_MODEL, demo_texts, plan_core, read_text
from hf_core_bpb.metrics.compressors import measure_compressors, measure_packed
from hf_core_bpb.metrics.results import BpbResult, CoreResult
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.models.loading import ModelOptions, check_loading, load_together, weights_of
from hf_core_bpb.progress import SilentProgress
from hf_core_bpb.report.console import print_report
from hf_core_bpb.report.html import render_page
from hf_core_bpb.report.progress_bar import TerminalProgress
from hf_core_bpb.report.trackers import check_trackers, track
from hf_core_bpb.report.worst_items import longest_items, surprising_documents, surprising_items
from hf_core_bpb.results.folder import (
    SURPRISING,
    begin_run,
    check_names,
    check_output,
    end_run,
    lock_output,
    write_page,
    write_results,
)
from hf_core_bpb.results.record import ModelFacts, Report
from hf_core_bpb.results.run_facts import run_facts
from hf_core_bpb.results.saved import read_run
from hf_core_bpb.results.serialize import to_json, to_samples
from hf_core_bpb.results.training_history import MOST_TOKENS, find_trained
from hf_core_bpb.scaling.parameters import count_parameters
from hf_core_bpb.scoring.journal import Journal
from hf_core_bpb.scoring.scorer import Scorer, Workload
from hf_core_bpb.signature import digest
from hf_core_bpb.tokenization.windows import choose_windows
from hf_core_bpb.types import Baselines, Work


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asked for; None where it said nothing, as for the model: the demo."""

    model: ModelOptions | None
    tokenizer: str | None
    dtype: str
    trained_on: float | None
    core: bool
    bpb: bool
    suite: str | None
    tasks: list[str] | None
    source: str | None
    bundle: str | None
    protocol: str | None
    baselines: Baselines | None
    limit: int | None
    precision: float | None
    texts: list[str] | None
    max_length: int | None
    stride: int | None
    packed: bool | None
    batch_tokens: int | None
    output: Path | None
    overwrite: bool
    quiet: bool
    log_level: str
    report_to: Sequence[str] = ()


def evaluate(options: Options) -> None:
    """Run what the options ask for; the main process prints the tables and writes the results.

    Raises InputError for options that do not fit, RunError where the run cannot be finished.
    """
    started = time.monotonic()
    group = process_group()
    main = group.is_main_process
    talk = main and not options.quiet
    warnings.showwarning = _print_warning
    set_log_level(options.log_level)
    quieten_libraries(show_downloads=talk and sys.stderr.isatty())
    folder = options.output or _default_output(options.model.name if options.model is not None else "demo")
    run, texts = main_process_first(lambda: _prepare(options, folder))
    lm = _load(options, group.device)
    if options.model is None and talk:
        print(
            "No --model given: evaluating the demo, a small model that ships with the package "
            "(--model ID_OR_PATH evaluates yours).",
            file=sys.stderr,
        )
    for message in run.warnings if run is not None and main else ():
        warnings.warn(message, stacklevel=1)
    windows = choose_windows(lm.max_length, options.stride, options.packed or False)
    core: CoreResult | None = None
    bpb: dict[str, BpbResult] = {}
    work = Work()
    with TerminalProgress(Console(stderr=True)) if talk else nullcontext(SilentProgress()) as progress:
        if isinstance(progress, TerminalProgress):
            progress.note("Reading and tokenising what is to be scored.")
        prepared_core = prepare_core(lm, run) if run is not None else None
        prepared_bpb = prepare_bpb(lm, texts, windows) if texts else None
        workloads = [prepared.workload for prepared in (prepared_core, prepared_bpb) if prepared is not None]
        # Held by the main process alone, for all of them.
        locks: list[FileLock] = []

        def begin() -> Journal:
            locks.append(lock_output(folder))
            # Another run may have ended in it since.
            check_output(folder, options.overwrite)
            return begin_run(folder, _identity(options, lm, workloads), options.overwrite)

        journal = from_main_process(begin)
        if talk and (kept := sum(map(len, journal.scored.values()))):
            print(f"Going on in {folder}: {kept:,} requests are scored already.", file=sys.stderr)
        scorer = Scorer(lm, options.batch_tokens, progress, journal)
        try:
            if prepared_core is not None:
                core, done = score_core(scorer, prepared_core)
                work += done
            if prepared_bpb is not None:
                bpb, done = score_bpb(scorer, prepared_bpb)
                work += done
        except BaseException:
            if main:
                changed = f"--output {folder}" + (" and without --overwrite" if options.overwrite else "")
                print(f"What is scored is kept: the same command with {changed} goes on.", file=sys.stderr)
            raise
    if main:
        surprising = [
            *(surprising_items(prepared_core, core) if prepared_core is not None and core is not None else ()),
            *(surprising_documents(prepared_bpb, bpb) if prepared_bpb is not None else ()),
            *(longest_items(prepared_core, core) if prepared_core is not None and core is not None else ()),
        ]
        report = Report(
            model=_model_facts(options, lm),
            core=core,
            bpb=bpb,
            compressors={text.name: measure_compressors(text.documents) for text in texts},
            packed={text.name: measure_packed(text.documents) for text in texts},
            run=run_facts(work, scorer.backend, time.monotonic() - started),
        )
        results = to_json(report)
        write_results(folder, results, to_samples(report) | {SURPRISING: surprising})
        write_page(folder / "report.html", render_page([read_run(folder)]))
        end_run(folder, *locks)
        print_report(report, Console())
        if talk:
            print(f"Results, samples and report.html: {folder}", file=sys.stderr)
        track(options.report_to, folder, lm.name, results)
    leave()


def _identity(options: Options, lm: LanguageModel, workloads: Sequence[Workload]) -> dict[str, Any]:
    """Return what tells this run from all others: what its scores depend on."""
    digests = [digest for workload in workloads for digest in workload.digests.values()]
    return {
        "version": __version__,
        "model": lm.name,
        "revision": lm.revision if lm.revision != "folder" else weights_of(Path(lm.name)),
        "tokenizer": lm.tokenizer_name,
        "dtype": lm.dtype,
        **lm.loading,
        "requests": digest(repr(digests)),
        # What is scored after the first sample depends on it.
        **({"batch-tokens": options.batch_tokens} if lm.depends_on_batches else {}),
        **({"precision": options.precision} if options.precision is not None else {}),
    }


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _prepare(options: Options, folder: Path) -> tuple[CoreRun | None, list[TextSource]]:
    """Return all that can be wrong with the options, the model aside, before anything is scored."""
    _check_options(options)
    run = None
    if options.core:
        run = plan_core(
            suite=options.suite if options.suite is not None else "core-11",
            tasks=options.tasks,
            source=options.source or _default_source(options),
            bundle=options.bundle,
            protocol=options.protocol if options.protocol is not None else "nanochat",
            baselines=options.baselines,
            limit=options.limit,
            precision=options.precision,
        )
    if run is not None:
        check_names(task.name for task in run.tasks)
    check_output(folder, options.overwrite)
    return run, _read_texts(options) if options.bpb else []


def _check_options(options: Options) -> None:
    """Raise InputError for an option that would change nothing, or fail only once the run is done."""
    check_trackers(options.report_to)
    of_bpb = {"--text": options.texts, "--stride": options.stride, "--documents": options.packed}
    of_core = {
        "--suite": options.suite, "--tasks": options.tasks, "--source": options.source, "--bundle": options.bundle,
        "--protocol": options.protocol, "--baselines": options.baselines, "--limit": options.limit,
        "--precision": options.precision,
    }  # fmt: skip
    for asked, wanted, given, got in ((options.bpb, "bpb", of_bpb, "core"), (options.core, "core", of_core, "bpb")):
        for name, value in given.items():
            if value is not None and not asked:
                raise InputError(f"{name}: expected --eval to hold {wanted}, got --eval {got}")
    if options.suite is not None and options.tasks is not None:
        raise InputError("--suite: expected a suite or --tasks, got both")
    if options.trained_on is not None and not 0 < options.trained_on < MOST_TOKENS:
        raise InputError(
            f"--trained-on: expected a number of tokens above 0 and below {MOST_TOKENS:g}, got {options.trained_on:g}"
        )
    check_loading(_model_options(options))


def _default_source(options: Options) -> str:
    if options.bundle is not None:
        return "bundle"
    return "demo" if options.model is None else "hub"


def _default_output(model: str) -> Path:
    name = re.sub(r"[^\w.-]+", "_", model).strip("_.")[:100] or "model"
    return Path("results") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _read_texts(options: Options) -> list[TextSource]:
    if options.texts is not None:
        if len(set(options.texts)) < len(options.texts):
            raise InputError(f"--text: expected each source once, got {', '.join(options.texts)}")
        return [read_text(spec) for spec in options.texts]
    return demo_texts() if options.model is None else [read_text(DEFAULT_TEXT)]


def _model_options(options: Options) -> ModelOptions:
    if options.model is not None:
        return options.model
    return ModelOptions(str(DEMO_MODEL), tokenizer=options.tokenizer, dtype=options.dtype)


def _load(options: Options, device: torch.device) -> LanguageModel:
    lm = load_together(_model_options(options), device, options.max_length)
    if options.model is not None:
        return lm
    return replace(lm, name="demo", revision=__version__, tokenizer_name=options.tokenizer or "demo")


def _model_facts(options: Options, lm: LanguageModel) -> ModelFacts:
    parameters = count_parameters(lm.model)
    trained = find_trained(Path(_model_options(options).name), options.trained_on, parameters)
    return ModelFacts(lm.name, lm.revision, lm.tokenizer_name, lm.dtype, parameters, trained)
