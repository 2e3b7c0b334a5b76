"""What a Trainer validates on, prepared once: texts, or rows of token ids."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from hf_core_bpb.data.documents import make_document
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.evaluation.bpb import PreparedDocuments, prepare_documents
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.tokenization.documents import DocumentRequests
from hf_core_bpb.tokenization.token_bytes import TokenBytes, token_bytes
from hf_core_bpb.tokenization.token_rows import mark_text, row_requests
from hf_core_bpb.tokenization.windows import choose_windows, document_requests
from hf_core_bpb.types import Request

# The name of the validation documents among the texts of a workload.
VALIDATION = "validation"
_IGNORED = -100


def prepare_validation_texts(lm: LanguageModel, texts: Sequence[str]) -> PreparedDocuments:
    """Return texts as documents, each in windows of its own; raises InputError for no text or an empty one."""
    documents = [make_document(text, f"texts[{i}]") for i, text in enumerate(texts)]
    windows = choose_windows(lm.max_length, None)
    return prepare_documents({VALIDATION: partial(document_requests, lm.tokenizer, documents, windows, "texts")})


def prepare_validation_rows(lm: LanguageModel, datasets: Sequence[tuple[Any, Any]]) -> PreparedDocuments:
    """Return the rows of datasets as documents; each pair is a dataset and its collator, called with single rows.

    Labels that are not ignored and are text are scored; the bytes are those of their ids. Raises InputError for a
    dataset without a length, rows that cannot be collated one by one, and labels that are not the inputs.
    """
    for dataset, _ in datasets:
        if not hasattr(dataset, "__len__"):
            raise InputError("eval_dataset: expected a dataset with a length, got a stream; set texts=[...] instead")
    table = token_bytes(lm.tokenizer)
    rows = [(dataset[index], collate) for dataset, collate in datasets for index in range(len(dataset))]

    def build() -> DocumentRequests:
        requests: list[Request] = []
        owners: list[int] = []
        for index, (row, collate) in enumerate(rows):
            where = f"eval_dataset, row {index}"
            for request in _requests(_collate(collate, row, where), table, lm.max_length, where):
                requests.append(request)
                owners.append(index)
        if not requests:
            raise InputError("eval_dataset: expected rows with one or more targets that are text, got none")
        # The bytes are those of the requests.
        return DocumentRequests(requests, owners, [0] * len(rows), [0] * len(rows))

    return prepare_documents({VALIDATION: build})


def _collate(collate: Any, row: Any, where: str) -> Mapping[str, Any]:
    try:
        batch: Any = collate([row])
    except Exception as error:
        message = f"{type(error).__name__}: {reason(error)}"
        raise InputError(f"{where}: the collator cannot collate the row by itself: {message}") from error
    if not isinstance(batch, Mapping):
        raise InputError(f"{where}: expected input_ids and labels from the collator, got {type(batch).__name__}")
    return batch


def _requests(batch: Mapping[str, Any], table: TokenBytes, max_length: int, where: str) -> Iterator[Request]:
    ids = _row(batch, "input_ids", where)
    labels = _row(batch, "labels", where) if batch.get("labels") is not None else ids
    if batch.get("attention_mask") is not None and torch.as_tensor(batch["attention_mask"]).ndim == 2:
        is_visible = _row(batch, "attention_mask", where) != 0
        ids, labels = ids[is_visible], labels[is_visible]
    if len(ids) > max_length + 1:
        raise InputError(f"{where}: expected at most the model's {max_length} tokens, got {len(ids)}")
    has_label = labels != _IGNORED
    if (labels[has_label] != ids[has_label]).any():
        raise InputError(f"{where}: expected labels equal to the inputs, or -100; is the collator made for masking?")
    if len(ids) < 2:
        return
    x, y = ids[None, :-1], np.where(has_label, labels, -1)[None, 1:]
    yield from row_requests(x[0], y[0], mark_text(x, y, table, where)[0], table)


def _row(batch: Mapping[str, Any], key: str, where: str) -> np.ndarray[Any, Any]:
    if key not in batch:
        raise InputError(f"{where}: expected {key}, got {', '.join(batch)}")
    return torch.as_tensor(batch[key]).cpu().numpy().astype(np.int64).reshape(-1)
