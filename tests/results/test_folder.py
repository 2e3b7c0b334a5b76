"""The output folder: whole files under safe names, and nothing of anyone else's overwritten."""

import json

import pytest

from hf_core_bpb.errors import InputError
from hf_core_bpb.results.folder import RunFolder, check_names


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "out", overwrite=False)


def sample_names(folder):
    return sorted(path.name for path in (folder.path / "samples").iterdir())


def test_results_and_samples_are_written_under_file_names(folder):
    folder.write({"core": 0.5}, {"arc_easy": [{"index": 0}], "bpb-a/b:c d": [{"index": 0}, {"index": 1}]})
    assert json.loads((folder.path / "results.json").read_text()) == {"core": 0.5}
    assert sample_names(folder) == ["arc_easy.jsonl", "bpb-a_b_c_d-757a1057.jsonl"]
    written = (folder.path / "samples" / "bpb-a_b_c_d-757a1057.jsonl").read_text()
    assert written == '{"index": 0}\n{"index": 1}\n'


def test_samples_of_an_earlier_run_are_removed(folder):
    folder.write({}, {"old": []})
    folder.write({}, {"new": []})
    assert sample_names(folder) == ["new.jsonl"]


def test_names_that_are_alike_once_shortened_get_files_of_their_own(folder):
    names = ["bpb-d/x.txt", "bpb-d_x.txt", "bpb-" + "x" * 300]
    folder.write({}, {name: [{"index": i}] for i, name in enumerate(names)})
    assert len(sample_names(folder)) == 3


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_is_rejected(tmp_path, overwrite):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "mine.jsonl").write_text("precious")
    with pytest.raises(InputError, match="expected a new or empty folder, or that of an earlier run"):
        RunFolder(tmp_path, overwrite).check()


def test_results_are_replaced_only_on_request(folder):
    folder.write({}, {})
    with pytest.raises(InputError, match="holds results; choose another folder, or set `overwrite`"):
        folder.check()
    RunFolder(folder.path, overwrite=True).check()


def test_a_folder_that_does_not_exist_yet_is_accepted(tmp_path):
    RunFolder(tmp_path / "new" / "deep", overwrite=False).check()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_as_output_is_rejected(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a writable folder"):
        RunFolder(tmp_path / name, overwrite=True).check()


@pytest.mark.parametrize("name", ["_surprising", "bpb-a.jsonl"])
def test_tasks_with_the_name_of_other_samples_are_rejected(name):
    with pytest.raises(InputError, match=f"expected a name other than _surprising and bpb-..., got '{name}'"):
        check_names(["piqa", name])
