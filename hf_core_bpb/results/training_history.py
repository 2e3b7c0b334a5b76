"""What a model was trained on: given by the user, or counted by CoreBpbCallback and saved beside the weights."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hf_core_bpb.scaling.flops import six_n_d
from hf_core_bpb.scaling.parameters import ParameterCounts

MOST_TOKENS = 1e18
_STATE = "trainer_state.json"


@dataclass(frozen=True, slots=True)
class Trained:
    """Tokens and FLOPs of training; FLOPs are 6 N D if only tokens are known, with N the weight matrices and head."""

    tokens: float
    flops: float
    source: str


def find_trained(folder: Path, tokens: float | None, parameters: ParameterCounts) -> Trained | None:
    """Return tokens and FLOPs of a model's training, None if unknown.

    tokens: given by the user, in preference to the file in the model's folder.
    """
    if tokens is not None:
        return Trained(tokens, six_n_d(parameters.matmul, tokens), "trained_on")
    logged = _last_counts(folder / _STATE)
    if logged is None:
        return None
    target_tokens, flops = logged["scale/target_tokens"], logged.get("scale/flops", math.nan)
    return Trained(target_tokens, flops if _is_count(flops) else six_n_d(parameters.matmul, target_tokens), _STATE)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < math.inf


def _last_counts(path: Path) -> Mapping[str, float] | None:
    try:
        history: Any = json.loads(path.read_text(encoding="utf-8"))["log_history"]
        entries = [entry for entry in history if _is_count(entry.get("scale/target_tokens"))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # A folder without a Trainer's state, or with that of another program.
        return None
    return entries[-1] if entries else None
