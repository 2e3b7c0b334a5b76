"""The span of the answer in each prompt, and left truncation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.naive import shared_length

from hf_core_bpb.errors import InputError
from hf_core_bpb.protocols.spans import answer_starts, common_prefix, common_suffix, option_requests
from hf_core_bpb.types import Example


def ids(*values):
    return np.array(values, dtype=np.int32)


CHOICE = Example(("q",), ("one", "zwölf"), 0)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=4))
def test_common_ends_agree_with_a_plain_loop(sequences):
    arrays = [ids(*sequence) for sequence in sequences]
    assert common_prefix(arrays) == shared_length(sequences)
    assert common_suffix(arrays) == shared_length(sequences, from_right=True)


def test_multiple_choice_scores_the_ids_after_the_common_prefix():
    requests = option_requests("multiple_choice", CHOICE, [ids(9, 1, 2, 3), ids(9, 1, 4)], 10, "here")
    assert [(r.ids.tolist(), r.start, r.end) for r in requests] == [([9, 1, 2, 3], 2, 4), ([9, 1, 4], 2, 3)]
    assert [r.num_bytes for r in requests] == [3, 6]


def test_schema_scores_the_common_suffix():
    example = Example(("a", "bb"), ("end",), 0)
    requests = option_requests("schema", example, [ids(9, 1, 5, 6), ids(9, 2, 3, 5, 6)], 10, "here")
    assert [(r.start, r.end) for r in requests] == [(2, 4), (3, 5)]
    assert [r.num_bytes for r in requests] == [3, 3]


def test_language_modeling_scores_the_ids_after_the_prompt():
    example = Example(("a",), ("b",), 0)
    (request,) = option_requests("language_modeling", example, [ids(9, 1, 2), ids(9, 1, 2, 3, 4)], 10, "here")
    assert (request.ids.tolist(), request.start, request.end) == ([9, 1, 2, 3, 4], 3, 5)


def test_a_continuation_that_merges_with_its_prompt_is_scored_from_the_merged_token():
    assert answer_starts("language_modeling", [ids(9, 1, 2), ids(9, 1, 7, 3)]) == [2]


def test_a_choice_that_is_a_prefix_of_all_others_scores_its_last_token():
    assert answer_starts("multiple_choice", [ids(9, 1, 2), ids(9, 1, 2, 3), ids(9, 1, 2, 3, 4)]) == [2, 2, 2]


@pytest.mark.parametrize(
    ("kind", "starts"), [("multiple_choice", [1, 1]), ("schema", [1, 1]), ("language_modeling", [1])]
)
def test_equal_prompts_score_their_last_token(kind, starts):
    assert answer_starts(kind, [ids(9, 1), ids(9, 1)]) == starts


def test_options_without_a_common_suffix_score_their_last_token():
    assert answer_starts("schema", [ids(9, 1), ids(9, 1, 2)]) == [1, 2]


def test_truncation_removes_ids_on_the_left_and_shifts_the_span():
    requests = option_requests("multiple_choice", CHOICE, [ids(9, 1, 2, 3, 4, 5), ids(9, 1, 2, 3, 6)], 4, "here")
    assert [(r.ids.tolist(), r.start, r.end, r.truncated) for r in requests] == [
        ([2, 3, 4, 5], 2, 4, True),
        ([1, 2, 3, 6], 3, 4, True),
    ]


def test_a_span_longer_than_the_context_is_scored_except_its_truncated_ids():
    (request,) = option_requests(
        "language_modeling", Example(("a",), ("b",), 0), [ids(9, 1), ids(9, 1, 2, 3, 4, 5)], 3, "here"
    )
    assert (request.ids.tolist(), request.start, request.end) == ([3, 4, 5], 1, 3)


def test_without_bos_the_first_id_is_only_context():
    requests = option_requests("multiple_choice", CHOICE, [ids(1, 2), ids(3, 4)], 10, "here")
    assert [(r.start, r.end) for r in requests] == [(1, 2), (1, 2)]


def test_a_prompt_of_one_token_is_rejected():
    with pytest.raises(InputError, match="here: expected a prompt of two or more tokens, got 1"):
        option_requests("multiple_choice", CHOICE, [ids(1), ids(2, 3)], 10, "here")
