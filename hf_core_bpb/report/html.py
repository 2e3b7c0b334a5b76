"""Finished runs as one self-contained HTML page (pure, except that it reads its template)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.formatting import show_count
from hf_core_bpb.metrics.compressors import PACKERS
from hf_core_bpb.report.figure_output import THEME, inline_svg
from hf_core_bpb.report.plotting import document_figure, packer_figure, relation_figure, task_figure
from hf_core_bpb.report.relations import common_texts, relations_of
from hf_core_bpb.results.saved import SavedRun

Values = dict[str, Any]


def render_page(runs: Sequence[SavedRun]) -> str:
    """Return the page of one run, or of several runs with their comparison first.

    Raises InputError for results that lack what the page shows.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} models"
    try:
        values = {
            "runs": [_run(run, f"run{number}") for number, run in enumerate(runs)],
            "comparison": _comparison(runs) if len(runs) > 1 else None,
        }
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        folders = ", ".join(str(run.folder) for run in runs)
        problem = f"{error} is missing" if isinstance(error, KeyError) else reason(error)
        raise InputError(f"{folders}: expected results.json as this version writes it: {problem}") from None
    return environment.get_template("page.html").render(title=title, theme=THEME, **values)


def _run(run: SavedRun, prefix: str) -> Values:
    results, model = run.results, run.results["model"]
    core = results.get("core")
    texts = results.get("bpb", {})
    return {
        "name": run.name,
        "revision": model["revision"],
        "dtype": model["dtype"],
        "parameters": f"{model['parameters']['total']:,}",
        "matmul": f"{model['parameters']['matmul']:,}",
        "cards": [*_core_cards(run, core), *_text_cards(texts)],
        "tasks": [_task(name, task) for name, task in core["tasks"].items()] if core else [],
        "task_chart": inline_svg(task_figure([run]), "Centered accuracy by task", f"{prefix}-tasks") if core else "",
        "lengths": [row for name, rows in run.items.items() if (row := _lengths(name, rows)) is not None],
        "texts": [_text(run, name, text, f"{prefix}-text{i}") for i, (name, text) in enumerate(texts.items())],
        "surprises": [_sample(row) for row in run.surprises if "longest_prompt_tokens" not in row],
        "longest": [_sample(row) for row in run.surprises if "longest_prompt_tokens" in row],
        "cost": _cost(results),
        "signatures": run.signatures,
    }


def _core_cards(run: SavedRun, core: Mapping[str, Any] | None) -> list[Values]:
    if core is None:
        return []
    limit = run.recipes["core"].get("limit", "all")
    items = "" if limit == "all" else f", at most {limit} items per task"
    recipe = f"{core['protocol']} protocol, {core['baselines']} baselines, rows from {core['source']}{items}"
    note = f"95%: {_interval(core['ci95'], '{:+.3f}')}; {recipe}{_sampled(core.get('sample'))}"
    cards = [{"label": run.suite, "value": f"{core['core']:+.4f}", "note": note}]
    if (bits := core.get("gold_bits_per_byte")) is not None:
        cards.append({"label": "bits per byte of correct answers", "value": f"{bits:.4f}", "note": "mean over tasks"})
    return cards


def _sampled(sample: Mapping[str, Any] | None) -> str:
    if sample is None:
        return ""
    items = f"{sample['num_items']:,} of {sample['num_all']:,} items"
    return f"; {items}, within ±{sample['half_width']:.4f} of the value for all items (95%)"


def _text_cards(texts: Mapping[str, Any]) -> list[Values]:
    return [
        {
            "label": f"bits per byte, {name}",
            "value": f"{t['bpb']:.4f}",
            "note": f"95%: {_interval(t['ci95'], '{:.3f}')}",
        }
        for name, t in texts.items()
    ]


def _interval(ends: Sequence[float] | None, shown: str) -> str:
    return "unknown, too few documents" if ends is None else f"{shown.format(ends[0])} to {shown.format(ends[1])}"


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
    """Return how often the chosen and the correct option are the longest and the shortest, None if all are equal."""
    varied = [row for row in rows if row["prediction"] is not None and len(set(row["bytes"])) > 1]
    if not varied:
        return None
    shares = [
        sum(row["bytes"][row[which]] == extreme(row["bytes"]) for row in varied) / len(varied)
        for extreme in (max, min)
        for which in ("prediction", "gold")
    ]
    return {"name": name, "cells": [f"{share:.0%}" for share in shares]}


