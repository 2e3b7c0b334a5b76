"""Finished runs as one page of HTML that needs nothing but itself (pure, but for its template's file)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.formatting import show_count
from hf_core_bpb.metrics.centering import centered_accuracy
from hf_core_bpb.metrics.compressors import PACKERS
from hf_core_bpb.report.charts import Bar, bars, cloud, histogram, scatter
from hf_core_bpb.report.relations import Relation, common_texts, relations_of
from hf_core_bpb.results.saved import SavedRun

Values = dict[str, Any]


def render_page(runs: Sequence[SavedRun]) -> str:
    """Return the page of one run, or of several with their comparison in front.

    Raises InputError for results that lack what the page shows.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} models"
    try:
        values = {"runs": [_run(run) for run in runs], "comparison": _compare(runs) if len(runs) > 1 else None}
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        folders = ", ".join(str(run.folder) for run in runs)
        got = f"one without {error}" if isinstance(error, KeyError) else reason(error)
        raise InputError(f"{folders}: expected results.json as this version writes it, got {got}") from None
    return environment.get_template("page.html").render(title=title, **values)


def _run(run: SavedRun) -> Values:
    results, model = run.results, run.results["model"]
    core = results.get("core")
    return {
        "name": run.name,
        "revision": model["revision"],
        "dtype": model["dtype"],
        "parameters": f"{model['parameters']['total']:,}",
        "matmul": f"{model['parameters']['matmul']:,}",
        "heads": [*_core_heads(run, core), *_text_heads(results.get("bpb", {}))],
        "tasks": [_task(name, task) for name, task in core["tasks"].items()] if core else [],
        "task_chart": Markup(bars([_bar(name, task) for name, task in core["tasks"].items()])) if core else "",  # noqa: S704
        "lengths": [row for name, rows in run.items.items() if (row := _lengths(name, rows)) is not None],
        "texts": [_text(run, name, text) for name, text in results.get("bpb", {}).items()],
        "surprises": [_surprise(row) for row in run.surprises if "longest_prompt_tokens" not in row],
        "longest": [_surprise(row) for row in run.surprises if "longest_prompt_tokens" in row],
        "work": _work(results),
        "signatures": run.signatures,
    }


def _core_heads(run: SavedRun, core: Mapping[str, Any] | None) -> list[Values]:
    if core is None:
        return []
    limit = run.recipes["core"].get("limit", "all")
    items = "" if limit == "all" else f", at most {limit} items a task"
    recipe = f"{core['protocol']}, {core['baselines']}, rows from {core['source']}{items}"
    note = f"95 % {_interval(core['ci95'], '{:+.3f}')}; {recipe}{_sampled(core.get('sample'))}"
    heads = [{"label": run.suite, "value": f"{core['core']:+.4f}", "note": note}]
    if core.get("gold_bits_per_byte") is not None:
        note = "mean over tasks"
        heads.append(
            {"label": "right answers, bits a byte", "value": f"{core['gold_bits_per_byte']:.4f}", "note": note}
        )
    return heads


def _sampled(sample: Mapping[str, Any] | None) -> str:
    if sample is None:
        return ""
    items = f"{sample['num_items']:,} of {sample['num_all']:,} items"
    return f"; {items}, of all of which it is known within {sample['half_width']:.4f} (at 95 %)"


def _text_heads(texts: Mapping[str, Any]) -> list[Values]:
    return [
        {
            "label": f"bits per byte, {name}",
            "value": f"{t['bpb']:.4f}",
            "note": f"95 % {_interval(t['ci95'], '{:.3f}')}",
        }
        for name, t in texts.items()
    ]


def _interval(ends: Sequence[float] | None, shown: str) -> str:
    return "not known of so few documents" if ends is None else f"{shown.format(ends[0])} to {shown.format(ends[1])}"


def _bar(name: str, task: Mapping[str, Any]) -> Bar:
    low, high = (centered_accuracy(end, task["random_baseline"]) for end in task["ci95"])
    return Bar(name, task["centered"], low, high)


def _task(name: str, task: Mapping[str, Any]) -> Values:
    by_rule = [
        f"{task['accuracy_by_rule'][rule]:.4f}" if task["accuracy_by_rule"] else "" for rule in ("sum", "token", "byte")
    ]
    gold = task["gold_bits_per_byte"]
    cells = [
        f"{task['n']:,}", task["num_fewshot"], f"{task['accuracy']:.4f}", _interval(task["ci95"], "{:.3f}"),
        f"{task['random_baseline']:.3f}", *by_rule, "" if gold is None else f"{gold:.3f}",
    ]  # fmt: skip
    return {"name": name, "cells": cells}


