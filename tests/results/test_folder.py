import json

import pytest

from hf_core_bpb.errors import InputError
from hf_core_bpb.results.folder import check_names, check_output, write_results


def test_results_and_samples_are_written_whole_under_file_names(tmp_path):
    folder = tmp_path / "out"
    write_results(folder, {"core": 0.5}, {"arc_easy": [{"index": 0}], "bpb-a/b:c d": [{"index": 0}, {"index": 1}]})
    assert json.loads((folder / "results.json").read_text()) == {"core": 0.5}
    names = sorted(path.name for path in (folder / "samples").iterdir())
    assert names == ["arc_easy.jsonl", "bpb-a_b_c_d-757a1057.jsonl"]
    assert (folder / "samples" / names[1]).read_text() == '{"index": 0}\n{"index": 1}\n'


def test_samples_of_an_earlier_run_do_not_stay(tmp_path):
    write_results(tmp_path, {}, {"old": []})
    write_results(tmp_path, {}, {"new": []})
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["new.jsonl"]


def test_names_that_would_fall_together_or_are_too_long_keep_apart(tmp_path):
    names = ["bpb-d/x.txt", "bpb-d_x.txt", "bpb-" + "x" * 300]
    write_results(tmp_path, {}, {name: [{"index": i}] for i, name in enumerate(names)})
    assert len(list((tmp_path / "samples").iterdir())) == 3


def test_a_folder_with_anything_of_another_s_is_refused(tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "mine.jsonl").write_text("kept")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="expected a new or empty folder, or one of an earlier run"):
            check_output(tmp_path, overwrite)


def test_results_are_not_lost_unless_asked(tmp_path):
    write_results(tmp_path, {}, {})
    with pytest.raises(InputError, match="expected a folder without results"):
        check_output(tmp_path, overwrite=False)
    check_output(tmp_path, overwrite=True)
    check_output(tmp_path / "new" / "deep", overwrite=False)


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="expected a folder that can be written"):
            check_output(place, overwrite=True)


@pytest.mark.parametrize("name", ["_surprising", "bpb-a.jsonl"])
def test_tasks_whose_samples_would_lie_where_others_do_are_refused(name):
    with pytest.raises(InputError, match=f"expected a name other than _surprising and bpb-..., got '{name}'"):
        check_names(["piqa", name])
