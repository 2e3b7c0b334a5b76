"""What a run writes has the formats that docs/*.schema.json describe, to the last key."""

import copy
import json

import pytest
from jsonschema import Draft202012Validator

from hf_core_bpb.cli.main import main

TASK_WITH_CATEGORIES = """
name = "sorted"
kind = "multiple_choice"
num_fewshot = 1
delimiter = "\\nAnswer: "
random_baseline = 0.25
suites = []
license = "CC0-1.0"
citation = "nobody"
[dataset]
path = "allenai/ai2_arc"
config = "ARC-Easy"
split = "test"
[prompt]
context = '{{ question }}'
choices = 'choices.text'
gold = 'choices.label.index(answerKey)'
category = '{{ answerKey }}'
"""
# Their keys are names that a user chooses.
MAPS = {("core", "tasks"), ("bpb",), ("core", "tasks", "sorted", "accuracy_by_category")}
OPTIONAL = {
    ("model", "trained"), ("core", "sample"), ("core", "tasks", "sorted", "accuracy_by_category"),
    # One of the two is enough.
    ("core",), ("bpb",),
}  # fmt: skip


@pytest.fixture(scope="module")
def schemas(pytestconfig):
    docs = pytestconfig.rootpath / "docs"
    return {name: json.loads((docs / f"{name}.schema.json").read_text()) for name in ("results", "samples")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of the demo model that writes every key there is."""
    place = tmp_path_factory.mktemp("run")
    (place / "sorted.toml").write_text(TASK_WITH_CATEGORIES)
    (place / "text.jsonl").write_text('{"text": "The river ran to the sea."}\n{"text": "It is a page."}\n')
    (place / "ids.jsonl").write_text('{"text": [5, 6, 7]}\n')
    arguments = [
        "--source", "demo", "--tasks", f"piqa,squad,winogrande,{place / 'sorted.toml'}", "--protocol", "dclm",
        "--precision", "0.5", "--text", str(place / "text.jsonl"), "--text", str(place / "ids.jsonl"),
        "--trained-on", "1B", "--max-length", "512", "--batch-tokens", "2048",
    ]  # fmt: skip
    assert main([*arguments, "--output", str(place / "out"), "--quiet"]) == 0
    return place / "out"


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def validator(schema, definition=None):
    if definition is not None:
        schema = {"$ref": f"#/$defs/{definition}", "$defs": schema["$defs"]}
    return Draft202012Validator(schema)


def key_paths(value, path=()):
    if isinstance(value, dict):
        for key in value:
            yield (*path, key)
            yield from key_paths(value[key], (*path, key))


def without(values, path, new_name=None):
    changed = copy.deepcopy(values)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    value = inner.pop(path[-1])
    if new_name is not None:
        inner[new_name] = value
    return changed


@pytest.mark.parametrize("name", ["results", "samples"])
def test_the_schemas_are_schemas(schemas, name):
    Draft202012Validator.check_schema(schemas[name])


def test_results_json_has_its_format(schemas, results):
    validator(schemas["results"]).validate(results)


def test_the_run_has_every_key_of_the_format(schemas, results):
    """So that what the other tests validate is the whole format."""
    written = {path[-1] for path in key_paths(results)}
    described = set()

    def describe(schema):
        described.update(schema.get("properties", {}))
        for inner in [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]:
            describe(inner)

    describe(schemas["results"])
    assert described <= written


def test_a_removed_key_is_noticed(schemas, results):
    check = validator(schemas["results"])
    for path in key_paths(results):
        if path not in OPTIONAL and path[:-1] not in MAPS:
            assert not check.is_valid(without(results, path)), path


def test_a_renamed_key_is_noticed(schemas, results):
    check = validator(schemas["results"])
    for path in key_paths(results):
        if path[:-1] not in MAPS:
            assert not check.is_valid(without(results, path, f"{path[-1]}_")), path


def test_items_have_their_format(schemas, folder):
    check = validator(schemas["samples"], "item")
    for name in ("piqa", "squad", "winogrande", "sorted"):
        for row in rows(folder / "samples" / f"{name}.jsonl"):
            check.validate(row)
    assert "category" in row


def test_documents_have_their_format(schemas, folder):
    check = validator(schemas["samples"], "document")
    paths = sorted((folder / "samples").glob("bpb-*.jsonl"))
    found = [row for path in paths for row in rows(path)]
    for row in found:
        check.validate(row)
    assert len(found) == 3
    assert {"packed" in row for row in found} == {True, False}


def test_surprising_rows_have_their_formats(schemas, folder):
    found = rows(folder / "samples" / "_surprising.jsonl")
    for row in found:
        validator(schemas["samples"], "surprising_item" if "task" in row else "surprising_document").validate(row)
    assert {"task" in row for row in found} == {True, False}
    assert any("longest_prompt_tokens" in row for row in found)


def test_every_line_is_of_exactly_one_format(schemas, folder):
    check = validator(schemas["samples"])
    for path in (folder / "samples").glob("*.jsonl"):
        for row in rows(path):
            check.validate(row)


def test_a_removed_or_renamed_key_of_a_line_is_noticed(schemas, folder):
    check = validator(schemas["samples"])
    for path in (folder / "samples").glob("*.jsonl"):
        row = rows(path)[-1]
        for key in row:
            assert not check.is_valid(without(row, (key,), f"{key}_")), (path.name, key)
            if key not in ("category", "packed", "longest_prompt_tokens"):
                assert not check.is_valid(without(row, (key,))), (path.name, key)
