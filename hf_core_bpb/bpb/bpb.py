"""The evaluate metric bpb: bits per byte of texts under a model, or of given nats and bytes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import evaluate

from hf_core_bpb import __version__
from hf_core_bpb.data.documents import make_document
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluate_metrics.cached_model import MODEL_OPTIONS, CachedModel
from hf_core_bpb.evaluate_metrics.columns import as_list
from hf_core_bpb.metrics.results import BpbResult
from hf_core_bpb.results.serialize import bpb_values
from hf_core_bpb.types import Scored

_DESCRIPTION = """\
Bits per byte: the bits that a causal language model needs, on average, for a byte of text,
total nats / (ln 2 x UTF-8 bytes). Unlike loss and perplexity per token it can be compared across tokenizers.
Nats and bytes are summed over all texts and divided once.
"""

_INPUTS = """
Args:
    references: not used.
    predictions: texts, to be scored by a model; or rows of sums, {"nats": float, "bytes": int}, optionally with
        "tokens" and "characters", which need no model. Sums may also be columns: nats=[...], bytes=[...].
    model_id: a causal language model on the Hub or in a folder; loaded once and cached. With it: revision, dtype,
        tokenizer (an id), trust_remote_code.
    model, tokenizer: a model and tokenizer in memory.
    max_length, stride, packed, batch_tokens: as in hf_core_bpb.bits_per_byte.
Returns:
    bpb, ci95 (over texts or rows, None for fewer than five), nats, bytes, tokens, characters, bits_per_character,
    token_perplexity, byte_perplexity (None for unknown counts), documents, signature.
Raises:
    ValueError for input that does not fit.
Example:
    >>> metric = evaluate.load("hf_core_bpb/bpb")
    >>> metric.add_batch(predictions=[{"nats": 3.5, "bytes": 5, "tokens": 3}])
    >>> round(metric.compute()["bpb"], 4)
    1.0099
"""

_CITATION = """\
@software{hf_core_bpb, title = {hf_core_bpb: bits per byte and CORE for causal language models}, license = {Apache-2.0}}
"""

_COUNTS = ("tokens", "characters")
_SUMS = ("nats", "bytes", *_COUNTS)
_SCORING = ("max_length", "stride", "packed", "batch_tokens")


class Bpb(evaluate.Metric):  # type: ignore[misc]
    """Bits per byte as an evaluate metric; input is checked before anything is stored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Pass on the arguments of evaluate.load."""
        super().__init__(*args, **kwargs)
        self._kind: str | None = None
        self._models = CachedModel("bpb")
        self._computed_from: list[Any] = []

    def _info(self) -> evaluate.MetricInfo:
        sums = {
            name: datasets.Value("float64" if name == "nats" else "int64", id="sum by row, or null") for name in _SUMS
        }
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=[
                datasets.Features({"predictions": datasets.Value("string", id="text")}),
                datasets.Features({"predictions": sums}),
            ],
        )

    def add_batch(self, *, predictions: Any = None, references: Any = None, **sums: Any) -> None:
        """Add texts, or rows of sums; raises ValueError for anything else, and for both in one metric."""
        self._add(_rows(predictions, sums))

    def add(self, *, prediction: Any = None, reference: Any = None, **sums: Any) -> None:
        """Add one text, or one row of sums."""
        # evaluate.combine passes predictions for a single one.
        one = sums.pop("predictions", prediction)
        sums.pop("references", None)
        columns = {name: [value] for name, value in sums.items()}
        self.add_batch(predictions=None if one is None else [one], **columns)

    def compute(self, *, predictions: Any = None, references: Any = None, **options: Any) -> dict[str, Any] | None:
        """Return bits per byte of everything added, None on all processes but the first.

        Input that does not fit is rejected before anything is stored; what was added before is kept.
        """
        sums = {name: options.pop(name) for name in _SUMS if name in options}
        unknown = sorted(set(options) - {*MODEL_OPTIONS, *_SCORING})
        if unknown:
            known = ", ".join(("predictions", *_SUMS, *MODEL_OPTIONS, *_SCORING))
            raise InputError(f"bpb: expected keywords of {known}; got {', '.join(unknown)}")
        rows = _rows(predictions, sums) if predictions is not None or sums else []
        kind = self._check_kind(rows) if rows else self._kind if len(self) > 0 else None
        if kind is None:
            raise InputError("bpb: expected texts or rows of nats and bytes, got none")
        if kind == "texts":
            options = self._with_model(options)
        elif options:
            raise InputError(f"bpb: rows of nats and bytes need no {', '.join(options)}")
        if rows:
            self._add(rows)
        try:
            result: dict[str, Any] | None = super().compute(**options)
        except Exception:
            self._restore()
            raise
        return result

    def _compute(self, *, predictions: Sequence[Any], **options: Any) -> dict[str, Any]:
        self._computed_from = list(predictions)
        if isinstance(predictions[0], str):
            from hf_core_bpb.api import bits_per_byte
            from hf_core_bpb.distributed import alone

            # A metric computes on the process where it is called, from what was added there.
            with alone():
                result = bits_per_byte(options.pop("model"), options.pop("tokenizer"), self._computed_from, **options)
        else:
            documents = _scored(predictions)
            result = BpbResult(sum(documents, Scored()), documents, f"bpb|sums|version:{__version__}")
            if result.total.num_bytes == 0:
                raise InputError("predictions: expected one or more bytes in all rows together, got 0")
        values = bpb_values(result)
        unknown = [name for name in _COUNTS if values[name] == 0]
        return {**values, **dict.fromkeys(unknown), "signature": result.signature}

    def _check_kind(self, rows: Sequence[Any]) -> str:
        """Return the kind of rows; raises InputError if another kind was added before."""
        kind = "texts" if isinstance(rows[0], str) else "sums"
        if len(self) > 0 and self._kind != kind:
            raise InputError(f"predictions: expected {self._kind}, as before, got {kind}")
        if kind == "texts" and self.num_process > 1:
            raise InputError(
                "predictions: expected sums (nats and bytes) under several processes, as the first one computes from "
                "them, got texts; score texts with a metric on each process, and add the resulting sums"
            )
        return kind

    def _add(self, rows: Sequence[Any]) -> None:
        self._kind = self._check_kind(rows)
        super().add_batch(predictions=rows)

    def _with_model(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return options with the model that they name, loaded if necessary; raises InputError for bad options."""
        from hf_core_bpb.distributed import alone
        from hf_core_bpb.evaluation.options import TextOptions
        from hf_core_bpb.models.language_model import choose_max_length
        from hf_core_bpb.tokenization.windows import choose_windows

        scoring = {name: options[name] for name in _SCORING if name in options}
        checked = TextOptions(**scoring)
        with alone():
            model, tokenizer = self._models.get(options)
        choose_windows(choose_max_length(model, checked.max_length), checked.stride, checked.packed)
        return {"model": model, "tokenizer": tokenizer, **scoring}

    def _restore(self) -> None:
        """Put back the rows of a failed computation."""
        rows, self._computed_from = self._computed_from, []
        if self.num_process > 1 or not rows:
            return
        locks, paths = (getattr(self, name) or [] for name in ("filelocks", "file_paths"))
        for lock, path in zip(locks, paths, strict=True):
            Path(path).unlink(missing_ok=True)
            lock.release()
        self.data = self.writer = self.buf_writer = self.filelocks = self.file_paths = None
        super().add_batch(predictions=rows)


