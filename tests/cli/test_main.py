"""What the command line refuses before anything is imported, and what importing costs."""

import subprocess
import sys

import pytest

from hf_core_bpb.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--eval", "speed"], "--eval: expected core, bpb or both, got 'speed'"),
        (["--eval", ","], "--eval: expected core, bpb or both, got ','"),
        (["--batch-tokens", "0"], "--batch-tokens: expected auto or a whole number, 1 or more, got '0'"),
        (["--batch-tokens", "many"], "--batch-tokens: expected auto or a whole number, 1 or more, got 'many'"),
    ],
)
def test_options_are_checked_in_words(capsys, arguments, message):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"hf-core-bpb: error: {message}\n"


def test_unknown_options_and_words_are_refused_by_the_parser(capsys):
    for arguments in (["--no-such-option"], ["evaluate"], ["--limit", "x"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
    assert "invalid int value: 'x'" in capsys.readouterr().err


def test_tasks_lists_every_task_file(capsys):
    from hf_core_bpb.data.task_files import list_tasks

    assert main(["tasks"]) == 0
    printed = capsys.readouterr().out
    for task in list_tasks():
        assert f"│ {task.name} " in printed
    assert main(["tasks", "coqa"]) == 0
    assert "dataset: EleutherAI/coqa" in capsys.readouterr().out


def test_tasks_shows_one_with_a_rendered_prompt(capsys):
    assert main(["tasks", "winogrande"]) == 0
    printed = capsys.readouterr().out
    assert "dataset: allenai/winogrande, config winogrande_xl, split validation, revision 01e74176" in printed
    assert "The trophy did not fit into the bag because the trophy was too large." in printed
    assert main(["tasks", "nope"]) == 2


LOADED = (
    "import sys; heavy = {'torch', 'transformers', 'datasets', 'accelerate'} & set(sys.modules); print(sorted(heavy))"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import hf_core_bpb", "[]"),
        ("import hf_core_bpb.cli.evaluate; hf_core_bpb.cli.evaluate.build_parser().format_help()", "[]"),
        ("import hf_core_bpb.data.task_files; hf_core_bpb.data.task_files.list_tasks()", "[]"),
        ("import hf_core_bpb; hf_core_bpb.bits_per_byte", "['accelerate', 'datasets', 'torch']"),
    ],
)
def test_importing_and_help_load_nothing_heavy(code, loaded, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-c", f"{code}\n{LOADED}"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert finished.stdout.strip() in (loaded, loaded.replace("'datasets', ", ""))


@pytest.mark.slow
def test_help_names_every_option(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-m", "hf_core_bpb", "--help"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    for option in ("--model", "--suite", "--tasks", "--source", "--bundle", "--protocol", "--limit", "--text"):
        assert option in finished.stdout
