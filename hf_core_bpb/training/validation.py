"""The validation documents of a Trainer as requests: texts, or the rows of its eval dataset."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from hf_core_bpb.tokenization.token_rows import Ids64, mark_text, row_requests
from hf_core_bpb.tokenization.windows import choose_windows, document_requests
from hf_core_bpb.types import Request

Collate = Callable[[list[Any]], Any]

# The name of the validation documents in a workload.
VALIDATION = "validation"
_IGNORED = -100


def prepare_validation_texts(lm: LanguageModel, texts: Sequence[str]) -> PreparedDocuments:
    """Return texts as documents, as bits_per_byte scores them; raises InputError for an empty one."""
    documents = [make_document(text, f"texts[{i}]") for i, text in enumerate(texts)]
    windows = choose_windows(lm.max_length, None)
    return prepare_documents({VALIDATION: partial(document_requests, lm.tokenizer, documents, windows, "texts")})


def prepare_validation_rows(lm: LanguageModel, datasets: Sequence[tuple[Any, Collate]]) -> PreparedDocuments:
    """Return each row of datasets as a document; each dataset comes with its collator, called with single rows.

    Labels that are text and not ignored are scored; the bytes are those of their ids. Raises InputError for a
    dataset without a length, rows that cannot be collated one by one, and labels that differ from the inputs.
    """
    for dataset, _ in datasets:
        if not hasattr(dataset, "__len__"):
            raise InputError("eval_dataset: expected a dataset with a length, got a stream; set `texts` instead")
    rows = [(dataset[index], collate) for dataset, collate in datasets for index in range(len(dataset))]
    table = token_bytes(lm.tokenizer)
    return prepare_documents({VALIDATION: partial(_dataset_requests, rows, table, lm.max_length)})


def _dataset_requests(rows: Sequence[tuple[Any, Collate]], table: TokenBytes, max_length: int) -> DocumentRequests:
    requests: list[Request] = []
    owners: list[int] = []
    for index, (row, collate) in enumerate(rows):
        where = f"eval_dataset, row {index}"
        for request in _requests(_collate(collate, row, where), table, max_length, where):
            requests.append(request)
            owners.append(index)
    if not requests:
        raise InputError("eval_dataset: expected rows with one or more targets that are text, got none")
    # The bytes of a row are those of its requests.
    return DocumentRequests(requests, owners, [0] * len(rows), [0] * len(rows))


def _collate(collate: Collate, row: Any, where: str) -> Mapping[str, Any]:
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
    if len(ids) > 1:
        x_1xT, y_1xT = ids[None, :-1], np.where(has_label, labels, -1)[None, 1:]
        (marks_T,) = mark_text(x_1xT, y_1xT, table, where)
        yield from row_requests(x_1xT[0], y_1xT[0], marks_T, table)


def _row(batch: Mapping[str, Any], key: str, where: str) -> Ids64:
    if key not in batch:
        raise InputError(f"{where}: expected {key}, got {', '.join(batch)}")
    return torch.as_tensor(batch[key]).cpu().numpy().astype(np.int64).reshape(-1)
