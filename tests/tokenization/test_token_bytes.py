"""The bytes of every id, for tokenizers built here and for real ones."""

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
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    if normalizer is not None:
        backend.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=350, initial_alphabet=alphabet, show_progress=False)
    )
    backend.add_special_tokens(["<s>"])
    backend.add_tokens([AddedToken("   ", normalized=False), AddedToken("née", normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")


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
    tokenizer = LOSSLESS[request.param]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return tokenizer, token_bytes(tokenizer)


@given(text=TEXT)
@settings(max_examples=300, deadline=None)
def test_the_bytes_of_the_ids_of_any_text_add_up_to_its_bytes(lossless, text):
    tokenizer, table = lossless
    if not any(token in text for token in tokenizer.all_special_tokens):
        assert count(tokenizer, table, text) == len(text.encode())


def test_a_lossless_tokenizer_is_reported_as_exact(lossless):
    assert lossless[1].inexact == ()


def test_special_tokens_have_no_bytes_and_added_tokens_those_of_their_text():
    tokenizer = byte_level()
    table = token_bytes(tokenizer)
    ids = tokenizer.convert_tokens_to_ids(["<s>", "   ", "née"])
    assert table.num_bytes_V[ids].tolist() == [0, 3, 4]
    assert table.is_special_V[ids].tolist() == [True, False, False]
    assert table.is_special_V.sum() == 1


def test_tokens_that_are_parts_of_a_character_have_one_byte_each():
    tokenizer = byte_level()
    table = token_bytes(tokenizer)
    ids = tokenizer.encode("\U00012345", add_special_tokens=False)
    assert len(ids) == 4
    assert table.num_bytes_V[ids].tolist() == [1, 1, 1, 1]


def test_the_dummy_prefix_is_not_counted():
    tokenizer = sentencepiece_bpe()
    table = token_bytes(tokenizer)
    assert table.dummy_prefix_bytes == 1
    ids = np.array(tokenizer.encode("the", add_special_tokens=False))
    assert table.num_bytes_V[ids].sum() == 4
    assert table.count(ids) == 3
    bos = tokenizer.bos_token_id
    assert table.count(np.array([bos, *ids, bos, *ids])) == 6
    assert table.of_targets(np.array([bos, ids[-1]]), ids[[0, 0]]).tolist() == [table.num_bytes_V[ids[0]] - 1, 3]


@pytest.mark.parametrize(
    ("normalizer", "kind"),
    [
        (normalizers.NFC(), "text that Unicode normalisation changes"),
        (normalizers.Lowercase(), "upper case"),
        (normalizers.Strip(), "spaces at the start or end"),
        (normalizers.Replace("\n", " "), "line breaks and tabs"),
    ],
)
def test_text_that_a_normalizer_loses_is_named_in_the_result_and_a_warning(normalizer, kind):
    with pytest.warns(UserWarning, match=f"the tokenizer loses .*{kind}"):
        table = token_bytes(byte_level(normalizer=normalizer))
    assert kind in table.inexact
    assert "common text" not in table.inexact or kind == "upper case"


def test_an_added_token_that_absorbs_a_space_is_named():
    tokenizer = sentencepiece_bpe()
    tokenizer.add_tokens([AddedToken("[foo]", normalized=True)])
    with pytest.warns(UserWarning, match="the tokenizer loses text that was added to its vocabulary"):
        table = token_bytes(tokenizer)
    assert table.inexact == ("text that was added to its vocabulary",)


def test_a_custom_tokenizer_whose_tokens_are_bytes_is_supported():
    class Bytes:
        """A tokenizer without a fast backend."""

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
    backend = Tokenizer(models.BPE(vocab={**words, **alphabet}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    large = PreTrainedTokenizerFast(tokenizer_object=backend)
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
def test_real_tokenizers_are_exact_on_real_text_except_for_the_named_kinds(shared, name):
    import unicodedata

    tokenizer = AutoTokenizer.from_pretrained(shared / "tokenizers" / name)
    table = token_bytes(tokenizer)
    assert table.inexact == REAL[name]
    wrong = []
    for path in sorted((shared / "text").rglob("*.txt")):
        text = path.read_bytes().decode()
        # WikiText spells <unk>, which must not be read as the special token here.
        ids = tokenizer([text], add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"][0]
        if table.count(np.array(ids)) != len(text.encode()):
            wrong.append((path.name, unicodedata.is_normalized("NFC", text)))
    if not REAL[name]:
        assert wrong == []
    elif name != "t5":
        assert [name for name, is_normal in wrong if is_normal] == []
    else:
        assert len(wrong) > 10
