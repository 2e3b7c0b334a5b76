"""Tokenizers of other families, built by hand."""

from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

CORPUS = ["The river ran to the sea. Ärger, naïve, 海と空, Вода, 🌊🌊 and so on.\n"] * 4


def sentencepiece_bpe(dummy_prefix=True):
    """Return a tokenizer like Llama's: spaces as U+2581, one in front, and bytes for characters without a piece."""
    letters = sorted({c for c in CORPUS[0].replace(" ", "\u2581") if c.isascii() or c == "\u2581"})
    pieces = ["<unk>", "<s>", *[f"<0x{b:02X}>" for b in range(256)], *letters, "\u2581t", "\u2581th", "ve", "er"]
    merges = [("\u2581", "t"), ("\u2581t", "h"), ("v", "e"), ("e", "r")]
    model = models.BPE({p: i for i, p in enumerate(pieces)}, merges, unk_token="<unk>", byte_fallback=True)
    backend = Tokenizer(model)
    steps = [normalizers.Prepend("\u2581")] if dummy_prefix else []
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "\u2581")])
    strip = [decoders.Strip(" ", 1, 0)] if dummy_prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")
