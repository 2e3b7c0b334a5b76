"""Run a model in float64, whatever the dtype of its weights and of layers that choose their dtype."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

_NARROW = (torch.float32, torch.bfloat16, torch.float16)


def can_widen(model: torch.nn.Module) -> bool:
    """Return whether `in_float64` can run a model: unsharded, unquantized weights on a device with float64."""
    weights = [*model.parameters(), *model.buffers()]
    return (
        getattr(model, "hf_quantizer", None) is None
        and not any(isinstance(w, DTensor) or hasattr(w, "ds_id") or w.device.type in ("meta", "mps") for w in weights)
        and not any(hasattr(module, "_hf_hook") for module in model.modules())
        and not any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules())
    )


@contextmanager
def in_float64(model: torch.nn.Module) -> Iterator[None]:
    """Compute a model in float64 by widening the floating-point inputs of each operation.

    The weights do not change, so nothing is cast back afterwards. Layers that request float32 get float64.
    """
    default_dtype = torch.get_default_dtype()
    # Rotary embeddings with factors by length replace their buffers during a call.
    buffers = [(module, dict(module._buffers)) for module in model.modules() if module._buffers]
    torch.set_default_dtype(torch.float64)
    try:
        # Compiled code would bypass the function mode.
        with torch.compiler.set_stance("force_eager"), _Widening():
            yield
    finally:
        torch.set_default_dtype(default_dtype)
        for module, original in buffers:
            module._buffers.update(original)


class _Widening(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Properties such as .dtype and .data compute nothing.
        if getattr(func, "__name__", "") in ("__get__", "__set__"):
            return func(*args, **(kwargs or {}))
        if func is torch.nn.functional.embedding:
            # Widen the rows that are looked up, not the whole table.
            return _widen(func(*args, **(kwargs or {})))
        args, kwargs = tree_map(_widen, (args, kwargs or {}))
        return _IN_FLOAT64.get(func, func)(*args, **kwargs)


def _widen(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return torch.float64 if value in _NARROW else value
    return value.double() if isinstance(value, torch.Tensor) and value.dtype in _NARROW else value


def _grouped_mm(mat_a: torch.Tensor, mat_b: torch.Tensor, *, offs: torch.Tensor, **_: Any) -> torch.Tensor:
    """Multiply each group of rows (ending at `offs`) by its matrix; torch has no float64 kernel for this."""
    ends = offs.tolist()
    groups = zip([0, *ends[:-1]], ends, mat_b, strict=True)
    rest = mat_a.new_zeros((len(mat_a) - ends[-1], mat_b.shape[-1]))
    return torch.cat([*(mat_a[begin:end] @ matrix for begin, end, matrix in groups), rest])


_IN_FLOAT64: dict[Any, Callable[..., Any]] = {
    torch.Tensor.float: torch.Tensor.double,
    torch.Tensor.half: torch.Tensor.double,
    torch.Tensor.bfloat16: torch.Tensor.double,
    torch.nn.functional.grouped_mm: _grouped_mm,
    torch._grouped_mm: _grouped_mm,
}
