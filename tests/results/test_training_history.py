"""Tokens and FLOPs of a model's training: from what a Trainer left, or as the user says."""

import json

import pytest
from support.trainers import TEXTS, make_trainer

from hf_core_bpb import CoreBpbCallback
from hf_core_bpb.cli.main import main
from hf_core_bpb.results.training_history import Trained, find_trained
from hf_core_bpb.scaling.parameters import ParameterCounts

PARAMETERS = ParameterCounts(total=100, non_embedding=70, matmul=80, active=100)


def write_state(folder, history):
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    return folder


def test_what_the_user_says_goes_before_what_is_found(tmp_path):
    write_state(tmp_path, [{"scale/target_tokens": 5, "scale/flops": 7.0}])
    assert find_trained(tmp_path, 1000.0, PARAMETERS) == Trained(1000.0, 6 * 80 * 1000.0, "trained_on")


def test_the_last_counts_that_were_logged_are_taken(tmp_path):
    history = [{"scale/target_tokens": 5, "scale/flops": 7.0}, {"scale/target_tokens": 9, "scale/flops": 11.0}]
    found = find_trained(write_state(tmp_path, [*history, {"eval_loss": 1.0}]), None, PARAMETERS)
    assert found == Trained(9, 11.0, "trainer_state.json")
    # FLOPs that could not be counted are 6 N D.
    for unknown in (
        {},
        {"scale/flops": float("nan")},
        {"scale/flops": 0},
        {"scale/flops": float("inf")},
        {"scale/flops": "many"},
    ):
        state = write_state(tmp_path, [{"scale/target_tokens": 9} | unknown])
        assert find_trained(state, None, PARAMETERS).flops == 6 * 80 * 9


def test_training_is_unknown_without_a_valid_state_file(tmp_path):
    assert find_trained(tmp_path, None, PARAMETERS) is None
    for text in ("{", "[]", '{"log_history": 3}', '{"log_history": [3]}', '{"log_history": [{"loss": 1}]}', "\udcff"):
        (tmp_path / "trainer_state.json").write_bytes(text.encode(errors="surrogateescape"))
        assert find_trained(tmp_path, None, PARAMETERS) is None
    for tokens in (float("nan"), float("inf"), 0, "many", None):
        assert find_trained(write_state(tmp_path, [{"scale/target_tokens": tokens}]), None, PARAMETERS) is None


@pytest.mark.slow
def test_a_checkpoint_of_a_training_with_the_callback_carries_its_tokens_into_the_results(tokenizer, tmp_path):
    trainer = make_trainer(
        tmp_path, tokenizer, CoreBpbCallback(TEXTS, bpb_every=2), save_strategy="steps", save_steps=4
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "scale/target_tokens" in entry][-1]
    checkpoint = tmp_path / "out" / "checkpoint-4"
    arguments = ["--model", str(checkpoint), "--eval", "core", "--source", "demo", "--tasks", "piqa", "--quiet"]
    assert main([*arguments, "--max-length", "128", "--output", str(tmp_path / "run")]) == 0
    found = json.loads((tmp_path / "run" / "results.json").read_text())["model"]["trained"]
    assert found["tokens"] == logged["scale/target_tokens"]
    assert found["flops"] == pytest.approx(logged["scale/flops"])


@pytest.mark.parametrize(
    ("given", "message"),
    [("0", "above 0 and below 1e+18, got 0"), ("1e300", "got 1e+300"), ("many", "expected a number such as")],
)
def test_invalid_training_tokens_are_rejected(capsys, given, message):
    assert main(["--trained-on", given]) == 2
    assert message in capsys.readouterr().err
