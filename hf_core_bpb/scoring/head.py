"""Run the vocabulary head only at scored positions, a chunk of rows at a time."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from hf_core_bpb.models.inspect import base_of, device_of
from hf_core_bpb.scoring.device_memory import MEASURED, free_bytes

Head = Literal["replayed", "masked", "full"]

# Elements of a chunk of logits: 64 MiB in float32. On an accelerator each chunk reads the head's weights again and
# starts some kernels, so chunks are larger, as far as memory allows.
_CHUNK_ELEMENTS = 2**24
_CHUNK_ELEMENTS_ACCELERATOR = 2**27
_BYTES_PER_ELEMENT = 8
_SHARE_OF_FREE_MEMORY = 1 / 8


class HeadedModel:
    """Calls a causal language model and runs its head by one of three strategies.

    replayed: run the base model once, then the model's forward on chunks of the base's output, which keeps the model's
    scaling and capping of logits. masked: pass the scored positions as `logits_to_keep`. full: run the head everywhere.
    head_rows counts the rows of logits computed so far.
    """

    def __init__(self, model: torch.nn.Module, head: Head) -> None:
        """Take a model and the strategy for its head."""
        self.model = model
        self.head = head
        self.head_rows = 0
        self.chunk_elements = chunk_elements(device_of(model))

    def __call__(
        self, ids_BxT: torch.Tensor, keep_BxT: npt.NDArray[np.bool_], **inputs: Any
    ) -> tuple[Iterator[torch.Tensor], Any]:
        """Return the logits (N, V) at the positions to keep, row by row in chunks, and the model's cache.

        Read all chunks before the next call. keep_BxT is on the host: the output may be on another device than the ids.
        """
        if self.head == "replayed":
            base = base_of(self.model)
            if base is None:
                raise TypeError(f"{type(self.model).__name__} has no base model")
            output = base(input_ids=ids_BxT, **inputs)
            return self._replay(base, output, _pick(output.last_hidden_state, keep_BxT)), _cache_of(output)
        if self.head == "masked":
            mask_BxT = torch.from_numpy(keep_BxT)
            if not keep_BxT.any():
                # Some models fail on an empty mask.
                mask_BxT = torch.zeros_like(mask_BxT)
                mask_BxT[0, -1] = True
            output = self.model(input_ids=ids_BxT, logits_to_keep=mask_BxT.to(ids_BxT.device), **inputs)
            self.head_rows += len(output.logits)
            logits_NxV = output.logits[: int(keep_BxT.sum())]
        else:
            output = self.model(input_ids=ids_BxT, **inputs)
            logits_NxV = _pick(output.logits, keep_BxT)
            self.head_rows += ids_BxT.numel()
        return _chunks(logits_NxV, self.chunk_elements), _cache_of(output)

    def _replay(self, base: torch.nn.Module, output: Any, hidden_NxD: torch.Tensor) -> Iterator[torch.Tensor]:
        rows = max(1, self.chunk_elements // _vocabulary_of(self.model))
        for begin in range(0, len(hidden_NxD), rows):
            chunk = copy.copy(output)
            chunk.last_hidden_state = hidden_NxD[None, begin : begin + rows]
            ids_1xN = torch.zeros(chunk.last_hidden_state.shape[:2], dtype=torch.long, device=hidden_NxD.device)
            with _returning(base, chunk):
                logits_NxV = self.model(input_ids=ids_1xN, use_cache=False).logits[0]
            self.head_rows += len(logits_NxV)
            yield logits_NxV


def _pick(values_BxTxD: torch.Tensor, keep_BxT: npt.NDArray[np.bool_]) -> torch.Tensor:
    """Return the values (N, D) at the positions to keep; by indices, as a mask on the device would wait for it."""
    rows_N, columns_N = (torch.from_numpy(indices).to(values_BxTxD.device) for indices in np.nonzero(keep_BxT))
    return values_BxTxD[rows_N, columns_N]


def chunk_elements(device: torch.device) -> int:
    """Return how many logits a chunk on a device has."""
    if device.type not in MEASURED:
        return _CHUNK_ELEMENTS
    fitting = int(_SHARE_OF_FREE_MEMORY * free_bytes(device) / _BYTES_PER_ELEMENT)
    return min(max(fitting, _CHUNK_ELEMENTS), _CHUNK_ELEMENTS_ACCELERATOR)


def _vocabulary_of(model: torch.nn.Module) -> int:
    head: Any = getattr(model, "get_output_embeddings", lambda: None)()
    return getattr(head, "out_features", None) or 2**17


def _chunks(logits_NxV: torch.Tensor, num_elements: int) -> Iterator[torch.Tensor]:
    rows = max(1, num_elements // logits_NxV.shape[-1])
    for begin in range(0, len(logits_NxV), rows):
        yield logits_NxV[begin : begin + rows]


def _cache_of(output: Any) -> Any:
    cache = getattr(output, "past_key_values", None)
    return cache if cache is not None else getattr(output, "cache_params", None)


@contextmanager
def _returning(module: torch.nn.Module, output: Any) -> Iterator[None]:
    """Let every call of a module return a given output."""
    patched = module.__dict__.get("forward")
    module.forward = lambda *_, **__: output
    try:
        yield
    finally:
        if patched is None:
            del module.forward
        else:
            module.forward = patched