def _lengths(name: str, rows: Sequence[Mapping[str, Any]]) -> Values | None:
    """Return how often options chosen and right are the longest and the shortest, None where all are of one length."""
    some = [row for row in rows if row["prediction"] is not None and len(set(row["bytes"])) > 1]
    if not some:
        return None
    shares = [
        sum(row["bytes"][row[which]] == extreme(row["bytes"]) for row in some) / len(some)
        for extreme in (max, min)
        for which in ("prediction", "gold")
    ]
    return {"name": name, "cells": [f"{share:.0%}" for share in shares]}


def _text(run: SavedRun, name: str, text: Mapping[str, Any]) -> Values:
    compressors = {key: f"{value:.4f}" for key, value in text["compressors"].items()}
    known = [row["nats"] / math.log(2) / row["bytes"] for row in run.documents[name] if row["bytes"]]
    marks = [(run.name.rsplit("/", 1)[-1][:24], text["bpb"]), *text["compressors"].items()]
    cells = [
        f"{text['bpb']:.4f}",
        "-" if text["ci95"] is None else _interval(text["ci95"], "{:.3f}"),
        "-" if text["bits_per_character"] is None else f"{text['bits_per_character']:.4f}",
        "-" if text["token_perplexity"] is None else f"{text['token_perplexity']:.6g}",
        f"{text['documents']:,}",
        f"{text['bytes']:,}",
        *compressors.values(),
    ]
    chart = Markup(histogram(known, marks, "bits per byte of a document")) if len(known) > 1 else ""  # noqa: S704
    return {
        "name": name,
        "cells": cells,
        "compressors": list(compressors),
        "chart": chart,
        "against": [_against(which, run.documents[name]) for which in PACKERS] if len(known) > 1 else [],
    }


def _against(packer: str, rows: Sequence[Mapping[str, Any]]) -> Values:
    """Return every document's bits per byte by the model against those by a compressor, empty where not measured."""
    pairs = [
        (8 * row["packed"][packer] / row["bytes"], row["nats"] / math.log(2) / row["bytes"])
        for row in rows
        if row["bytes"] and "packed" in row
    ]
    if not pairs:
        return {"svg": "", "reading": ""}
    fewer = sum(model < packed for packed, model in pairs)
    reading = (
        f"The model needs fewer bits than {packer} for {fewer:,} of {len(pairs):,} documents, each by itself: "
        "those below the line."
    )
    svg = cloud(pairs, f"bits per byte of a document by {packer}", "by the model")
    return {"svg": Markup(svg), "reading": reading}  # noqa: S704


def _surprise(row: Mapping[str, Any]) -> Values:
    if "text" in row:
        title = f"{row['text']}, document {row['index']}: {row['bpb']:.3f} bits per byte"
        return {"title": title, "text": row["begins"], "options": []}
    options = [
        {"text": text, "nats": f"{nats:.3f}", "mark": " ".join(_marks(row, number))}
        for number, (text, nats) in enumerate(zip(row["options"], row["mean_nats"], strict=True))
    ]
    length = f": {row['longest_prompt_tokens']:,} tokens" if "longest_prompt_tokens" in row else ""
    return {"title": f"{row['task']}, item {row['index']}{length}", "text": row["prompt"], "options": options}


def _marks(row: Mapping[str, Any], number: int) -> list[str]:
    return [said for key, said in (("gold", "right"), ("prediction", "chosen")) if row[key] == number]


def _work(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    work, environment = results["work"], results["environment"]
    return [
        ("tokens forwarded", f"{work['forward_tokens']:,} in {work['forwards']:,} forwards"),
        ("fewest that any way could", f"{work['minimum_tokens']:,}"),
        ("how", str(work["backend"])),
        ("seconds, processes", f"{work['seconds']:.1f}, {work['processes']}"),
        ("peak memory", f"{work['peak_memory_bytes'] / 2**20:,.0f} MiB"),
        *((name, str(value)) for name, value in environment.items()),
    ]


def _compare(runs: Sequence[SavedRun]) -> Values:
    texts = common_texts(runs)
    rows = [
        {
            "name": run.name,
            "parameters": show_count(run.results["model"]["parameters"]["total"]),
            "core": f"{run.results['core']['core']:+.4f}" if "core" in run.results else "-",
            "interval": _interval(run.results["core"]["ci95"], "{:+.3f}") if "core" in run.results else "-",
            "texts": [f"{run.results['bpb'][name]['bpb']:.4f}" for name in texts],
        }
        for run in runs
    ]
    charts = [
        {"title": relation.title, "svg": Markup(_draw(relation)), "reading": relation.reading}  # noqa: S704
        for relation in relations_of(runs)
    ]
    recipes = {str(run.results["signature"]) for run in runs}
    warning = "The runs' recipes differ: hf-core-bpb compare says in what, and refuses what cannot be compared."
    return {"texts": texts, "rows": rows, "charts": charts, "warnings": [warning] if len(recipes) > 1 else []}


def _draw(relation: Relation) -> str:
    return scatter(relation.points, relation.x_label, relation.y_label, is_log=relation.is_log)
