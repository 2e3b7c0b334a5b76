"""The prefix trie of requests."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hf_core_bpb.scoring.trie import build_trie
from hf_core_bpb.types import Request

IDS = st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=9), min_size=1, max_size=20)


def request(ids):
    return Request(np.array(ids, dtype=np.int32), 1, len(ids), 1)


@given(IDS)
def test_the_minimum_is_the_number_of_distinct_prefixes(sequences):
    prefixes = {tuple(ids[:n]) for ids in sequences for n in range(1, len(ids))}
    assert build_trie([request(ids) for ids in sequences]).num_tokens == len(prefixes)


@given(IDS)
def test_paths_are_sorted_and_none_is_a_prefix_of_another(sequences):
    paths = [path.tolist() for path in build_trie([request(ids) for ids in sequences]).paths]
    assert paths == sorted(paths)
    assert not any(a == b[: len(a)] for a in paths for b in paths if a is not b)


@given(IDS)
def test_every_request_lies_along_exactly_one_path(sequences):
    trie = build_trie([request(ids) for ids in sequences])
    assert sorted(index for indices in trie.request_indices for index in indices) == list(range(len(sequences)))
    for path, indices in zip(trie.paths, trie.request_indices, strict=True):
        for index in indices:
            assert sequences[index][:-1] == path[: len(sequences[index]) - 1].tolist()


def test_paths_shared_tokens_and_request_indices_of_four_requests():
    """By hand: the paths 1 2, 1 2 3 and twice 1 2 4 have four distinct prefixes."""
    trie = build_trie([request(ids) for ids in ([1, 2, 9], [1, 2, 3, 9], [1, 2, 4, 9], [1, 2, 4, 8])])
    assert [path.tolist() for path in trie.paths] == [[1, 2, 3], [1, 2, 4]]
    assert trie.shared == (0, 2)
    assert [sorted(indices) for indices in trie.request_indices] == [[0, 1], [2, 3]]
    assert trie.num_tokens == 4


def test_ids_of_more_than_two_bytes_sort_by_value():
    trie = build_trie([request([70_000, 1, 0]), request([3, 1, 0]), request([250_000, 1, 0])])
    assert [path.tolist() for path in trie.paths] == [[3, 1], [70_000, 1], [250_000, 1]]


def test_ids_behind_the_last_span_of_a_shared_array_are_not_forwarded():
    ids = np.arange(10, dtype=np.int32)
    trie = build_trie([Request(ids, 1, 3, 1), Request(ids, 4, 7, 1)])
    assert [path.tolist() for path in trie.paths] == [list(range(6))]


def test_a_trie_of_selected_requests_has_only_these():
    trie = build_trie([request([n, 5, 6]) for n in range(4)], [3, 1])
    assert trie.request_indices == ((1,), (3,))
