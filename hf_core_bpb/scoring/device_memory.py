"""The memory of accelerators: in use, at its peak, and free."""

from typing import Any

import torch

# The types of devices with the figures that are needed.
MEASURED = ("cuda", "xpu", "mps")


def used_bytes(device: torch.device) -> int:
    """Return the memory in use, and start to measure its peak."""
    if device.type == "mps":
        # Without a peak, the blocks that the driver holds after the forward are counted.
        torch.mps.empty_cache()
        return torch.mps.driver_allocated_memory()
    module: Any = getattr(torch, device.type)
    module.reset_peak_memory_stats(device)
    return int(module.memory_allocated(device))


def peak_bytes(device: torch.device) -> int:
    """Return the most memory in use since `used_bytes`."""
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return int(getattr(torch, device.type).max_memory_allocated(device))


def free_bytes(device: torch.device) -> int:
    """Return the free memory, with the blocks that torch holds and does not use."""
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    module: Any = getattr(torch, device.type)
    free, _ = module.mem_get_info(device)
    return int(free + module.memory_reserved(device) - module.memory_allocated(device))
