"""Options and input that the command rejects with one line on stderr and exit code 2."""

import pytest

from hf_core_bpb.cli.main import main

INVALID = pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--model", "nobody/none"],
            "--model: expected a causal language model at 'nobody/none', got: nobody/none is not a local folder",
        ),
        (["--model", "./none"], "--model: no such folder: './none'"),
        (["--model", "../a/b"], "--model: no such folder: '../a/b'"),
        (["--model", "."], "--model: no config.json in the folder '.'"),
        (["--model", __file__], f"--model: expected a folder or an id on the Hub, got the file '{__file__}'"),
        (["--tasks", "nope"], "--tasks: expected names, separated by commas, or paths of .toml files, got 'nope'; the"),
        (["--text", "missing.txt"], "--text: no such file: 'missing.txt'; expected a file, FILE.jsonl"),
        (["--max-length", "2048"], "--max-length: expected at most the model's 1024 positions, got 2048"),
    ],
)


@pytest.fixture
def rejected(hub, tmp_path, monkeypatch, capsys, arguments):
    """The exit code, stdout and stderr of the command with these arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    code = main([*arguments, "--output", "out"])
    return code, *capsys.readouterr()


@INVALID
def test_invalid_input_exits_with_2(rejected, message):
    assert rejected[0] == 2


@INVALID
def test_invalid_input_prints_no_results(rejected, message):
    assert rejected[1] == ""


@INVALID
def test_invalid_input_ends_in_one_line_on_stderr(rejected, message):
    assert rejected[2].splitlines()[-1].startswith(f"hf-core-bpb: error: {message}")


@INVALID
def test_invalid_input_prints_no_traceback(rejected, message):
    assert "Traceback" not in rejected[2]


@INVALID
def test_invalid_input_leaves_no_output_folder(rejected, tmp_path, message):
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--eval", "core", "--text", "a.txt"], "--text: expected --eval to contain bpb, got --eval core"),
        (["--eval", "core", "--stride", "3"], "--stride: expected --eval to contain bpb, got --eval core"),
        (["--eval", "core", "--documents", "alone"], "--documents: expected --eval to contain bpb, got --eval core"),
        (["--eval", "bpb", "--limit", "3"], "--limit: expected --eval to contain core, got --eval bpb"),
        (["--eval", "bpb", "--suite", "core-11"], "--suite: expected --eval to contain core, got --eval bpb"),
        (["--eval", "bpb", "--protocol", "dclm"], "--protocol: expected --eval to contain core, got --eval bpb"),
        (["--suite", "core-11", "--tasks", "piqa"], "--suite: expected a suite or --tasks, got both"),
        (["--revision", "main"], "--revision: expected --model with it, got none"),
    ],
)
def test_options_without_effect_are_rejected(capsys, arguments, message):
    assert (main(arguments), capsys.readouterr().err) == (2, f"hf-core-bpb: error: {message}\n")
