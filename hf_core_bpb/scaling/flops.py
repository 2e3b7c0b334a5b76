"""FLOPs of training: by 6 N D, and counted operation by operation on a copy of the model without weights."""

import copy
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

# Dense bfloat16 FLOPs a second by the makers' data sheets, without sparsity; the first name that fits counts.
_PEAKS = {
    "B200": 2.25e15,
    "H200": 989e12,
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


def six_n_d(parameters: float, tokens: float) -> float:
    """Return 6 N D: two FLOPs a weight and token forward, four backward; neither attention nor frozen weights."""
    return 6 * parameters * tokens


def training_flops_a_token(model: torch.nn.Module, length: int) -> float | None:
    """Return the FLOPs of a forward and backward pass, divided by tokens, of a row of so many tokens.

    Counted by torch's FlopCounterMode on the meta device: attention in full (T x T, not the causal half), the
    experts that a token visits, no gradients of frozen weights, nothing twice for gradient checkpointing.
    None for a model that is not of transformers, that cannot be built without weights, or whose weights are
    not those of its configuration, as with adapters.
    """
    config: Any = getattr(model, "config", None)
    if config is None or not hasattr(type(model), "from_pretrained"):
        return None
    config = copy.deepcopy(config)
    for part in {id(c): c for c in (config, config.get_text_config())}.values():
        # Fused kernels are not counted on every device; in batched_mm the counter sees each token's experts.
        part._attn_implementation = "eager"
        part._experts_implementation = "batched_mm"
    # Given a mask, most models do not look at values to make one; which shape they take differs.
    for shape in ((1, 1, length, length), (1, length), None):
        try:
            return _count(model, config, length, shape) / length
        except Exception:  # noqa: S112 an architecture that looks at values that are not there
            continue
    return None


def _count(model: torch.nn.Module, config: Any, length: int, mask_shape: tuple[int, ...] | None) -> int:
    with torch.device("meta"):
        bare: Any = type(model)(config)
        ids_1xT = torch.zeros((1, length), dtype=torch.long)
        mask = torch.ones(mask_shape) if mask_shape is not None else None
    bare.to(torch.float32).train()
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    own = dict(bare.named_parameters())
    if own.keys() != trained.keys():
        raise TypeError("the model is not as its configuration has it: adapters, or quantised weights")
    for name, parameter in own.items():
        parameter.requires_grad_(trained[name])
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        bare(input_ids=ids_1xT, attention_mask=mask, use_cache=False).logits.sum().backward()
    return int(counter.get_total_flops())


def peak_flops(device: torch.device) -> float | None:
    """Return the dense bfloat16 peak of a device in FLOPs a second, None where it is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for known, peak in _PEAKS.items() if known in name), None)
