"""FLOPs of training: by 6 N D, or counted operation by operation on a copy of the model without weights."""

import copy
import re
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

# Dense bfloat16 FLOPs per second by the vendors' data sheets, without sparsity; the first name that matches applies.
_PEAKS = {
    "B200": 2.25e15,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "GH200": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "A10G": 70e12,
    "A10": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "V100": 125e12,
    "T4": 65e12,
    "MI300X": 1307e12,
    "MI250X": 383e12,
}
# Words after which a known name has another peak: RTX 4090 D, RTX 4090 Laptop GPU.
_SLOWER_VARIANTS = {"D", "Laptop", "Max", "MIG"}


def six_n_d(parameters: float, tokens: float) -> float:
    """Return 6 N D: two FLOPs per weight and token forward, four backward; ignores attention and frozen weights."""
    return 6 * parameters * tokens


def training_flops_per_token(model: torch.nn.Module, length: int) -> float | None:
    """Return the FLOPs per token of a forward and backward pass over a row of `length` tokens.

    Counted by torch's FlopCounterMode on the meta device: attention in full (T x T, not the causal half), only
    the experts that a token visits, no gradients of frozen weights, no recomputation of gradient checkpointing.
    None for a model that is not from transformers, that cannot be built without weights, or whose weights differ
    from its configuration, as with adapters.
    """
    config: Any = getattr(model, "config", None)
    if config is None or not hasattr(type(model), "from_pretrained"):
        return None
    config = copy.deepcopy(config)
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        # The counter misses fused kernels on some devices, and sees the experts of each token only in batched_mm.
        part._attn_implementation = "eager"
        part._experts_implementation = "batched_mm"
    # Most models build their mask from values, which meta tensors lack, unless given one; the accepted shape differs.
    for shape in ((1, 1, length, length), (1, length), None):
        try:
            return _count(model, config, length, shape) / length
        except Exception:  # noqa: S112 an architecture that needs values of meta tensors
            continue
    return None


def _count(model: torch.nn.Module, config: Any, length: int, mask_shape: tuple[int, ...] | None) -> int:
    with torch.device("meta"):
        skeleton: Any = type(model)(config)
        ids_1xT = torch.zeros((1, length), dtype=torch.long)
        mask = torch.ones(mask_shape) if mask_shape is not None else None
    skeleton.to(torch.float32).train()
    is_trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    weights = dict(skeleton.named_parameters())
    if weights.keys() != is_trained.keys():
        raise TypeError("the weights differ from the configuration: adapters, or quantized weights")
    for name, parameter in weights.items():
        parameter.requires_grad_(is_trained[name])
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        skeleton(input_ids=ids_1xT, attention_mask=mask, use_cache=False).logits.sum().backward()
    return int(counter.get_total_flops())


def peak_flops(device: torch.device) -> float | None:
    """Return the dense bfloat16 peak of a device in FLOPs per second, None where it is unknown."""
    if device.type != "cuda":
        return None
    words = set(re.split(r"[\s-]+", torch.cuda.get_device_name(device)))
    if words & _SLOWER_VARIANTS:
        return None
    return next((peak for name, peak in _PEAKS.items() if set(name.split()) <= words), None)
