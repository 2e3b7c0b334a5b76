"""How many tokens a forward may hold, from the device's memory."""

import numpy as np
import torch

from hf_core_bpb.models.evaluation_mode import evaluation_mode
from hf_core_bpb.models.inspect import accepts, device_of, positions_of
from hf_core_bpb.scoring.head import Head

# On two cores a GPT-2-shaped model is fastest here: more tokens no longer fill the caches.
_ON_CPU = 2048
_FEWEST, _MOST = 1024, 65536
_MEASURED_TOKENS = 1024
_SHARE_OF_FREE_MEMORY = 0.5


def auto_batch_tokens(model: torch.nn.Module, head: Head) -> int:
    """Return the token budget for a model: on CUDA what half of the free memory holds, measured by a forward.

    Where the head is not replayed, all logits that are read exist at once, so the forward has them all.
    """
    device = device_of(model)
    if device.type != "cuda":
        return _ON_CPU
    length = min(256, positions_of(model) or 256)
    ids_BxT = torch.zeros((_MEASURED_TOKENS // length or 1, length), dtype=torch.long, device=device)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with evaluation_mode(model):
        some = {"logits_to_keep": 1} if head == "replayed" and accepts(model, "logits_to_keep") else {}
        model(input_ids=ids_BxT, use_cache=True, **some)
    used = torch.cuda.max_memory_allocated(device) - before
    free, _ = torch.cuda.mem_get_info(device)
    return fitting_tokens(free, used / ids_BxT.numel())


def fitting_tokens(free_bytes: int, bytes_a_token: float) -> int:
    """Return the power of two of tokens that fit into half of the free memory, 1,024 to 65,536."""
    fit = _SHARE_OF_FREE_MEMORY * free_bytes / max(bytes_a_token, 1.0)
    return int(min(max(2 ** np.floor(np.log2(max(fit, 1.0))), _FEWEST), _MOST))
