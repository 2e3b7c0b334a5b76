"""The token budget of a forward, from the device's memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.inspect import accepts, compute_dtype_of, device_of, positions_of
from hf_core_bpb.scoring.batches import CACHED_PER_TOKEN
from hf_core_bpb.scoring.device_memory import MEASURED, free_bytes, peak_bytes, used_bytes
from hf_core_bpb.scoring.head import Head

# The fastest budget for a GPT-2-shaped model on two cores: with more tokens, activations no longer fit the caches.
_CPU_TOKENS = 2048
_MIN_TOKENS, _MAX_TOKENS = 1024, 65536
_MEASURED_TOKENS = 1024
_SHARE_OF_FREE_MEMORY = 0.5
# A mask is made from booleans, and kinds of layers have masks of their own.
_MASKS = 2


@dataclass(frozen=True, slots=True)
class Footprint:
    """The memory of a forward, in bytes per token.

    activations: the peak of a forward without cached prefixes, with its own keys and values. cache: the keys and values
    of all layers. expanded: those of one layer, repeated for every head of queries. mask: an element of a mask.
    """

    activations: float
    cache: float
    expanded: float
    mask: int

    def bytes_per_token(self, longest: int) -> float:
        """Return the bytes per forwarded token with the cached prefixes that a batch may have.

        longest: columns of the widest row. Cached prefixes are copied once for the rows that continue them, and exist
        as long as their copy.
        """
        cached = CACHED_PER_TOKEN * (2 * self.cache + self.expanded)
        return self.activations + cached + _MASKS * (self.mask + 1) * longest


def auto_batch_tokens(model: torch.nn.Module, head: Head, longest: int) -> int:
    """Return the token budget for a model: on an accelerator what fits half of the free memory, measured by a forward.

    longest: tokens of the longest row.
    """
    device = device_of(model)
    if device.type not in MEASURED:
        return _CPU_TOKENS
    footprint = _measure(model, head, device)
    return fitting_tokens(free_bytes(device), footprint.bytes_per_token(longest))


def _measure(model: torch.nn.Module, head: Head, device: torch.device) -> Footprint:
    """Measure a forward; unless the head is replayed, the logits of all scored tokens exist at once."""
    length = min(256, positions_of(model) or 256)
    ids_BxT = torch.zeros((_MEASURED_TOKENS // length or 1, length), dtype=torch.long, device=device)
    without_logits = head == "replayed" and accepts(model, "logits_to_keep")
    before = used_bytes(device)
    with evaluation_mode(model):
        output = model(input_ids=ids_BxT, use_cache=True, **({"logits_to_keep": 1} if without_logits else {}))
    peak = peak_bytes(device)
    cache, largest_layer = cache_bytes(output)
    config: Any = getattr(model, "config", None)
    text: Any = config.get_text_config() if config is not None else None
    heads = getattr(text, "num_attention_heads", None) or 1
    queries_per_key = heads / (getattr(text, "num_key_value_heads", None) or heads)
    return Footprint(
        activations=(peak - before) / ids_BxT.numel(),
        cache=cache / ids_BxT.numel(),
        expanded=largest_layer * queries_per_key / ids_BxT.numel(),
        mask=compute_dtype_of(model).itemsize,
    )


def cache_bytes(output: Any) -> tuple[int, int]:
    """Return the bytes of the keys and values in a model's output, and those of the largest layer."""
    layers = getattr(getattr(output, "past_key_values", None), "layers", None) or []
    sizes = [sum(value.nbytes for value in vars(layer).values() if isinstance(value, torch.Tensor)) for layer in layers]
    return sum(sizes), max(sizes, default=0)


def fitting_tokens(num_free_bytes: int, bytes_per_token: float) -> int:
    """Return the largest power of two of tokens that fits half of the free memory, from 1,024 to 65,536."""
    tokens = _SHARE_OF_FREE_MEMORY * num_free_bytes / max(bytes_per_token, 1.0)
    return int(min(max(2 ** np.floor(np.log2(max(tokens, 1.0))), _MIN_TOKENS), _MAX_TOKENS))
