"""Read documents to score: UTF-8 files, JSONL files and columns of Hub datasets."""

import hashlib
from pathlib import Path

import numpy as np

from hf_core_bpb.data.hub import HubTable
from hf_core_bpb.data.jsonl import json_rows
from hf_core_bpb.errors import InputError
from hf_core_bpb.types import DatasetSource, Document


def make_document(text: object, where: str) -> Document:
    """Return a document of a text or a list of token ids; raises InputError for text that UTF-8 cannot encode."""
    if isinstance(text, list) and all(type(i) is int and 0 <= i < 2**31 for i in text):
        return Document("", np.array(text, dtype=np.int32))
    if not isinstance(text, str):
        raise InputError(f"{where}: expected text or a list of token ids, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where}: expected text that UTF-8 can encode, got {error.reason}") from None
    return Document(text)


def load_hub_documents(source: DatasetSource, column: str) -> tuple[list[Document], str]:
    """Return a document for each non-empty row of a column, and the revision that was read."""
    where = f"`text` {source.path}"
    table = HubTable(source, None, where)
    if column not in table.columns:
        raise InputError(f"{where}: expected a column of {', '.join(table.columns)}, got {column!r}")
    documents = [make_document(text, f"{where}, row {i}") for i, text in enumerate(table.rows[column]) if text != ""]
    if not documents:
        raise InputError(f"{where}: expected text in column {column!r}, got none")
    return documents, table.revision


def read_text_file(path: Path) -> tuple[list[Document], str]:
    """Return a UTF-8 file as one document, with its newlines and byte order mark, and its sha256.

    Raises:
        InputError: The file is empty, unreadable or not UTF-8; the message names the file and the invalid byte.
    """
    content = _read_bytes(path)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}, line {line}: expected UTF-8, got byte {error.object[error.start]:#04x} at {error.start}"
        ) from None
    if text == "":
        raise InputError(f"{path}: expected text, got an empty file")
    return [make_document(text, str(path))], _digest(content)


def read_jsonl_file(path: Path, column: str) -> tuple[list[Document], str]:
    """Return a document for each line of a JSONL file whose column is not empty, and the file's sha256."""
    content = _read_bytes(path)
    documents = []
    for number, row in json_rows(content, path):
        if column not in row:
            raise InputError(f"{path}, line {number}: expected a column {column!r}, got {', '.join(row)}")
        if row[column] != "":
            documents.append(make_document(row[column], f"{path}, line {number}"))
    if not documents:
        raise InputError(f"{path}: expected text in column {column!r}, got none")
    return documents, _digest(content)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()[:16]}"


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got {error.strerror}") from None
