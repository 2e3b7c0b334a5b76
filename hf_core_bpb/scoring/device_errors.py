"""Errors of devices: memory that ran out, and failures after which a device cannot be used."""

import torch

_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
_LOST = ("device-side assert", "illegal memory access", "unspecified launch failure", "misaligned address")


def is_out_of_memory(error: Exception) -> bool:
    """Return whether a forward failed for lack of memory, on an accelerator or a CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(message in str(error) for message in _OUT_OF_MEMORY)


def is_device_lost(error: Exception) -> bool:
    """Return whether a kernel failed in a way that leaves the device unusable for this process."""
    if is_out_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or any(message in str(error) for message in _LOST)
