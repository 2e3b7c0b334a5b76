"""An evaluation from its options to its output folder: prepare, score, write."""

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from hf_core_bpb import __version__
from hf_core_bpb.cli.evaluate_options import EvaluateOptions
from hf_core_bpb.cli.logs import quiet_libraries, set_log_level
from hf_core_bpb.cli.main import with_dashes
from hf_core_bpb.distributed import from_main_process, leave, main_process_first, process_group
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.bpb import PreparedTexts, prepare_texts, score_texts
from hf_core_bpb.evaluation.core import PreparedCore, prepare_core, score_core
from hf_core_bpb.evaluation.resolve import ResolvedCore, TextSource, resolve_core, resolve_texts
from hf_core_bpb.metrics.compressors import measure_compressors, measure_packed
from hf_core_bpb.metrics.results import BpbResult, CoreResult
from hf_core_bpb.models.inspect import device_of
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.models.loading import check_loading, digest_weights, load_together
from hf_core_bpb.progress import SilentProgress
from hf_core_bpb.report.console import print_report
from hf_core_bpb.report.html import render_page
from hf_core_bpb.report.progress_bar import TerminalProgress
from hf_core_bpb.report.trackers import check_trackers, track
from hf_core_bpb.report.worst_items import longest_items, surprising_documents, surprising_items
from hf_core_bpb.results.environment import collect_statistics
from hf_core_bpb.results.folder import SURPRISING, RunFolder, check_names, write_page
from hf_core_bpb.results.record import ModelRecord, RunRecord
from hf_core_bpb.results.saved import read_run
from hf_core_bpb.results.serialize import to_json, to_samples
from hf_core_bpb.results.training_history import MOST_TOKENS, find_trained
from hf_core_bpb.scaling.parameters import count_parameters
from hf_core_bpb.scoring.scorer import Scorer
from hf_core_bpb.signature import digest
from hf_core_bpb.tokenization.windows import choose_windows
from hf_core_bpb.types import Work


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is scored, as requests; None where it is not evaluated."""

    core: PreparedCore | None
    texts: PreparedTexts | None


@dataclass(frozen=True, slots=True)
class _Scored:
    """The results, what they cost, and how the model was run."""

    core: CoreResult | None
    texts: dict[str, BpbResult]
    work: Work
    backend: str


def evaluate(options: EvaluateOptions) -> None:
    """Run an evaluation; the main process prints the tables and writes the results.

    Raises InputError for options that do not fit, RunError if the run cannot finish.
    """
    started = time.monotonic()
    is_main = process_group().is_main_process
    shows_progress = is_main and not options.quiet
    warnings.showwarning = _print_warning
    set_log_level(options.log_level)
    quiet_libraries(show_downloads=shows_progress and sys.stderr.isatty())
    folder = RunFolder(options.output, options.overwrite)
    core, sources = main_process_first(partial(_resolve, options, folder))
    lm = load_together(options.model, process_group().device, options.max_length)
    if options.model.is_demo and shows_progress:
        print("No --model given: evaluating the demo, a small model that ships with the package.", file=sys.stderr)
    for message in core.warnings if core is not None and is_main else ():
        warnings.warn(message, stacklevel=1)
    terminal = TerminalProgress(Console(stderr=True)) if shows_progress else nullcontext(SilentProgress())
    with terminal as progress:
        if device_of(lm.model).type != "cpu" and (lm.dtype, options.model.dtype) == ("float32", "auto"):
            progress.note("The weights are float32. With --dtype bfloat16 this device is several times faster.")
        progress.note("Reading and tokenizing tasks and texts.")
        prepared = _prepare(options, lm, core, sources)
        with _resumable(folder, is_main):
            journal = from_main_process(lambda: folder.begin(_identity(options, lm, prepared)))
            if num_scored := sum(map(len, journal.scored.values())):
                progress.note(f"Resuming in {folder.path}: {num_scored:,} requests are scored already.")
            scorer = Scorer(lm.model, options.batch_tokens, progress, journal)
            core_result: CoreResult | None = None
            texts: dict[str, BpbResult] = {}
            core_work = text_work = Work()
            if prepared.core is not None:
                core_result, core_work = score_core(lm, scorer, prepared.core)
            if prepared.texts is not None:
                texts, text_work = score_texts(lm, scorer, prepared.texts)
        scored = _Scored(core_result, texts, core_work + text_work, scorer.engine.describe())
    seconds = time.monotonic() - started
    # The report takes minutes for long texts, and the other processes have nothing left to do.
    leave()
    if is_main:
        _write(options, lm, prepared, scored, folder, seconds)


def _print_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {with_dashes(str(message))}", file=sys.stderr)


def _resolve(options: EvaluateOptions, folder: RunFolder) -> tuple[ResolvedCore | None, list[TextSource]]:
    """Return what is evaluated; raises InputError for all that can be wrong before a model is loaded."""
    check_trackers(options.report_to)
    if options.trained_on is not None and not 0 < options.trained_on < MOST_TOKENS:
        raise InputError(
            f"`trained_on`: expected a number of tokens above 0 and below {MOST_TOKENS:g}, got {options.trained_on:g}"
        )
    check_loading(options.model)
    core = resolve_core(options.core) if options.core is not None else None
    if core is not None:
        check_names(task.name for task in core.tasks)
    folder.check()
    return core, resolve_texts(options.text) if options.text is not None else []


def _prepare(
    options: EvaluateOptions, lm: LanguageModel, core: ResolvedCore | None, sources: list[TextSource]
) -> _Prepared:
    prepared_core = prepare_core(lm, core) if core is not None else None
    if options.text is None:
        return _Prepared(prepared_core, None)
    windows = choose_windows(lm.max_length, options.text.stride, options.text.packed)
    return _Prepared(prepared_core, prepare_texts(lm, sources, windows))


@contextmanager
def _resumable(folder: RunFolder, is_main: bool) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if is_main:
            changed = f"--output {folder.path}" + (" and without --overwrite" if folder.overwrite else "")
            print(f"Progress saved. Run the same command with {changed} to resume.", file=sys.stderr)
        raise


def _identity(options: EvaluateOptions, lm: LanguageModel, prepared: _Prepared) -> dict[str, Any]:
    """Return everything that the scores of this run depend on."""
    workloads = [prepared.core.workload] if prepared.core is not None else []
    workloads += [prepared.texts.documents.workload] if prepared.texts is not None else []
    precision = options.core.precision if options.core is not None else None
    return {
        "version": __version__,
        "model": lm.name,
        "revision": lm.revision if lm.revision != "folder" else digest_weights(Path(lm.name)),
        "tokenizer": lm.tokenizer_name,
        "dtype": lm.dtype,
        **lm.loading,
        "requests": digest(repr([digest for workload in workloads for digest in workload.digests.values()])),
        # The items after the first round depend on it.
        **({"batch-tokens": options.batch_tokens} if lm.depends_on_batches else {}),
        **({"precision": precision} if precision is not None else {}),
    }


def _write(
    options: EvaluateOptions, lm: LanguageModel, prepared: _Prepared, scored: _Scored, folder: RunFolder, seconds: float
) -> None:
    parameters = count_parameters(lm.model)
    trained = find_trained(Path(options.model.location), options.trained_on, parameters)
    sources = prepared.texts.sources if prepared.texts is not None else ()
    record = RunRecord(
        model=ModelRecord(lm.name, lm.revision, lm.tokenizer_name, lm.dtype, parameters, trained),
        core=scored.core,
        bpb=scored.texts,
        compressors={text.name: measure_compressors(text.documents) for text in sources},
        packed={text.name: measure_packed(text.documents) for text in sources},
        statistics=collect_statistics(scored.work, scored.backend, seconds),
    )
    results = to_json(record)
    folder.write(results, to_samples(record) | {SURPRISING: _surprising_rows(prepared, scored)})
    write_page(folder.path / "report.html", render_page([read_run(folder.path)]))
    folder.end()
    print_report(record, Console())
    if not options.quiet:
        print(f"Results, samples and report.html: {folder.path}", file=sys.stderr)
    track(options.report_to, folder.path, lm.name, results)


def _surprising_rows(prepared: _Prepared, scored: _Scored) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if prepared.core is not None and scored.core is not None:
        rows += surprising_items(prepared.core, scored.core)
    if prepared.texts is not None:
        rows += surprising_documents(prepared.texts, scored.texts)
    if prepared.core is not None and scored.core is not None:
        rows += longest_items(prepared.core, scored.core)
    return rows
