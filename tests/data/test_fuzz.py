"""A short run of `make fuzz`: arbitrary bytes and bytes that resemble valid input."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fuzz import TARGETS

# The parts of valid inputs, separated by spaces; \t stands for a space within a part.
WORDS = {
    "task_file": "name kind = 'mine' [prompt] \n random_baseline {v1=0.2} '{{x}}' 3 [ ]",
    "template": "{{ }} {% %} for in if endfor endif text options n | join . replace ( ) * ~ [ ] 'a' 9 __class__ range",
    "expression": "text options n | list . index ( ) [ ] : ~ 'a' 9 * + range",
    "rows": '{ } "goal" "sol1" "sol2" "label" : , "x" 1 null \n [ ] NaN',
    "bundle": "icl_tasks: \n -\t label:\ta dataset_uri:\tb num_fewshot:\t[1] icl_task_type:\tschema \0 "
    "Eval\tTask,Random\tbaseline a,20 &a *a !!python/object { [",
    "journal": '00000000\t { } "sums" : \n "stage" [ ] 1 "batch_tokens"',
    "card": "--- \n model-index: -\tname:\ta results:\t [] : { &a *a",
    "number": "1 e - . , B k _ inf nan",
}


@pytest.mark.parametrize("name", TARGETS)
def test_arbitrary_bytes_give_a_value_or_an_input_error(name):
    words = [word.replace("\t", " ") for word in WORDS.get(name, "").split(" ")]
    plausible = st.lists(st.sampled_from(words), max_size=30).map(lambda parts: "".join(parts).encode())
    # Deeper than Python's limit of 1,000 nested calls. PyYAML takes time with the square of the depth.
    repeated = st.builds(
        lambda word, count, rest: (word * count).encode() + rest,
        st.sampled_from(words), st.integers(100, 1_200), plausible,
    )  # fmt: skip
    inputs = st.one_of(st.binary(max_size=200), plausible, repeated) if name in WORDS else st.binary(max_size=60)

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
    @given(inputs)
    def check(data):
        TARGETS[name](data)

    check()