def _rows(predictions: Any, sums: Mapping[str, Any]) -> list[Any]:
    """Return texts, or complete rows of sums; raises InputError for anything else."""
    unknown = sorted(set(sums) - set(_SUMS))
    if unknown:
        raise InputError(f"bpb: expected columns of {', '.join(_SUMS)}, got {', '.join(unknown)}")
    if predictions is not None and sums:
        raise InputError(f"bpb: expected predictions or columns of sums, got both ({', '.join(sums)})")
    if sums:
        columns = {name: _list(column, name) for name, column in sums.items() if column is not None}
        if len({len(column) for column in columns.values()}) > 1:
            lengths = ", ".join(f"{len(column)} {name}" for name, column in columns.items())
            raise InputError(f"bpb: expected columns of one length, got {lengths}")
        predictions = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows = _list(predictions, "predictions")
    if not rows:
        raise InputError("predictions: expected one or more texts, or rows of nats and bytes, got none")
    if all(isinstance(row, str) for row in rows):
        for number, text in enumerate(rows):
            if not text:
                raise InputError(f"predictions[{number}]: expected text, got an empty one")
            make_document(text, f"predictions[{number}]")
        return rows
    return [_row(row, f"predictions[{number}]") for number, row in enumerate(rows)]


def _list(values: Any, name: str) -> list[Any]:
    items = as_list(values)
    if items is None:
        single = "a single " if hasattr(values, "__iter__") else ""
        raise InputError(f"{name}: expected a list, got {single}{type(values).__name__}")
    return items


def _row(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, Mapping) or not {"nats", "bytes"} <= set(row) <= set(_SUMS):
        got = ", ".join(map(str, row)) if isinstance(row, Mapping) else repr(row)[:60]
        raise InputError(f"{where}: expected a text, or nats and bytes (tokens, characters), got {got}")
    complete: dict[str, Any] = {name: row.get(name) for name in _SUMS}
    for name, value in complete.items():
        if value is None and name in _COUNTS:
            continue
        try:
            number = float(value)
            fits = math.isfinite(number) and 0 <= number < 2**63 and (name == "nats" or number.is_integer())
        except (TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            kind = "a finite number" if name == "nats" else "a whole number"
            raise InputError(f"{where}: expected {name} to be {kind} of 0 or more, got {value!r}")
        complete[name] = float(value) if name == "nats" else int(value)
    if (complete["characters"] or 0) > complete["bytes"]:
        raise InputError(f"{where}: expected at most as many characters as bytes, got {complete['characters']}")
    return complete


def _scored(rows: Sequence[Mapping[str, Any]]) -> tuple[Scored, ...]:
    """Return the sums of rows; a count that one of them lacks is unknown for all, and left at 0."""
    known = {name for name in _COUNTS if all(row[name] is not None for row in rows)}
    counts = [{name: row[name] if name in known else 0 for name in _COUNTS} for row in rows]
    return tuple(
        Scored(row["nats"], count["tokens"], row["bytes"], count["characters"])
        for row, count in zip(rows, counts, strict=True)
    )
