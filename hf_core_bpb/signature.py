"""Signatures: one line per result that names everything that determines it, except the model (pure)."""

import hashlib
from collections.abc import Mapping

from hf_core_bpb import __version__


def digest(text: str) -> str:
    """Return eight hexadecimal digits of a text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def sign(kind: str, parts: Mapping[str, object]) -> str:
    """Return `kind|key:value|...|version:x`, in the style of sacrebleu."""
    fields = [f"{key}:{value}" for key, value in parts.items()]
    return "|".join([kind, *fields, f"version:{__version__}"])
