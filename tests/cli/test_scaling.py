"""The scaling commands: what they print, write and reject."""

import json
import re
import struct

import numpy as np
import pytest
from support.scaling_runs import TRUTH, make_runs

from hf_core_bpb.cli.main import main


def write_runs(path, runs, columns="parameters,tokens,loss"):
    path.write_text(columns + "\n" + "".join(f"{r.parameters},{r.tokens},{r.loss}\n" for r in runs))
    return str(path)


def test_a_plan_prints_the_recommended_rules_and_training_arguments(capsys):
    assert main(["scaling", "plan", "--params", "1e9", "--ratio", "20", "--tokens-per-step", "1000000"]) == 0
    printed = capsys.readouterr().out
    assert "│ nanochat       │ matmul   │ 1.2e+20 │ 1B │ 20B │ 20.0 │" in printed
    assert "│ besiroglu-2024 │ total    │ 1.2e+20 │ 1B │ 20B │ 20.0 │   0.2% │" in printed
    assert "hoffmann-2022" not in printed
    assert "max_steps=20000," in printed
    assert "lr_scheduler_type='warmup_stable_decay'," in printed
    assert "extrapolation" not in printed


def test_a_plan_outside_the_fitted_budgets_warns_of_extrapolation(capsys):
    assert main(["scaling", "plan", "--flops", "1e25", "--law", "besiroglu-2024"]) == 0
    assert "this is an extrapolation" in capsys.readouterr().out


def test_a_plan_with_repeated_tokens_prints_their_value_in_unique_tokens(capsys):
    assert main(["scaling", "plan", "--tokens", "4e9", "--unique-tokens", "1e9"]) == 0
    # Four epochs: 1 + 15.387756 * (1 - e^(-3 / 15.387756)) = 3.73.
    assert "4B tokens that repeat 1B unique ones are worth 3.73B unique tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["plan"],
            "plan: expected flops, parameters or tokens, or two of flops, parameters, tokens and ratio; got none",
        ),
        (["plan", "--flops", "-1"], "flops: expected a number above 0 and below 1e40, got -1.0"),
        (["plan", "--flops", "1e300"], "flops: expected a number above 0 and below 1e40, got 1e+300"),
        (["plan", "--flops", "1e20", "--unique-tokens", "0"], "unique_tokens: expected a number above 0, got 0.0"),
        (["plan", "--flops", "1e20", "--law", "unknown"], "--law: expected one of besiroglu-2024, hoffmann-2022"),
        (["plan", "--flops", "1e20", "--tokens-per-step", "0"], "--tokens-per-step: expected 1 or more, got 0"),
        (["fit", "absent.csv"], "no such file: absent.csv"),
        (["forecast", "absent.csv", "--final-step", "9"], "no such file: absent.csv"),
    ],
)
def test_invalid_input_is_one_line_of_error_and_no_output(capsys, arguments, message):
    assert main(["scaling", *arguments]) == 2
    printed, error = capsys.readouterr()
    assert printed == ""
    assert error.startswith("hf-core-bpb: error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected columns parameters, tokens or flops, loss or bpb; got no rows"),
        ("size,loss\n1,2\n", "got loss, size"),
        ("parameters,tokens,loss\n1e9,x,2\n", "line 2: expected a number above 0 in column tokens, got 'x'"),
        (
            "parameters,tokens,loss\n1e9,1e9,2\n1e9,-3,2\n",
            "line 3: expected a number above 0 in column tokens, got '-3'",
        ),
        ("parameters,tokens,loss\n1e9,1e9,2\n", "runs: expected 6 or more, got 1"),
    ],
)
def test_invalid_runs_are_rejected_with_line_and_column(capsys, tmp_path, text, message):
    (tmp_path / "runs.csv").write_text(text)
    assert main(["scaling", "fit", str(tmp_path / "runs.csv")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_fit_is_printed_and_written_with_its_recipe_and_plots(capsys, tmp_path):
    runs = write_runs(tmp_path / "runs.csv", make_runs(0.001))
    options = ["--json", str(tmp_path / "fit.json"), "--plots", str(tmp_path / "plots"), "--bootstraps", "10"]
    assert main(["scaling", "fit", runs, *options, "--flops", "1e20"]) == 0
    printed = capsys.readouterr().out
    recipe = "objective:sum-huber(0.001)-log-loss|runs:45|dropped:highest:0|repeated:no|bootstraps:10|seed:1234"
    assert recipe in printed
    assert "IsoFLOP curves: N* ~ C^0.5" in printed
    assert re.search(r"it misses the law's N\* by [+-]\d\.\d% to [+-]\d\.\d%\.", printed)
    values = json.loads((tmp_path / "fit.json").read_text())
    assert recipe in values["recipe"]
    fitted = values["parametric"]["coefficients"]
    assert fitted["alpha"] == pytest.approx(TRUTH.alpha, rel=0.05)
    assert fitted["exponent"] == pytest.approx(fitted["beta"] / (fitted["alpha"] + fitted["beta"]))
    (best,) = values["parametric"]["optima"]
    assert best["parameters"] == pytest.approx(TRUTH.optimal_parameters(1e20), rel=0.05)
    assert values["core"] is None
    plots = sorted((tmp_path / "plots").iterdir())
    assert [path.name for path in plots] == ["fit.png", "frontier.png", "isoflop.png", "residuals.png"]
    for path in plots:
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert (width, height) == (1200, 705)


def test_columns_for_bpb_flops_core_and_unique_tokens_are_read(capsys, tmp_path):
    rows = ["parameters,flops,bpb,core,unique_tokens"]
    for number, run in enumerate(make_runs()):
        rows.append(f"{run.parameters},{run.flops},{run.loss / 3},{0.1 + number / 100},{run.tokens / 4}")
    (tmp_path / "runs.csv").write_text("\n".join(rows) + "\n")
    options = ["--repeated", "--bootstraps", "3", "--json", str(tmp_path / "fit.json")]
    assert main(["scaling", "fit", str(tmp_path / "runs.csv"), *options]) == 0
    printed = capsys.readouterr().out
    assert "bits per byte" in printed
    assert "repeated:muennighoff2023" in printed
    assert "CORE = " in printed
    values = json.loads((tmp_path / "fit.json").read_text())
    # Four epochs: three repetitions have the value of 15.39 (1 - e^(-3 / 15.39)) = 2.73 unique epochs.
    value = 1 + 15.387756 * (1 - np.exp(-3 / 15.387756))
    first = values["parametric"]["runs"][0]
    assert first["tokens"] == pytest.approx(value * first["unique_tokens"])


def test_a_forecast_is_printed_with_its_interval(capsys, tmp_path):
    steps = range(100, 901, 100)
    (tmp_path / "curve.csv").write_text("step,bpb\n" + "".join(f"{s},{1 + 2 * s**-0.5}\n" for s in steps))
    assert main(["scaling", "forecast", str(tmp_path / "curve.csv"), "--final-step", "1000"]) == 0
    assert capsys.readouterr().out.startswith("1.0632 at step 1,000, 95% interval 1.063")


def test_a_fractional_step_of_a_curve_is_rejected(capsys, tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("step,bpb\n1,2.0\n1.5,1.9\n")
    assert main(["scaling", "forecast", str(path), "--final-step", "1000"]) == 2
    assert "curve.csv, line 3: expected a whole number in column step, got '1.5'" in capsys.readouterr().err
