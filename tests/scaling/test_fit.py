"""Fits to runs of a known formula, and to Chinchilla's runs."""

import csv
import math

import numpy as np
import pytest
from support.scaling_runs import TRUTH, make_runs

from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling import fit as fitting
from hf_core_bpb.scaling import minimum
from hf_core_bpb.scaling.curves import fit_core, fit_frontier, fit_isoflops, fit_power_law
from hf_core_bpb.scaling.fit import fit_parametric
from hf_core_bpb.scaling.laws import LossFormula
from hf_core_bpb.scaling.runs import Run


def test_a_fit_recovers_the_formula_of_noiseless_runs():
    fit = fit_parametric(make_runs(), bootstraps=5)
    for name in ("E", "A", "B", "alpha", "beta"):
        assert getattr(fit.coefficients, name) == pytest.approx(getattr(TRUTH, name), rel=2e-3)
    assert fit.held_out_error == pytest.approx(0.0, abs=1e-5)
    assert fit.num_held_out == 4
    assert fit.at_bound == ()


@pytest.mark.slow
def test_intervals_cover_the_true_exponent_at_about_their_rate():
    """Of forty sets of noisy runs, 95% intervals of alpha that cover it in fewer than 34 are too narrow."""
    num_covered = 0
    for seed in range(40):
        data = minimum.LogRuns.from_runs(make_runs(0.005, seed))
        theta, _ = minimum.descend(data, minimum._projected_start(data))
        low, high = fitting._intervals(fitting._bootstrap(data, theta, 60, seed))["alpha"]
        num_covered += low <= TRUTH.alpha <= high
    assert num_covered >= 34


def test_the_gradient_matches_finite_differences_of_the_objective():
    data = minimum.LogRuns.from_runs(make_runs(0.01))
    theta = np.array([6.0, 7.2, 0.5, 0.33, 0.36])
    _, gradient = data.objective(theta)
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-6
        slope = (data.objective(theta + step)[0] - data.objective(theta - step)[0]) / 2e-6
        assert gradient[i] == pytest.approx(slope, rel=1e-4)


def test_a_run_of_far_too_high_loss_is_an_outlier():
    runs = make_runs(0.002)
    runs[20] = Run(runs[20].parameters, runs[20].tokens, 1.5 * runs[20].loss)
    assert 20 in fit_parametric(runs, bootstraps=5).outliers


def test_drop_highest_leaves_out_the_runs_of_highest_loss():
    runs = make_runs(0.002)
    highest = max(range(len(runs)), key=lambda i: runs[i].loss)
    fit = fit_parametric(runs, bootstraps=5, drop_highest=1)
    assert fit.dropped == (highest,)
    assert len(fit.runs) == len(runs) - 1


def test_a_coefficient_that_the_runs_do_not_determine_is_reported_at_its_bound():
    runs = [Run(n, d, 2.0 + 50 / n**0.3) for n in (1e7, 1e8, 1e9) for d in (1e9, 1e10, 1e11)]
    fit = fit_parametric(runs, bootstraps=2)
    # The loss does not depend on tokens: B vanishes, or beta is 0 and B part of the constant.
    predicted = [fit.coefficients.loss(run.parameters, run.tokens) for run in runs]
    assert predicted == pytest.approx([run.loss for run in runs], rel=1e-3)
    assert fit.at_bound != ()


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (make_runs()[:5], "expected 6 or more, got 5"),
        ([*make_runs(), Run(1e9, 1e9, -1.0)], "runs[45]: expected loss above 0 and below 1e40, got -1.0"),
        ([*make_runs(), Run(1e9, math.nan, 1.0)], "runs[45]: expected tokens above 0 and below 1e40, got nan"),
        (
            [Run(1e9, d * 1e9, 3 - d / 10) for d in range(1, 9)],
            "runs: expected 3 or more different values of parameters, got 1",
        ),
    ],
)
def test_runs_that_no_law_can_be_fitted_to_are_rejected(runs, message):
    with pytest.raises(InputError) as caught:
        fit_parametric(runs)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_highest": 44}, "`drop_highest`: expected 0 to 39 of 45 runs, as a fit needs 6, got 44"),
        ({"drop_highest": -1}, "`drop_highest`: expected 0 to 39 of 45 runs"),
        ({"budgets": [-3.0]}, "budgets: expected FLOPs above 0 and below 1e40, got -3.0"),
        ({"seed": -1}, "`seed`: expected 0 or more, got -1"),
    ],
)
def test_invalid_options_of_a_fit_are_rejected(options, message):
    with pytest.raises(InputError) as caught:
        fit_parametric(make_runs(), **options)
    assert message in str(caught.value)


