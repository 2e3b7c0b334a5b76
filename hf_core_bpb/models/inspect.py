"""Inspect a model: positions, ids, device, dtype, modules, sharding and quantization."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from hf_core_bpb.errors import InputError


def positions_of(model: torch.nn.Module) -> int | None:
    """Return the number of positions of a model, None if it has no limit or does not declare one."""
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if config is not None else None
    positions = getattr(text, "max_position_embeddings", None) or getattr(text, "max_seq_len", None)
    return int(positions) if positions else None


def rescaled_beyond(model: torch.nn.Module) -> int | None:
    """Return the length beyond which a model with LongRoPE switches to its long factors, None for other models."""
    config: Any = getattr(model, "config", None)
    rope = getattr(config.get_text_config(), "rope_parameters", None) if config is not None else None
    if not isinstance(rope, dict) or rope.get("rope_type") != "longrope":
        return None
    return int(rope["original_max_position_embeddings"])


def device_of(model: torch.nn.Module) -> torch.device:
    """Return the device on which a model takes its ids."""
    weight = next(model.parameters())
    device = weight.device
    if isinstance(weight, DTensor) and device.type != weight.device_mesh.device_type:
        # Shards that rest on the CPU are gathered on the device of their mesh.
        return torch.device(weight.device_mesh.device_type, torch.accelerator.current_device_index())
    # Offloaded weights are on no device; their hooks move the inputs.
    return torch.device("cpu") if device.type == "meta" else device


def dtype_of(model: torch.nn.Module) -> torch.dtype:
    """Return the dtype of the unquantized weights."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def compute_dtype_of(model: torch.nn.Module) -> torch.dtype:
    """Return the dtype of the model's matrix products: autocast's where it is on, else that of the weights."""
    device_type = device_of(model).type
    return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else dtype_of(model)


def attention_of(model: torch.nn.Module) -> str | None:
    """Return the name of the implementation of attention, such as sdpa, None if the model declares none."""
    config: Any = getattr(model, "config", None)
    return getattr(config.get_text_config(), "_attn_implementation", None) if config is not None else None


def num_known_ids(model: torch.nn.Module) -> int | None:
    """Return the number of ids with an embedding, None if the model does not declare it."""
    get: Any = getattr(model, "get_input_embeddings", None)
    rows = getattr(get() if get is not None else None, "num_embeddings", None)
    return int(rows) if rows is not None else None


def check_largest_id(largest_id: int, model: torch.nn.Module) -> None:
    """Raise InputError for an id that the model has no embedding for."""
    known = num_known_ids(model)
    if known is not None and largest_id >= known:
        raise InputError(f"`tokenizer`: expected ids below the model's {known}, got {largest_id}")


def accepts(module: torch.nn.Module, name: str) -> bool:
    """Return whether a module's forward, or that of the model in a PEFT wrapper, has a parameter of that name."""
    get_base: Any = getattr(module, "get_base_model", None)
    forward = module.forward if get_base is None else get_base().forward
    return name in inspect.signature(forward).parameters


def base_of(model: torch.nn.Module) -> torch.nn.Module | None:
    """Return the part of a transformers model below its head, None if there is none."""
    base = getattr(model, getattr(model, "base_model_prefix", "") or " ", None)
    return base if isinstance(base, torch.nn.Module) else None


def is_sharded(model: torch.nn.Module) -> bool:
    """Return whether a forward gathers weights from other processes (FSDP, DeepSpeed ZeRO-3)."""
    wrapped = any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules())
    return wrapped or any(isinstance(p, DTensor) or hasattr(p, "ds_id") for p in model.parameters())


def processes_per_copy(model: torch.nn.Module) -> int:
    """Return the number of processes that hold one copy of the model together, each needing the same inputs."""
    return int(getattr(model, "tp_size", None) or 1)


def describe_quantization(config: Any) -> str | None:
    """Return method and bits of a config's `quantization_config`, None for an unquantized model."""
    settings: Mapping[str, Any] = (
        config if isinstance(config, Mapping) else config.to_dict() if config is not None else {}
    )
    if not settings:
        return None
    # Early checkpoints of bitsandbytes do not name it.
    loaded_in = next((bits for bits in (4, 8) if settings.get(f"load_in_{bits}bit")), None)
    method = settings.get("quant_method", "bitsandbytes" if loaded_in is not None else "unnamed")
    bits = loaded_in if loaded_in is not None else settings.get("bits")
    return f"{getattr(method, 'value', method)}{f'-{bits}bit' if bits is not None else ''}"
