"""The number of parameters of a model, under each convention of the literature for tokens per parameter."""

import math
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """N under each convention; tied weights count once.

    total: all parameters. non_embedding: without token and position embeddings (Kaplan, arXiv:2001.08361).
    matmul: weights of matrix multiplications, including the head even where it is tied (nanochat).
    active: the total without the experts that a token does not visit.
    """

    total: int
    non_embedding: int
    matmul: int
    active: int


def count_parameters(model: torch.nn.Module) -> ParameterCounts:
    """Count the parameters of a causal language model of transformers."""
    parameters = dict(model.named_parameters())
    total = sum(_size(p) for p in parameters.values())
    embeddings = {
        id(p): _size(p)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for p in module.parameters(recurse=False)
    }
    matrices = sum(_size(p) for p in parameters.values() if p.ndim >= 2 and id(p) not in embeddings)
    get_head: Any = getattr(model, "get_output_embeddings", None)
    head = get_head() if get_head is not None else None
    tied_head = embeddings.get(id(head.weight), 0) if head is not None else 0
    unvisited = sum(_size(p) for name, p in parameters.items() if ".experts." in name) * _unvisited_share(model)
    return ParameterCounts(total, total - sum(embeddings.values()), matrices + tied_head, round(total - unvisited))


def _size(parameter: torch.nn.Parameter) -> int:
    # bitsandbytes packs two 4-bit weights into a byte, and stores the original shape.
    packed: Any = getattr(parameter, "quant_state", None)
    return int(math.prod(packed.shape)) if packed is not None else parameter.numel()


def _unvisited_share(model: torch.nn.Module) -> float:
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if config is not None else None
    experts = getattr(text, "num_local_experts", None) or getattr(text, "num_experts", None)
    visited = getattr(text, "num_experts_per_tok", None)
    return 1 - visited / experts if experts and visited else 0.0