def test_isoflop_curves_recover_the_optimum_of_a_symmetric_formula():
    """With alpha = beta the loss at fixed compute is symmetric in log N, so a parabola has no bias."""
    symmetric = LossFormula(E=1.7, A=400.0, B=400.0, alpha=0.35, beta=0.35)
    isoflops = fit_isoflops(make_runs(truth=symmetric), symmetric)
    assert isoflops.exponent == pytest.approx(0.5, abs=1e-6)
    for curve in isoflops.curves:
        assert not curve.at_edge
        assert curve.parameters == pytest.approx(symmetric.optimal_parameters(curve.flops), rel=1e-3)
        assert curve.bias == pytest.approx(0.0, abs=1e-6)


def test_the_bias_of_isoflop_curves_is_their_error_on_an_asymmetric_formula():
    """The case of Open-Athena's scaling-law-analysis."""
    asymmetric = LossFormula(E=1.7, A=400.0, B=40_000.0, alpha=0.25, beta=0.5)
    for curve in fit_isoflops(make_runs(truth=asymmetric), asymmetric).curves:
        assert abs(curve.bias) > 0.02
        assert curve.parameters / asymmetric.optimal_parameters(curve.flops) - 1 == pytest.approx(curve.bias, abs=1e-3)


def test_isoflop_curves_with_a_minimum_outside_their_sizes_have_no_exponent():
    runs = [run for run in make_runs() if run.parameters > 1.7 * TRUTH.optimal_parameters(run.flops)]
    isoflops = fit_isoflops(runs, TRUTH)
    assert all(curve.at_edge for curve in isoflops.curves)
    assert isoflops.exponent is None


def test_an_isoflop_curve_too_flat_for_a_minimum_is_at_the_edge():
    """The loss is a power law of N, a line in log-log but for rounding."""
    runs = [Run(n, 1e20 / 6 / n, 3 * n**-0.05) for n in np.geomspace(1e8, 1e10, 9)]
    (curve,) = fit_isoflops(runs).curves
    assert curve.at_edge


def test_a_power_law_with_a_floor_is_recovered():
    x = np.geomspace(1, 1e6, 20)
    law = fit_power_law(x, 1.5 + 3 * x**-0.25)
    assert (law.floor, law.scale, law.exponent) == pytest.approx((1.5, 3.0, 0.25), rel=1e-6)


def test_the_compute_frontier_goes_through_the_best_run_of_each_budget():
    runs = make_runs()
    frontier = fit_frontier(runs, 20, 0)
    assert [runs[i].parameters for i in frontier.indices] == pytest.approx(
        [TRUTH.optimal_parameters(c) for c in (1e18, 1e19, 1e20, 1e21, 1e22)]
    )
    # L(N*, D*) - E falls with C to the power alpha beta / (alpha + beta).
    assert frontier.law.exponent == pytest.approx(0.34 * 0.37 / 0.71, abs=0.01)


def test_runs_of_one_budget_have_no_compute_frontier():
    assert fit_frontier(make_runs()[:9], 5, 0) is None


def test_core_over_log_size_is_a_line_with_a_student_t_interval():
    runs = [Run(10.0**k, 1e10, 3.0, core=c) for k, c in ((7, 0.10), (8, 0.16), (9, 0.22), (10, 0.30))]
    line = fit_core(runs)
    # By hand: slope 0.066; residuals 0.004, -0.002, -0.008, 0.006; sum of squares 1.2e-4 over 2 and 5; t = 4.3027.
    assert (line.slope, line.intercept) == pytest.approx((0.066, -0.366))
    half_width = 4.30265 * math.sqrt(1.2e-4 / 2 / 5)
    assert line.slope_ci95 == pytest.approx((0.066 - half_width, 0.066 + half_width), rel=1e-4)


def test_runs_without_core_have_no_line():
    assert fit_core(make_runs()) is None


@pytest.fixture(scope="module")
def chinchilla(request):
    shared = request.getfixturevalue("shared")
    with (shared / "scaling" / "epoch_chinchilla_245.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [Run(n := float(row["Model Size"]), float(row["Training FLOP"]) / 6 / n, float(row["loss"])) for row in rows]


@pytest.mark.slow
def test_chinchillas_runs_reproduce_the_refit_of_epoch(chinchilla):
    fit = fit_parametric(chinchilla, drop_highest=5, bootstraps=200, budgets=[5.76e23])
    assert fit.coefficients.alpha == pytest.approx(0.3473, rel=0.01)
    assert fit.coefficients.beta == pytest.approx(0.3672, rel=0.01)
    assert fit.objective == pytest.approx(0.0010183, rel=0.01)
    for name, low, high in (("E", 1.773, 1.875), ("alpha", 0.315, 0.371), ("beta", 0.337, 0.420)):
        assert fit.ci95[name] == pytest.approx((low, high), rel=0.03)
    (optimum,) = fit.optima
    assert optimum.ratio == pytest.approx(18.4, abs=0.6)
    assert optimum.ratio_ci95 == pytest.approx((7.2, 33.6), rel=0.2)


def test_fitting_the_five_outliers_too_moves_beta(chinchilla):
    assert fit_parametric(chinchilla, bootstraps=2).coefficients.beta == pytest.approx(0.453, abs=0.005)
