"""The fast paths that are known to be correct, and to be wrong, on architectures of `tiny_models`."""

# The fast paths that are correct on each architecture; the check must disable the others.
ATTENTION = {"tree", "prefix", "prefix+tree"}
CORRECT = {
    "gpt2": ATTENTION,  # learned positions
    "opt": ATTENTION,  # learned positions, offset; its base model is not what its forward calls
    "llama": ATTENTION,  # rotary
    "granite": ATTENTION,  # scaled logits
    "mixtral": ATTENTION,  # experts
    "qwen3_moe": ATTENTION,
    "phi3": ATTENTION,  # rotary, with other factors beyond 80 tokens
    "bloom": {"prefix"},  # ALiBi
    "falcon": {"prefix"},
    "mpt": {"prefix"},
    "mistral": {"tree", "prefix"},  # sliding window in all layers
    "gemma2": {"tree", "prefix"},  # in every other layer; capped logits
    "gemma3_text": {"tree", "prefix"},
    "cohere2": {"tree", "prefix"},
    "gpt_oss": {"tree", "prefix"},  # sinks, experts
    "llama4_text": {"prefix"},  # chunked attention
    "mamba": set(),
    "mamba2": {"prefix"},
    "rwkv": set(),
    "jamba": set(),  # hybrids of attention and recurrence
    "bamba": {"prefix"},
    "falcon_h1": {"prefix"},
    "qwen3_next": {"prefix"},
    "lfm2": {"prefix"},
    "recurrent_gemma": set(),
}
TAKE_SECONDS = {"bamba", "gemma3_text", "qwen3_next"}
# Fast paths that give wrong numbers without an error if they are forced.
SILENTLY_WRONG = [
    ("rwkv", "tree"),
    ("mpt", "tree"),
    ("mamba2", "tree"),
    ("llama4_text", "tree"),
    ("jamba", "prefix"),
    ("lfm2", "prefix+tree"),
]
