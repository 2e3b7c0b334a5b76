"""What a Trainer validates on, made ready once: texts, or rows that are tokens already."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from hf_core_bpb.data.documents import make_document
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.scoring.scorer import Scorer, Workload, prepare
from hf_core_bpb.tokenization.token_bytes import TokenBytes, token_bytes
from hf_core_bpb.tokenization.windows import choose_windows, text_requests
from hf_core_bpb.types import Request, Scored

_IGNORED = -100


@dataclass(frozen=True, slots=True)
class Validation:
    """Documents as requests, with the document that each request belongs to."""

    workload: Workload
    owners: Sequence[int]
    num_documents: int

    def score(self, scorer: Scorer) -> list[Scored]:
        """Return the sums of every document on a model."""
        scored, _ = scorer.score(self.workload)
        documents = [Scored() for _ in range(self.num_documents)]
        for owner, sums in zip(self.owners, scored["validation"], strict=True):
            documents[owner] += sums
        return documents


def of_texts(lm: LanguageModel, texts: Sequence[str]) -> Validation:
    """Return texts as documents, each in windows of its own. Raises InputError for none, or an empty one."""
    if isinstance(texts, str) or not texts:
        raise InputError("texts: expected a list of one or more documents")
    documents = [make_document(text, f"texts[{i}]") for i, text in enumerate(texts)]
    owners: list[int] = []

    def make() -> list[Request]:
        requests, owners[:] = text_requests(lm.tokenizer, documents, choose_windows(lm.max_length, None), "texts")
        return requests

    return Validation(prepare({"validation": make}), owners, len(documents))


def of_rows(lm: LanguageModel, sets: Sequence[tuple[Any, Any]]) -> Validation:
    """Return the rows of datasets as documents, each row collated by itself; sets: (dataset, collator).

    What is scored are the labels that are not ignored and stand for text; the bytes are those of their ids.
    Raises InputError for a dataset without a length, rows that cannot be collated one by one, and labels that
    are not the inputs.
    """
    for dataset, _ in sets:
        if not hasattr(dataset, "__len__"):
            raise InputError("eval_dataset: expected one with a length, got a stream; give the callback texts=[...]")
    table = token_bytes(lm.tokenizer)
    rows = [(dataset[number], collate) for dataset, collate in sets for number in range(len(dataset))]
    owners: list[int] = []

    def make() -> list[Request]:
        made: list[Request] = []
        for number, (row, collate) in enumerate(rows):
            where = f"eval_dataset, row {number}"
            for request in _requests(_collate(collate, row, where), table, lm.max_length, where):
                made.append(request)
                owners.append(number)
        if not made:
            raise InputError("eval_dataset: expected rows with one or more targets that stand for text, got none")
        return made

    return Validation(prepare({"validation": make}), owners, len(rows))


def _collate(collate: Any, row: Any, where: str) -> Mapping[str, Any]:
    try:
        batch: Any = collate([row])
    except Exception as error:
        said = f"{type(error).__name__}: {reason(error)}"
        raise InputError(f"{where}: expected a row that the collator takes by itself, got {said}") from error
    if not isinstance(batch, Mapping):
        raise InputError(f"{where}: expected the collator to give input_ids and labels, got {type(batch).__name__}")
    return batch


def _requests(batch: Mapping[str, Any], table: TokenBytes, max_length: int, where: str) -> Iterator[Request]:
    ids = _row(batch, "input_ids", where)
    labels = _row(batch, "labels", where) if batch.get("labels") is not None else ids
    if batch.get("attention_mask") is not None and torch.as_tensor(batch["attention_mask"]).ndim == 2:
        held = _row(batch, "attention_mask", where) != 0
        ids, labels = ids[held], labels[held]
    if len(ids) > max_length + 1:
        raise InputError(f"{where}: expected at most the model's {max_length} tokens, got {len(ids)}")
    if len(ids) and ids.max() >= len(table):
        raise InputError(f"{where}: expected ids below {len(table)}, got {ids.max()}")
    wanted = labels != _IGNORED
    if (labels[wanted] != ids[wanted]).any():
        raise InputError(f"{where}: expected labels that are the inputs, or -100; is the collator made for masking?")
    scored = wanted & ~table.is_special_V[ids]
    scored[:1] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], scored, [False]])))
    for start, end in list(pairwise(edges.tolist()))[::2]:
        num_bytes = int(table.of_targets(ids[start - 1 : end - 1], ids[start:end]).sum())
        yield Request(ids.astype(np.int32), start, end, num_bytes)


def _row(batch: Mapping[str, Any], key: str, where: str) -> np.ndarray[Any, Any]:
    if key not in batch:
        raise InputError(f"{where}: expected {key}, got {', '.join(batch)}")
    return torch.as_tensor(batch[key]).cpu().numpy().astype(np.int64).reshape(-1)
