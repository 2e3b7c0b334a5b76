"""The callback's settings: its public keywords, and the values that it rejects."""

import inspect

import pytest

from hf_core_bpb import CoreBpbCallback
from hf_core_bpb.errors import InputError


def test_the_keywords_and_their_defaults_are_those_of_the_public_call():
    parameters = inspect.signature(CoreBpbCallback).parameters.values()
    assert {parameter.name: parameter.default for parameter in parameters} == {
        "texts": None, "bpb_every": None, "core_every": None, "core_limit": "auto", "core_precision": None,
        "suite": "core-11", "tasks": None, "source": "hub", "bundle": None, "convention": "matmul",
        "law": "besiroglu-2024", "target_ratio": None, "stop_at_target": False, "device_flops": None,
        "tokenizer": None, "max_length": None, "batch_tokens": None,
    }  # fmt: skip
    assert [parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY] == ["texts"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": "a text"}, "`texts`: expected a list of one or more documents, got a single string"),
        ({"texts": []}, "`texts`: expected a list of one or more documents, got no text"),
        ({"bpb_every": 0}, "`bpb_every`: expected a whole number of steps, 1 or more, got 0"),
        ({"core_every": 2.5}, "`core_every`: expected a whole number of steps, 1 or more, got 2.5"),
        ({"target_ratio": -1}, "`target_ratio`: expected a number above 0, got -1"),
        ({"device_flops": 0}, "`device_flops`: expected a number above 0, got 0"),
        ({"convention": "all"}, "`convention`: expected one of total, non_embedding, matmul, active, got 'all'"),
        ({"law": "mine"}, "expected one of besiroglu-2024"),
        ({"stop_at_target": True}, "`stop_at_target`: expected `target_ratio` with it, got none"),
        ({"core_precision": 0.1}, "`core_precision`: expected `core_every` with it, got none"),
        ({"core_every": 5, "core_limit": 0}, "`core_limit`: expected a whole number of items per task"),
        ({"core_every": 5, "core_precision": 2}, "`core_precision`: expected a half-width above 0 and below 1, got 2"),
        ({"core_every": 5, "source": "web"}, "`source`: expected one of hub, bundle, demo, got 'web'"),
        ({"core_every": 5, "tasks": ["nope"]}, "nope"),
    ],
)
def test_values_that_do_not_fit_are_rejected(options, message):
    with pytest.raises(InputError) as caught:
        CoreBpbCallback(**options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({}, 50),
        ({"core_limit": 7}, 7),
        ({"core_limit": None}, None),
        ({"core_precision": 0.1}, None),
        ({"core_limit": 7, "core_precision": 0.1}, 7),
    ],
)
def test_the_automatic_limit_of_core_is_50_items_per_task_unless_a_precision_chooses_them(options, limit):
    assert CoreBpbCallback(core_every=5, source="demo", **options).settings.core_options().limit == limit
