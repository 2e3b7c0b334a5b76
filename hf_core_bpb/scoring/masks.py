"""Attention masks for trees, one for each kind of attention in a model."""

from typing import Any

import torch


def tree_mask(
    config: Any,
    visible_BxTxK: torch.Tensor,
    positions_BxT: torch.Tensor,
    key_positions_BxK: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Return the additive mask (B, 1, T, K) for a model of this configuration, or one mask per layer type.

    A sliding window is measured in positions, not in columns.
    """
    window = getattr(config, "sliding_window", None)
    layer_types = set(getattr(config, "layer_types", None) or ())
    if window is None or layer_types == {"full_attention"}:
        return _additive(visible_BxTxK, dtype)
    in_window_BxTxK = positions_BxT[:, :, None] - key_positions_BxK[:, None, :] < window
    sliding_BxTxK = visible_BxTxK & in_window_BxTxK
    if layer_types <= {"sliding_attention"}:
        return _additive(sliding_BxTxK, dtype)
    return {
        layer_type: _additive(sliding_BxTxK if layer_type == "sliding_attention" else visible_BxTxK, dtype)
        for layer_type in sorted(layer_types)
    }


def _additive(visible_BxTxK: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    mask_BxTxK = torch.zeros(visible_BxTxK.shape, dtype=dtype, device=visible_BxTxK.device)
    return mask_BxTxK.masked_fill_(~visible_BxTxK, torch.finfo(dtype).min)[:, None]
