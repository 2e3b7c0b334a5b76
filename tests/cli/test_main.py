"""The parser, the tasks command, and the imports of the command line."""

import subprocess
import sys

import pytest
import torch

from hf_core_bpb.cli import run_evaluation
from hf_core_bpb.cli.main import main
from hf_core_bpb.data.task_files import list_tasks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--eval", "speed"], "--eval: expected core, bpb or core,bpb, got 'speed'"),
        (["--eval", ","], "--eval: expected core, bpb or core,bpb, got ','"),
        (["--batch-tokens", "0"], "--batch-tokens: expected auto or a whole number, 1 or more, got '0'"),
        (["--batch-tokens", "many"], "--batch-tokens: expected auto or a whole number, 1 or more, got 'many'"),
    ],
)
def test_an_invalid_option_value_is_one_line_of_error(capsys, arguments, message):
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"hf-core-bpb: error: {message}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["evaluate"], "unrecognized arguments: evaluate"),
        (["--limit", "x"], "invalid int value: 'x'"),
    ],
)
def test_the_parser_rejects_unknown_arguments_and_wrong_types(capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_tasks_lists_every_task_file(capsys):
    assert main(["tasks"]) == 0
    printed = capsys.readouterr().out
    for task in list_tasks():
        assert f"│ {task.name} " in printed


def test_tasks_shows_the_dataset_of_a_task_without_demo_rows(capsys):
    assert main(["tasks", "coqa"]) == 0
    assert "dataset: EleutherAI/coqa" in capsys.readouterr().out


def test_tasks_shows_a_task_with_a_rendered_prompt(capsys):
    assert main(["tasks", "winogrande"]) == 0
    printed = capsys.readouterr().out
    assert "dataset: allenai/winogrande, config winogrande_xl, split validation, revision 01e74176" in printed
    assert "The trophy did not fit into the bag because the trophy was too large." in printed


def test_tasks_rejects_an_unknown_task(capsys):
    assert main(["tasks", "nope"]) == 2
    assert "got 'nope'" in capsys.readouterr().err


PRINT_HEAVY_MODULES = (
    "import sys; heavy = {'torch', 'transformers', 'datasets', 'accelerate'} & set(sys.modules); print(sorted(heavy))"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "heavy_modules"),
    [
        ("import hf_core_bpb", "[]"),
        ("import hf_core_bpb.cli.main", "[]"),
        ("import hf_core_bpb.cli.evaluate; hf_core_bpb.cli.evaluate.build_parser().format_help()", "[]"),
        ("import hf_core_bpb.data.task_files; hf_core_bpb.data.task_files.list_tasks()", "[]"),
        ("import hf_core_bpb; hf_core_bpb.bits_per_byte", "['accelerate', 'datasets', 'torch']"),
    ],
)
def test_heavy_modules_are_imported_only_when_needed(code, heavy_modules, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-c", f"{code}\n{PRINT_HEAVY_MODULES}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert finished.stdout.strip() in (heavy_modules, heavy_modules.replace("'datasets', ", ""))


@pytest.mark.slow
def test_help_names_the_main_options(tmp_path):
    finished = subprocess.run(
        [sys.executable, "-m", "hf_core_bpb", "--help"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    for option in ("--model", "--suite", "--tasks", "--source", "--bundle", "--protocol", "--limit", "--text"):
        assert option in finished.stdout


def test_float32_weights_on_a_gpu_are_reported_as_slow(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_evaluation, "device_of", lambda _model: torch.device("cuda"))
    arguments = ["--eval", "core", "--tasks", "sciq", "--limit", "1"]
    assert main([*arguments, "--output", str(tmp_path / "a")]) == 0
    assert capsys.readouterr().err.count("With --dtype bfloat16 this device is several times faster.") == 1
    assert main([*arguments, "--dtype", "float32", "--output", str(tmp_path / "b")]) == 0
    assert "several times faster" not in capsys.readouterr().err
