"""Bytes of every id: exact wherever a tokenizer can be, on tokenizers made here and on real ones."""

import time
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tokenizer_families import CORPUS, sentencepiece_bpe
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from hf_core_bpb import token_bytes
from hf_core_bpb.tokenization.encode import encode_bare

# SentencePiece reads U+2581 as a space.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=40)


def byte_level(add_prefix_space=False, normalizer=None):
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    made.decoder = decoders.ByteLevel()
    if normalizer is not None:
        made.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=350, initial_alphabet=alphabet, show_progress=False)
    )
    made.add_special_tokens(["<s>"])
    made.add_tokens([AddedToken("   ", normalized=False), AddedToken("née", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>")


def count(tokenizer, table, text):
    (ids,) = encode_bare(tokenizer, [text])
    return table.count(ids)


LOSSLESS = {
    "byte-level": byte_level,
    "sentencepiece": sentencepiece_bpe,
    "sentencepiece without a space in front": lambda: sentencepiece_bpe(dummy_prefix=False),
    "slow, letters for bytes": ByT5Tokenizer,
}


@pytest.fixture(scope="module", params=LOSSLESS)
def lossless(request):
    made = LOSSLESS[request.param]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return made, token_bytes(made)


@given(text=TEXT)
@settings(max_examples=300, deadline=None)
def test_the_ids_of_any_text_have_its_bytes(lossless, text):
    made, table = lossless
    if not any(token in text for token in made.all_special_tokens):
        assert count(made, table, text) == len(text.encode())


def test_nothing_is_said_to_be_lost_of_what_is_kept(lossless):
    assert lossless[1].inexact == ()


def test_special_tokens_have_no_bytes_and_added_text_has_its_own():
    made = byte_level()
    table = token_bytes(made)
    ids = made.convert_tokens_to_ids(["<s>", "   ", "née"])
    assert table.num_bytes_V[ids].tolist() == [0, 3, 4]
    assert table.is_special_V[ids].tolist() == [True, False, False]
    assert table.is_special_V.sum() == 1


def test_parts_of_a_character_have_their_own_bytes():
    made = byte_level()
    table = token_bytes(made)
    ids = made.encode("\U00012345", add_special_tokens=False)
    assert len(ids) == 4
    assert table.num_bytes_V[ids].tolist() == [1, 1, 1, 1]


def test_the_space_in_front_of_a_text_is_none_of_its_bytes():
    made = sentencepiece_bpe()
    table = token_bytes(made)
    assert table.dummy_prefix_bytes == 1
    ids = np.array(made.encode("the", add_special_tokens=False))
    assert table.num_bytes_V[ids].sum() == 4
    assert table.count(ids) == 3
    bos = made.bos_token_id
    assert table.count(np.array([bos, *ids, bos, *ids])) == 6
    assert table.of_targets(np.array([bos, ids[-1]]), ids[[0, 0]]).tolist() == [table.num_bytes_V[ids[0]] - 1, 3]


@pytest.mark.parametrize(
    ("normalizer", "lost"),
    [
        (normalizers.NFC(), "text that Unicode normalisation changes"),
        (normalizers.Lowercase(), "upper case"),
        (normalizers.Strip(), "spaces at the start or end"),
        (normalizers.Replace("\n", " "), "line breaks and tabs"),
    ],
)
def test_what_a_normaliser_loses_is_named_and_warned_of(normalizer, lost):
    with pytest.warns(UserWarning, match=f"the tokenizer does not keep .*{lost}"):
        table = token_bytes(byte_level(normalizer=normalizer))
    assert lost in table.inexact
    assert "common text" not in table.inexact or lost == "upper case"


def test_added_text_that_swallows_a_space_is_named():
    made = sentencepiece_bpe()
    made.add_tokens([AddedToken("[foo]", normalized=True)])
    with pytest.warns(UserWarning, match="does not keep text that was added to its vocabulary"):
        table = token_bytes(made)
    assert table.inexact == ("text that was added to its vocabulary",)


def test_a_tokenizer_whose_tokens_are_bytes_is_read(tokenizer):
    class Bytes:
        """A tokenizer of one's own, without a fast backend."""

        all_special_ids = (256,)
        eos_token_id = bos_token_id = 256

        def get_vocab(self):
            return {**{bytes([b]): b for b in range(256)}, "<eos>": 256}

        def __call__(self, texts, **options):
            return {"input_ids": [list(text.encode()) for text in texts]}

        def decode(self, ids, **options):
            return bytes(ids).decode()

    table = token_bytes(Bytes())
    assert table.inexact == ()
    assert count(Bytes(), table, "Ärger 海") == 10
    assert table.num_bytes_V[256] == 0


@pytest.mark.slow
def test_a_vocabulary_of_256_thousand_takes_less_than_a_second():
    from tokenizers import Tokenizer

    words = {f"\u0120w{i:06d}": i for i in range(256_000)}
    alphabet = {c: 256_000 + i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab={**words, **alphabet}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    large = PreTrainedTokenizerFast(tokenizer_object=made)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        table = token_bytes(large)
        seconds.append(time.perf_counter() - started)
    assert len(table) == 256_256
    assert min(seconds) < 1.0


REAL = {
    "gpt2": (),
    "dolma2": (),
    "tinystories10k": (),
    "llama2": (),
    "mistral-v1": (),
    "gpt-neox-20b": ("text that Unicode normalisation changes",),
    "qwen2": ("text that Unicode normalisation changes",),
    "t5": (
        "spaces at the start or end",
        "runs of spaces",
        "line breaks and tabs",
        "text that Unicode normalisation changes",
        "characters outside its vocabulary",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
@pytest.mark.filterwarnings("ignore:token_bytes")
def test_real_tokenizers_are_exact_on_real_text_or_said_not_to_be(shared, name):
    import unicodedata

    made = AutoTokenizer.from_pretrained(shared / "tokenizers" / name)
    table = token_bytes(made)
    assert table.inexact == REAL[name]
    wrong = []
    for path in sorted((shared / "text").rglob("*.txt")):
        text = path.read_bytes().decode()
        # Text that spells a special token, such as <unk> in WikiText, is to be read as text here.
        ids = made([text], add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"][0]
        if table.count(np.array(ids)) != len(text.encode()):
            wrong.append((path.name, unicodedata.is_normalized("NFC", text)))
    if not REAL[name]:
        assert wrong == []
    elif name != "t5":
        assert [name for name, is_normal in wrong if is_normal] == []
    else:
        assert len(wrong) > 10
