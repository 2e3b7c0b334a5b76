"""Models of random weights, small enough to score in milliseconds."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

WINDOW = 16

# Hidden size 32, two layers (four if kinds of layers alternate), two heads of 16, windows of 16 tokens.
_DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
_MAMBA_2 = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
_OPTIONS = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "opt": {
        "hidden_size": 32,
        "word_embed_proj_dim": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    },
    "llama": _DECODER | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 2},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "alibi": True},
    "mpt": {"d_model": 32, "n_heads": 2, "n_layers": 2, "expansion_ratio": 2},
    "mistral": _DECODER | {"sliding_window": WINDOW},
    "gemma2": _DECODER | {"sliding_window": WINDOW},
    "gemma3_text": _DECODER | {"sliding_window": WINDOW, "num_hidden_layers": 6},
    "cohere2": _DECODER | {"sliding_window": WINDOW, "num_hidden_layers": 4},
    "gpt_oss": _DECODER | {"sliding_window": WINDOW, "num_local_experts": 4, "num_experts_per_tok": 2},
    "llama4_text": _DECODER | {"attention_chunk_size": WINDOW, "num_local_experts": 2, "intermediate_size_mlp": 48},
    "mixtral": _DECODER | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": _DECODER | _EXPERTS,
    "granite": _DECODER | {"logits_scaling": 4.0, "embedding_multiplier": 3.0},
    "phi3": _DECODER
    | {
        "original_max_position_embeddings": 80,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 10_000.0,
            "short_factor": [1.0] * 8,
            "long_factor": [4.0] * 8,
            "original_max_position_embeddings": 80,
        },
    },
    "rwkv": {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "mamba2": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "state_size": 8,
        "num_heads": 4,
        "head_dim": 16,
        "n_groups": 1,
        "chunk_size": 16,
    },
    "jamba": _DECODER
    | {
        "num_hidden_layers": 4,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "mamba_d_state": 4,
        "mamba_dt_rank": 2,
        "num_experts": 2,
        "use_mamba_kernels": False,
    },
    "bamba": _DECODER | _MAMBA_2 | {"attn_layer_indices": [1]},
    "falcon_h1": _DECODER | _MAMBA_2 | {"mamba_d_ssm": 64},
    "qwen3_next": _DECODER
    | _EXPERTS
    | {
        "num_hidden_layers": 4,
        "shared_expert_intermediate_size": 24,
        "linear_num_value_heads": 2,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
    },
    "lfm2": _DECODER | {"layer_types": ["conv", "full_attention"]},
    "recurrent_gemma": _DECODER | {"attention_window_size": WINDOW, "lru_width": 32, "num_hidden_layers": 3},
}
_POSITIONS = {"gpt2": "n_positions", "rwkv": "context_length", "mpt": "max_seq_len"}
_NUM_LAYERS = {"num_hidden_layers", "n_layer", "n_layers"}
_UNBOUNDED = {"bloom", "mamba", "mamba2", "recurrent_gemma"}


def build_tiny_model(architecture: str = "gpt2", positions: int = 512, window: int = WINDOW, repeats: int = 1):
    """Return a model of random weights, large enough that no two options tie; repeats: of its layers."""
    options = dict(_OPTIONS[architecture])
    for name in _NUM_LAYERS & options.keys():
        options[name] *= repeats
    if "layer_types" in options:
        options["layer_types"] = options["layer_types"] * repeats
    if "sliding_window" in options:
        options["sliding_window"] = window
    if architecture not in _UNBOUNDED:
        options[_POSITIONS.get(architecture, "max_position_embeddings")] = positions
    torch.manual_seed(7)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=400,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        initializer_range=0.3,
        **options,
    )
    return AutoModelForCausalLM.from_config(config).float().eval()
