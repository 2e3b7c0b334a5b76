"""What a run cost, and the environment that it ran in."""

import platform
import resource
import sys

import accelerate
import datasets
import torch
import transformers

from hf_core_bpb.distributed import process_group
from hf_core_bpb.results.record import RunStatistics
from hf_core_bpb.types import Work


def collect_statistics(work: Work, backend: str, seconds: float) -> RunStatistics:
    """Return the statistics of a run; its peak memory is that of this process."""
    group = process_group()
    return RunStatistics(
        work=work,
        backend=backend,
        seconds=seconds,
        processes=group.num_processes,
        peak_memory_bytes=_peak_memory_bytes(group.device),
        environment={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "datasets": datasets.__version__,
            "accelerate": accelerate.__version__,
            "device": _describe(group.device),
        },
    )


def _peak_memory_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