def _text(run: SavedRun, name: str, text: Mapping[str, Any], prefix: str) -> Values:
    documents = [row for row in run.documents[name] if row["bytes"]]
    cells = [
        f"{text['bpb']:.4f}",
        "-" if text["ci95"] is None else _interval(text["ci95"], "{:.3f}"),
        "-" if text["bits_per_character"] is None else f"{text['bits_per_character']:.4f}",
        "-" if text["token_perplexity"] is None else f"{text['token_perplexity']:.6g}",
        f"{text['documents']:,}",
        f"{text['bytes']:,}",
        *(f"{value:.4f}" for value in text["compressors"].values()),
    ]
    values = {"name": name, "cells": cells, "compressors": list(text["compressors"]), "chart": "", "packer_chart": ""}
    if len(documents) > 1:
        whole = [(run.name.rsplit("/", 1)[-1], text["bpb"]), *text["compressors"].items()]
        figure = document_figure([_bits_per_byte(row) for row in documents], whole)
        values["chart"] = inline_svg(figure, f"Histogram of documents by bits per byte: {name}", f"{prefix}-documents")
        values |= _packers(name, [row for row in documents if "packed" in row], f"{prefix}-packers")
    return values


def _packers(name: str, documents: Sequence[Mapping[str, Any]], prefix: str) -> Values:
    """Return the chart of each document's bits per byte by model and by compressors, and how often the model wins."""
    if not documents:
        return {}
    pairs = {
        packer: [(8 * row["packed"][packer] / row["bytes"], _bits_per_byte(row)) for row in documents]
        for packer in PACKERS
    }
    wins = [
        f"{packer} for {sum(model < packed for packed, model in points):,} of {len(points):,} documents"
        for packer, points in pairs.items()
    ]
    label = f"Bits per byte of documents by model and by compressor: {name}"
    return {"packer_chart": inline_svg(packer_figure(pairs), label, prefix), "wins": " and than ".join(wins)}


def _bits_per_byte(document: Mapping[str, Any]) -> float:
    return float(document["nats"] / math.log(2) / document["bytes"])


def _sample(row: Mapping[str, Any]) -> Values:
    if "text" in row:
        title = f"{row['text']}, document {row['index']}: {row['bpb']:.3f} bits per byte"
        return {"title": title, "text": row["begins"], "options": []}
    options = [
        {"text": text, "nats": f"{nats:.3f}", "mark": " ".join(_marks(row, index))}
        for index, (text, nats) in enumerate(zip(row["options"], row["mean_nats"], strict=True))
    ]
    length = f": {row['longest_prompt_tokens']:,} tokens" if "longest_prompt_tokens" in row else ""
    return {"title": f"{row['task']}, item {row['index']}{length}", "text": row["prompt"], "options": options}


def _marks(row: Mapping[str, Any], index: int) -> list[str]:
    return [mark for key, mark in (("gold", "correct"), ("prediction", "chosen")) if row[key] == index]


def _cost(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    work, environment = results["work"], results["environment"]
    return [
        ("tokens in forward passes", f"{work['forward_tokens']:,} in {work['forwards']:,} passes"),
        ("fewest tokens possible if shared prompts are forwarded once", f"{work['minimum_tokens']:,}"),
        ("fast paths and head", str(work["backend"])),
        ("seconds, processes", f"{work['seconds']:.1f}, {work['processes']}"),
        ("peak memory", f"{work['peak_memory_bytes'] / 2**20:,.0f} MiB"),
        *((name, str(value)) for name, value in environment.items()),
    ]


def _comparison(runs: Sequence[SavedRun]) -> Values:
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
        {"title": r.title, "svg": inline_svg(relation_figure(r), r.title, f"relation{i}"), "reading": r.reading}
        for i, r in enumerate(relations_of(runs))
    ]
    recipes = {str(run.results["signature"]) for run in runs}
    return {"texts": texts, "rows": rows, "charts": charts, "recipes_differ": len(recipes) > 1}
