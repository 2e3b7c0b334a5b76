"""Read JSONL line by line."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hf_core_bpb.errors import InputError


def json_rows(content: bytes, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line number and object of each non-blank line; raises InputError naming the file and line."""
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: expected JSON, got {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: expected a JSON object, got {type(row).__name__}")
        yield number, row
