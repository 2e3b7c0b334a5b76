"""Windows over documents, and the bytes and characters of the scored text."""

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_core_bpb.data.documents import make_document
from hf_core_bpb.errors import InputError
from hf_core_bpb.tokenization.encode import encode
from hf_core_bpb.tokenization.windows import choose_windows, cut_windows, document_requests
from hf_core_bpb.types import Document, Scored

WIDE = choose_windows(100, None)


@given(st.integers(2, 60), st.integers(1, 12), st.data())
def test_every_token_but_the_first_is_scored_exactly_once_with_enough_context(length, max_length, data):
    stride = data.draw(st.integers(1, max_length))
    scored_indices = []
    for begin, scored, end in cut_windows(np.arange(length), choose_windows(max_length, stride)):
        assert end - begin <= max_length + 1
        assert begin < scored < end
        if begin > 0:
            assert end - begin == max_length + 1
            assert end - scored <= stride
        scored_indices += range(scored, end)
    assert scored_indices == list(range(1, length))


@pytest.mark.parametrize(
    ("max_length", "stride", "expected"),
    [(3, None, [(0, 1, 4), (3, 4, 7), (5, 7, 9)]), (4, 2, [(0, 1, 5), (2, 5, 7), (4, 7, 9)])],
)
def test_windows_of_nine_ids(max_length, stride, expected):
    assert list(cut_windows(np.arange(9), choose_windows(max_length, stride))) == expected


@pytest.mark.parametrize("stride", [0, 9])
def test_a_stride_outside_the_window_is_rejected(stride):
    with pytest.raises(InputError, match=f"`stride`: expected 1 to 8 tokens .*, got {stride}"):
        choose_windows(8, stride)


def test_a_document_starts_with_bos_and_has_the_bytes_of_its_text(tokenizer):
    text = "Ärger, 海 und 🌊\r\n"
    built = document_requests(tokenizer, [make_document(text, "here")], choose_windows(4, None), "here")
    assert built.requests[0].ids[0] == tokenizer.bos_token_id
    assert built.num_bytes == [len(text.encode())] == [22]
    assert built.num_characters == [len(text)] == [16]
    assert set(built.owners) == {0}
    joined = [i for r in built.requests for i in r.ids[r.start : r.end].tolist()]
    assert tokenizer.decode(joined) == text


def test_packed_documents_follow_each_other_and_share_windows(tokenizer):
    texts = ["the river", "海", "the sea and the river ran"]
    documents = [make_document(text, "here") for text in texts]
    built = document_requests(tokenizer, documents, choose_windows(8, None, packed=True), "here")
    requests = built.requests
    stream = [i for text in texts for i in encode(tokenizer, [text])[0].tolist()]
    assert requests[0].ids.tolist() == stream[:9]
    assert len({id(r.ids) for r in requests}) == -(-(len(stream) - 1) // 8) < len(requests)
    assert built.num_bytes == [len(text.encode()) for text in texts]
    for index, text in enumerate(texts):
        document = [r for r, owner in zip(requests, built.owners, strict=True) if owner == index]
        assert tokenizer.decode([i for r in document for i in r.ids[r.start : r.end].tolist()]) == text


def test_the_sums_of_a_document_add_its_requests_and_have_its_bytes_and_characters(tokenizer):
    texts = ["the river ran to the sea", "海"]
    built = document_requests(
        tokenizer, [make_document(text, "here") for text in texts], choose_windows(8, None), "here"
    )
    scored = [Scored(total_nats=1.0, num_tokens=r.end - r.start) for r in built.requests]
    first, second = built.sums_by_document(scored)
    assert (first.total_nats, first.num_bytes, first.num_characters) == (built.owners.count(0), 24, 24)
    assert (second.total_nats, second.num_bytes, second.num_characters) == (built.owners.count(1), 3, 1)


@pytest.mark.parametrize("starts_with_bos", [False, True])
def test_a_tokenized_document_gives_the_request_of_its_text(tokenizer, starts_with_bos):
    text = "the river ran, 海"
    bos = tokenizer.bos_token_id
    bare = tokenizer.encode(text, add_special_tokens=False)
    expected = document_requests(tokenizer, [make_document(text, "here")], WIDE, "here").requests[0]
    ids = [bos, *bare] if starts_with_bos else bare
    built = document_requests(tokenizer, [make_document(ids, "here")], WIDE, "here")
    (request,) = built.requests
    assert request.ids.tolist() == [bos, *bare]
    assert (built.num_bytes, built.num_characters) == ([len(text.encode())], [0])
    assert (request.start, request.end) == (expected.start, expected.end)


def test_special_tokens_inside_tokenized_documents_are_not_scored(tokenizer):
    text = "the river ran, 海"
    bare = tokenizer.encode(text, add_special_tokens=False)
    documents = [make_document([*bare, tokenizer.bos_token_id, *bare], "here")]
    built = document_requests(tokenizer, documents, WIDE, "here")
    assert sum(r.end - r.start for r in built.requests) == 2 * len(bare)
    assert built.num_bytes == [2 * len(text.encode())]


def test_tokenized_documents_with_unknown_ids_are_rejected(tokenizer):
    with pytest.raises(InputError, match="here, document 0: expected token ids below 298, got 298"):
        document_requests(tokenizer, [Document("", np.array([1, 298], dtype=np.int32))], WIDE, "here")


@pytest.mark.parametrize("ids", [[1, -1], [True, False], [1, 2**31], [1.0]])
def test_lists_that_are_not_token_ids_are_rejected(ids):
    with pytest.raises(InputError, match="here: expected text or a list of token ids, got list"):
        make_document(ids, "here")


def test_characters_are_not_counted_if_a_document_is_tokenized(tokenizer):
    documents = [make_document("the river", "here"), make_document([5, 6], "here")]
    assert document_requests(tokenizer, documents, WIDE, "here").num_characters == [0, 0]


def test_without_bos_a_document_starts_with_eos(tokenizer):
    other = deepcopy(tokenizer)
    other.bos_token = None
    (ids,) = encode(other, ["and"])
    assert ids[0] == other.eos_token_id


@pytest.mark.parametrize(("text", "unscored"), [("abc", (1, 1)), ("éa", (1, 0)), ("海a", (1, 0)), ("🌊", (1, 0))])
def test_without_bos_and_eos_the_first_token_and_its_bytes_are_not_scored(byte_tokenizer, text, unscored):
    built = document_requests(byte_tokenizer, [make_document(text, "here")], WIDE, "here")
    num_bytes = len(text.encode())
    assert sum(r.end - r.start for r in built.requests) == num_bytes - 1
    assert built.num_bytes == [num_bytes - unscored[0]]
    assert built.num_characters == [len(text) - unscored[1]]


def test_without_bos_and_eos_all_letters_of_the_first_token_are_not_scored(tokenizer):
    other = deepcopy(tokenizer)
    other.bos_token = other.eos_token = None
    built = document_requests(other, [make_document("Question: what", "here")], WIDE, "here")
    assert built.num_bytes == [len(": what")]


@pytest.mark.parametrize("text", ["", "a"])
def test_a_document_with_no_token_to_score_is_rejected(byte_tokenizer, text):
    with pytest.raises(InputError, match=f"here, document 1: expected text of two or more tokens, got {text!r}"):
        document_requests(byte_tokenizer, [make_document("fine", "here"), make_document(text, "here")], WIDE, "here")


def test_a_lone_surrogate_is_rejected():
    with pytest.raises(InputError, match="here: expected text that UTF-8 can encode"):
        make_document("a\ud800", "here")
