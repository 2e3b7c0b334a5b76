"""Rows and text read by the Hub's clients and from files, and the errors for what is missing."""

import dataclasses
import json

import pytest

from hf_core_bpb.data.hub import load_hub_task
from hf_core_bpb.data.task_files import list_tasks, suite_tasks
from hf_core_bpb.errors import InputError
from hf_core_bpb.evaluation.options import TextOptions
from hf_core_bpb.evaluation.resolve import read_text, resolve_texts

TASKS = {task.name: task for task in list_tasks()}


def task_with(name, **changes):
    """Return a task with fields of its dataset changed."""
    task = TASKS[name]
    return dataclasses.replace(task, dataset=dataclasses.replace(task.dataset, **changes))


@pytest.mark.parametrize(
    ("requested", "revision"), [(TASKS["boolq"].dataset.revision,) * 2, ("earlier", "6" * 40), (None, "5" * 40)]
)
def test_rows_of_the_hub_come_with_their_commit(hub, requested, revision):
    assert load_hub_task(task_with("boolq", revision=requested)).revision == revision


@pytest.fixture
def read_then_go_offline(hub, monkeypatch, tmp_path):
    """Return a function that reads revisions of boolq into an empty cache and then puts the Hub out of reach."""
    import datasets

    def read(*revisions):
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
        for revision in revisions:
            load_hub_task(task_with("boolq", revision=revision))
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    return read


def test_a_pinned_commit_is_read_offline_though_the_cache_has_a_later_one(read_then_go_offline):
    read_then_go_offline("5" * 40, "6" * 40)
    assert load_hub_task(task_with("boolq", revision="5" * 40)).revision == "5" * 40


def test_a_pinned_commit_that_the_cache_lacks_is_missed_in_a_warning_offline(read_then_go_offline):
    read_then_go_offline("6" * 40)
    with pytest.warns(match=f"cannot be reached, and the cache has revision {'6' * 40}, not {'5' * 40}"):
        data = load_hub_task(task_with("boolq", revision="5" * 40))
    assert data.revision == "6" * 40


def test_rows_of_the_hub_become_examples(hub):
    data = load_hub_task(TASKS["boolq"])
    assert len(data.examples) == 6
    assert data.examples[0].contexts[0].endswith("\nQuestion: is a tuple in python mutable?")
    assert data.examples[0].gold_continuation == "no"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "nobody/nothing"}, "expected a dataset on the Hub, got no 'nobody/nothing' at revision 210d026"),
        ({"config": "ARC-Hard"}, "BuilderConfig 'ARC-Hard' not found. Available: ['ARC-"),
        ({"split": "nope"}, "Unknown split \"nope\". Should be one of ['test']"),
        ({"revision": "nope"}, "got no 'allenai/ai2_arc' at revision nope: "),
    ],
)
def test_a_missing_dataset_config_split_or_revision_is_named_with_the_task_file(hub, changes, message):
    with pytest.raises(InputError) as caught:
        load_hub_task(task_with("arc_easy", **changes))
    assert message in str(caught.value)
    assert str(caught.value).startswith(TASKS["arc_easy"].origin)


def test_a_few_shot_split_without_the_matched_column_is_rejected(hub):
    task = TASKS["mmlu"]
    task = dataclasses.replace(task, fewshot=dataclasses.replace(task.fewshot, match="topic"))
    with pytest.raises(InputError, match=r"fewshot.match: expected a column of the dataset \(question, .*got 'topic'"):
        load_hub_task(task)


def test_a_dataset_request_that_fails_with_503_is_retried(hub):
    folder = hub.root / "datasets" / "flaky" / "rows"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text('{"text": "one and two"}\n')
    hub.failures = 3
    source = read_text("flaky/rows:default:test:text")
    assert hub.failures == 0
    assert [document.text for document in source.documents] == ["one and two"]


def test_a_text_file_keeps_its_byte_order_mark_and_newlines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\ntwo\rthree\n".encode())
    (document,) = read_text(str(path)).documents
    assert document.text == "\ufeffone\r\ntwo\rthree\n"


@pytest.fixture
def jsonl_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one", "body": "eins"}\n\n{"text": "", "body": "zwei"}\n')
    return path


@pytest.mark.parametrize(("suffix", "texts"), [("", ["one"]), (":body", ["eins", "zwei"])])
def test_a_line_of_a_jsonl_file_is_a_document_unless_its_column_is_empty(jsonl_file, suffix, texts):
    assert [document.text for document in read_text(f"{jsonl_file}{suffix}").documents] == texts


def test_a_missing_column_of_a_jsonl_file_is_rejected(jsonl_file):
    with pytest.raises(InputError, match="line 1: expected a column 'title', got text, body"):
        read_text(f"{jsonl_file}:title")


def test_a_dataset_column_leaves_out_empty_rows(hub):
    source = read_text("EleutherAI/wikitext_document_level:wikitext-2-raw-v1:test:page")
    assert [d.text for d in source.documents] == ["The river ran to the sea.", "Ärger, 海 und 🌊."]
    assert source.revision == "EleutherAI/wikitext_document_level:wikitext-2-raw-v1:test:page@" + "5" * 40


def test_a_missing_column_of_a_dataset_is_rejected(hub):
    with pytest.raises(InputError, match="expected a column of page, got 'text'"):
        read_text("EleutherAI/wikitext_document_level:wikitext-2-raw-v1:test:text")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ok \xff\xfe", "line 1: expected UTF-8, got byte 0xff at 3"),
        (b"a\nb\n\xe6\xb5", "line 3: expected UTF-8, got byte 0xe6 at 4"),
        (b"", "expected text, got an empty file"),
    ],
)
def test_a_file_that_is_empty_or_not_utf_8_is_rejected(tmp_path, content, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_text(str(path))


@pytest.mark.parametrize("name", ["missing.txt", "a:b:c", "owner/name::test:text"])
def test_a_text_that_is_neither_file_nor_dataset_is_rejected(name):
    with pytest.raises(InputError, match=r"`text`: no such file: .*; expected a file, FILE\.jsonl"):
        read_text(name)


def test_held_out_topics_of_the_demo_share_no_paragraph_with_training():
    from hf_core_bpb.data.demo import read_topics, split_topics

    training, validation = split_topics(read_topics())
    paragraphs = {p for text in training for p in text.split("\n\n")}
    assert not paragraphs & {p for text in validation for p in text.split("\n\n")}
    assert [d.text for d in resolve_texts(TextOptions(source="demo"))[0].documents] == validation


def test_demo_rows_have_the_columns_of_the_hub(package, shared):
    """The demo's rows replace the Hub's, so they need the same columns and types."""
    import pyarrow.parquet as parquet

    for task in suite_tasks(list_tasks(), "core-11"):
        path, split = task.dataset.path, task.dataset.split
        (file,) = (package / "demo" / "rows" / path / (task.dataset.config or "data")).glob(f"{split}.jsonl")
        (real,) = (shared / "hub" / "datasets" / path).rglob(f"{task.dataset.config or 'data'}/{split}-*.parquet")
        demo_row = json.loads(file.read_text().splitlines()[0])
        real_row = parquet.read_table(real).slice(0, 1).to_pylist()[0]
        assert {k: type(v) for k, v in demo_row.items()} == {k: type(v) for k, v in real_row.items()}, task.name
