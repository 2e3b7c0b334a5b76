"""Bits per byte against a naive loop, for any token budget, window and stride."""

import math

import pytest
import torch
from support.naive import nats_of
from support.tiny_models import build_tiny_model

from hf_core_bpb import bits_per_byte
from hf_core_bpb.errors import InputError

TEXTS = ["The river ran to the sea.\r\n", "Ärger, 海 und 🌊: question and answer. " * 6, "a"]


def naive_sums(model, tokenizer, text, max_length):
    """Return the nats and tokens of a document, window by window, each token with as much context as fits."""
    ids = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]
    nats, scored = [], 1
    while scored < len(ids):
        end = min(scored + max_length, len(ids))
        window = ids[max(0, end - max_length - 1) : end]
        nats += nats_of(model, window[: max_length + 1], len(window) - (end - scored), len(window))
        scored = end
    return sum(nats), len(nats)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "rwkv"])
@pytest.mark.parametrize("max_length", [512, 16])
def test_nats_tokens_and_bytes_agree_with_a_plain_loop(tokenizer, architecture, max_length):
    model = build_tiny_model(architecture)
    result = bits_per_byte(model, tokenizer, TEXTS, max_length=max_length, batch_tokens=64)
    total_nats = total_bytes = 0
    for text, document in zip(TEXTS, result.documents, strict=True):
        nats, tokens = naive_sums(model, tokenizer, text, max_length)
        assert document.total_nats == pytest.approx(nats, rel=1e-5)
        assert document.num_tokens == tokens
        assert document.num_bytes == len(text.encode())
        assert document.num_characters == len(text)
        total_nats += nats
        total_bytes += len(text.encode())
    assert result.bpb == pytest.approx(total_nats / (math.log(2) * total_bytes), rel=1e-5)


def test_the_other_units_follow_from_the_same_nats(tokenizer, tiny_model):
    result = bits_per_byte(tiny_model, tokenizer, TEXTS)
    nats, tokens = result.total.total_nats, result.total.num_tokens
    assert result.bits_per_character == pytest.approx(nats / math.log(2) / sum(map(len, TEXTS)))
    assert result.token_perplexity == pytest.approx(math.exp(nats / tokens))
    assert result.byte_perplexity == pytest.approx(math.exp(nats / sum(len(t.encode()) for t in TEXTS)))
    assert result.bits_per_character > result.bpb


class Uniform(torch.nn.Module):
    """A model for which all 400 ids are equally likely."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, use_cache=None):
        from types import SimpleNamespace

        return SimpleNamespace(logits=self.weight * torch.zeros(*input_ids.shape, 400))


def test_a_uniform_model_has_the_bits_of_its_vocabulary(tokenizer, tiny_model):
    text = "the river"
    num_tokens = len(tokenizer.encode(text, add_special_tokens=False))
    result = bits_per_byte(Uniform(tiny_model.config), tokenizer, [text])
    assert result.total.num_tokens == num_tokens
    assert result.bpb == pytest.approx(num_tokens * math.log2(400) / 9, rel=1e-6)


def test_the_sum_does_not_depend_on_the_token_budget_or_the_order_of_documents(tokenizer, tiny_model):
    small = bits_per_byte(tiny_model, tokenizer, TEXTS, batch_tokens=1)
    large = bits_per_byte(tiny_model, tokenizer, TEXTS[::-1], batch_tokens=4096)
    assert small.bpb == pytest.approx(large.bpb, rel=1e-6)
    assert [d.num_bytes for d in small.documents] == [d.num_bytes for d in large.documents][::-1]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "texts: expected one or more documents, got none"),
        ("one text", "texts: expected a list of documents, got a single string"),
        (["fine", ""], "texts, document 1: expected text of two or more tokens, got ''"),
        (["fine", None], r"texts\[1\]: expected text or a list of token ids, got NoneType"),
    ],
)
def test_invalid_texts_are_rejected(tokenizer, tiny_model, texts, message):
    with pytest.raises(InputError, match=message):
        bits_per_byte(tiny_model, tokenizer, texts)


def test_the_signature_names_everything_that_bits_per_byte_depends_on(tokenizer, tiny_model):
    signature = bits_per_byte(tiny_model, tokenizer, ["the sea"], max_length=16).signature
    assert signature.startswith("bpb|text:sha256:")
    assert "|first:bos|max-length:16|dtype:float32|documents:alone|stride:16|version:" in signature
    for other in (
        bits_per_byte(tiny_model, tokenizer, ["the sea!"], max_length=16),
        bits_per_byte(tiny_model, tokenizer, ["the sea"], max_length=16, stride=8),
        bits_per_byte(tiny_model, tokenizer, ["the sea"], max_length=16, packed=True),
    ):
        assert other.signature != signature


def test_a_stride_gives_every_token_more_context_and_scores_it_once(tokenizer, tiny_model):
    """By hand: in windows of 16 that move by 4, every token after the first window has 12 tokens of context or more."""
    text = TEXTS[1]
    ids = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]
    nats = nats_of(tiny_model, ids[:17], 1, 17)
    for begin in range(17, len(ids), 4):
        end = min(begin + 4, len(ids))
        window = ids[end - 17 : end]
        nats += nats_of(tiny_model, window, 17 - (end - begin), 17)
    result = bits_per_byte(tiny_model, tokenizer, [text], max_length=16, stride=4)
    assert result.total.num_tokens == len(nats) == len(ids) - 1
    assert result.total.num_bytes == len(text.encode())
    assert result.total.total_nats == pytest.approx(sum(nats), rel=1e-5)
