"""What a run took, and where it ran."""

import platform
import resource
import sys

import accelerate
import datasets
import torch
import transformers

from hf_core_bpb.distributed import process_group
from hf_core_bpb.results.record import RunFacts
from hf_core_bpb.types import Work


def run_facts(work: Work, backend: str, seconds: float) -> RunFacts:
    """Return the facts of this process's run, its memory being that of this process alone."""
    group = process_group()
    return RunFacts(
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
