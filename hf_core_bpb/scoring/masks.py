"""Attention masks for trees, built on the device from one integer per column, one for each kind of attention."""

from typing import Any

import torch

# The memory-efficient kernels of CUDA copy a mask whose rows do not begin at a multiple of this, in every layer.
_ALIGNMENT = 8


def tree_mask(
    config: Any,
    ends_BxK: torch.Tensor,
    positions_BxT: torch.Tensor,
    key_positions_BxK: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Return the additive mask (B, 1, T, K) for a model of this configuration, or one mask per layer type.

    The T queries are the last T of the K columns. Column i sees column j exactly when j <= i < ends[j]. A sliding
    window is measured in positions, not in columns.
    """
    columns_K = torch.arange(ends_BxK.shape[1], dtype=torch.int32, device=ends_BxK.device)
    queries_T = columns_K[-positions_BxT.shape[1] :]
    visible_BxTxK = (columns_K <= queries_T[:, None]) & (queries_T[:, None] < ends_BxK[:, None])
    window = getattr(config, "sliding_window", None)
    layer_types = set(getattr(config, "layer_types", None) or ())
    if window is None or layer_types == {"full_attention"}:
        return _additive(visible_BxTxK, dtype)
    in_window_BxTxK = positions_BxT[:, :, None] - key_positions_BxK[:, None] < window
    sliding_BxTxK = visible_BxTxK & in_window_BxTxK
    if layer_types <= {"sliding_attention"}:
        return _additive(sliding_BxTxK, dtype)
    return {
        layer_type: _additive(sliding_BxTxK if layer_type == "sliding_attention" else visible_BxTxK, dtype)
        for layer_type in sorted(layer_types)
    }


def _additive(visible_BxTxK: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    num_rows, num_queries, num_keys = visible_BxTxK.shape
    aligned_keys = -(-num_keys // _ALIGNMENT) * _ALIGNMENT
    mask_BxTxK = torch.full(
        (num_rows, num_queries, aligned_keys), torch.finfo(dtype).min, dtype=dtype, device=visible_BxTxK.device
    )[:, :, :num_keys]
    return mask_BxTxK.masked_fill_(visible_BxTxK, 0.0)[:, None]
