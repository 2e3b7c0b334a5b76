"""The token budget of a forward, from the device's memory."""

import numpy as np
import torch

from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.inspect import accepts, device_of, positions_of
from hf_core_bpb.scoring.head import Head

# The fastest budget for a GPT-2-shaped model on two cores: with more tokens, activations no longer fit the caches.
_CPU_TOKENS = 2048
_MIN_TOKENS, _MAX_TOKENS = 1024, 65536
_MEASURED_TOKENS = 1024
_SHARE_OF_FREE_MEMORY = 0.5


def auto_batch_tokens(model: torch.nn.Module, head: Head) -> int:
    """Return the token budget for a model: on CUDA what fits half of the free memory, measured by a forward.

    Unless the head is replayed, the logits of all scored tokens exist at once, so the measured forward computes all.
    """
    device = device_of(model)
    if device.type != "cuda":
        return _CPU_TOKENS
    length = min(256, positions_of(model) or 256)
    ids_BxT = torch.zeros((_MEASURED_TOKENS // length or 1, length), dtype=torch.long, device=device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with evaluation_mode(model):
        without_logits = head == "replayed" and accepts(model, "logits_to_keep")
        model(input_ids=ids_BxT, use_cache=True, **({"logits_to_keep": 1} if without_logits else {}))
    used = torch.cuda.max_memory_allocated(device) - before
    free, _ = torch.cuda.mem_get_info(device)
    return fitting_tokens(free, used / ids_BxT.numel())


def fitting_tokens(free_bytes: int, bytes_per_token: float) -> int:
    """Return the largest power of two of tokens that fits half of the free memory, from 1,024 to 65,536."""
    tokens = _SHARE_OF_FREE_MEMORY * free_bytes / max(bytes_per_token, 1.0)
    return int(min(max(2 ** np.floor(np.log2(max(tokens, 1.0))), _MIN_TOKENS), _MAX_TOKENS))
