"""HellaSwag's section marks: removed as the published regular expression removes them, in linear time."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_core_bpb.data.section_marks import without_section_marks


@given(st.text(alphabet="[]ab \n[]", max_size=40))
def test_section_marks_are_those_of_the_published_expression(text):
    expected = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")
    assert without_section_marks(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("[" * 1_000_000, "[" * 1_000_000), ("[a]" * 300_000, "")])
def test_many_section_marks_take_linear_time(text, expected):
    begin = time.process_time()
    assert without_section_marks(text) == expected
    assert time.process_time() - begin < 5
