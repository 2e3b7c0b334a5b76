"""How many parameters a model has, under each convention that the literature divides tokens by."""

import math
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """N under its conventions; tied weights are one parameter.

    total: all of them. non_embedding: without token and position embeddings (Kaplan, arXiv:2001.08361).
    matmul: weights that a token is multiplied with, the head included even where it is tied (nanochat).
    active: the total without the experts that a token does not visit.
    """

    total: int
    non_embedding: int
    matmul: int
    active: int


def count_parameters(model: torch.nn.Module) -> ParameterCounts:
    """Return the counts of a causal language model of transformers."""
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
    idle = sum(_size(p) for name, p in parameters.items() if ".experts." in name) * _idle_share(model)
    return ParameterCounts(total, total - sum(embeddings.values()), matrices + tied_head, round(total - idle))


def _size(parameter: torch.nn.Parameter) -> int:
    # bitsandbytes packs two weights of 4 bits into a byte, and keeps the shape that they had.
    packed: Any = getattr(parameter, "quant_state", None)
    return int(math.prod(packed.shape)) if packed is not None else parameter.numel()


def _idle_share(model: torch.nn.Module) -> float:
    config: Any = getattr(model, "config", None)
    text = config.get_text_config() if config is not None else None
    experts = getattr(text, "num_local_experts", None) or getattr(text, "num_experts", None)
    visited = getattr(text, "num_experts_per_tok", None)
    return 1 - visited / experts if experts and visited else 0.0
