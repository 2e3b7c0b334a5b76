"""Models of random weights in the shapes of published ones, whose logits spread as a trained model's do."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    Qwen3Config,
)

VOCABULARY = 50304
_SPREAD = 4.0


def _llama(
    width: int, inner: int, layers: int, heads: int, groups: int, vocabulary: int = VOCABULARY
) -> dict[str, int]:
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "vocab_size": vocabulary,
        "max_position_embeddings": 4096,
    }


_SMALL = _llama(64, 128, 2, 4, 2)
_SHAPES: dict[str, Callable[[bool], PreTrainedConfig]] = {
    "gpt2-0.1b": lambda small: GPT2Config(
        n_positions=2048, vocab_size=VOCABULARY, **({"n_embd": 64, "n_layer": 2, "n_head": 2} if small else {})
    ),
    "llama-1b": lambda small: LlamaConfig(**(_SMALL if small else _llama(2048, 8192, 16, 32, 8))),
    "llama-8b": lambda small: LlamaConfig(**(_SMALL if small else _llama(4096, 14336, 32, 32, 8, 128256))),
    "qwen3-0.6b": lambda small: Qwen3Config(
        **(_SMALL if small else _llama(1024, 3072, 28, 16, 8)), head_dim=16 if small else 128
    ),
    "gemma3-1b": lambda small: Gemma3TextConfig(
        **(_SMALL if small else _llama(1152, 6912, 26, 4, 1)), head_dim=16 if small else 256, sliding_window=512
    ),
    "neox-1b": lambda small: GPTNeoXConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
        hidden_size=64 if small else 2048,
        intermediate_size=128 if small else 8192,
        num_hidden_layers=2 if small else 24,
        num_attention_heads=4 if small else 16,
    ),
}


def build_shape(name: str, device: torch.device, dtype: torch.dtype, small: bool, **options: Any) -> Any:
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = AutoModelForCausalLM.from_config(_SHAPES[name](small), dtype=dtype, **options).eval()
    with torch.inference_mode():
        ids_1xT = torch.arange(64, device=device)[None] * 701 % VOCABULARY
        spread = model(input_ids=ids_1xT, use_cache=False).logits.float().std()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(_SPREAD / float(spread))
    return model
