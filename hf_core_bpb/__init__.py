"""Bits per byte and CORE for any causal language model: numbers that can be compared across tokenizers."""

from typing import TYPE_CHECKING, Any

from hf_core_bpb.errors import InputError, RunError

if TYPE_CHECKING:
    from hf_core_bpb.api import bits_per_byte, evaluate_core
    from hf_core_bpb.evaluate_metrics.install import metric_path
    from hf_core_bpb.evaluation.token_batches import evaluate_bpb
    from hf_core_bpb.metrics.core import core_score
    from hf_core_bpb.metrics.results import BpbResult, CoreResult
    from hf_core_bpb.scaling.fit import fit_parametric
    from hf_core_bpb.tokenization.token_bytes import TokenBytes, token_bytes
    from hf_core_bpb.training.callback import CoreBpbCallback

__version__ = "0.1.0"

__all__ = [
    "BpbResult",
    "CoreBpbCallback",
    "CoreResult",
    "InputError",
    "RunError",
    "TokenBytes",
    "__version__",
    "bits_per_byte",
    "core_score",
    "evaluate_bpb",
    "evaluate_core",
    "fit_parametric",
    "metric_path",
    "token_bytes",
]

_MODULES = {
    "BpbResult": "metrics.results",
    "CoreBpbCallback": "training.callback",
    "CoreResult": "metrics.results",
    "TokenBytes": "tokenization.token_bytes",
    "bits_per_byte": "api",
    "core_score": "metrics.core",
    "evaluate_bpb": "evaluation.token_batches",
    "evaluate_core": "api",
    "fit_parametric": "scaling.fit",
    "metric_path": "evaluate_metrics.install",
    "token_bytes": "tokenization.token_bytes",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that importing the package loads neither torch nor transformers.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
