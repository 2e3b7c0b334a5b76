"""Attention masks that say token by token which others it sees, for every kind of attention a model mixes."""

from typing import Any

import torch


def tree_mask(
    config: Any,
    sees_BxTxK: torch.Tensor,
    positions_BxT: torch.Tensor,
    key_positions_BxK: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor | dict[str, torch.Tensor]:
    """Return the additive mask (B, 1, T, K) that a model of this configuration takes, one for each kind of layer.

    A sliding window counts positions, not columns: a key is in sight when it is less than a window away.
    """
    window = getattr(config, "sliding_window", None)
    kinds = set(getattr(config, "layer_types", None) or ())
    if window is None or kinds == {"full_attention"}:
        return _additive(sees_BxTxK, dtype)
    near_BxTxK = positions_BxT[:, :, None] - key_positions_BxK[:, None, :] < window
    masks = {"sliding_attention": sees_BxTxK & near_BxTxK}
    if not kinds or kinds == {"sliding_attention"}:
        return _additive(masks["sliding_attention"], dtype)
    return {kind: _additive(masks.get(kind, sees_BxTxK), dtype) for kind in sorted(kinds)}


def _additive(sees_BxTxK: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    mask_BxTxK = torch.zeros(sees_BxTxK.shape, dtype=dtype, device=sees_BxTxK.device)
    return mask_BxTxK.masked_fill_(~sees_BxTxK, torch.finfo(dtype).min)[:, None]
