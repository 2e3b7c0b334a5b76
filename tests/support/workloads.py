"""Workloads of random requests, and a model that runs out of memory."""

import torch

from hf_core_bpb.scoring.workload import build_workload


class NarrowMemory(torch.nn.Module):
    """A model that runs out of memory above `max_tokens` tokens per forward."""

    def __init__(self, inner, max_tokens):
        super().__init__()
        self.inner = inner
        self.max_tokens = max_tokens
        self.config = inner.config

    def forward(self, input_ids, use_cache=None):
        if input_ids.numel() > self.max_tokens:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {input_ids.numel()} tokens")
        return self.inner(input_ids=input_ids, use_cache=use_cache)


def workload(requests):
    return build_workload({"first": lambda: requests[:20], "second": lambda: requests[20:]})
