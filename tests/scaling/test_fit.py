"""Fits against laws that made the runs, and against Chinchilla's runs."""

import csv
import math

import numpy as np
import pytest
from support.scaling_runs import TRUTH, make_runs

from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling import fit as fitting
from hf_core_bpb.scaling import minimum
from hf_core_bpb.scaling.curves import fit_core, fit_frontier, fit_isoflops, fit_power_law
from hf_core_bpb.scaling.fit import Coefficients, fit_parametric
from hf_core_bpb.scaling.runs import Run


def test_a_law_is_found_again_from_runs_that_it_made():
    found = fit_parametric(make_runs(), bootstraps=5)
    for name in ("E", "A", "B", "alpha", "beta"):
        assert getattr(found.coefficients, name) == pytest.approx(getattr(TRUTH, name), rel=2e-3)
    assert found.held_out_error == pytest.approx(0.0, abs=1e-5)
    assert found.num_held_out == 4
    assert found.at_bound == ()


def test_intervals_hold_the_truth_at_about_their_rate():
    """Forty sets of noisy runs; 95 % intervals of alpha that held it in fewer than 34 would be too narrow."""
    held = 0
    for seed in range(40):
        data = minimum.Data.of(make_runs(0.005, seed))
        theta, _ = minimum.descend(data, minimum._projected_start(data))
        low, high = fitting._intervals(fitting._bootstrap(data, theta, 60, seed))["alpha"]
        held += low <= TRUTH.alpha <= high
    assert held >= 34


def test_the_gradient_is_that_of_the_objective():
    data = minimum.Data.of(make_runs(0.01))
    theta = np.array([6.0, 7.2, 0.5, 0.33, 0.36])
    _, gradient = data.objective(theta)
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-6
        slope = (data.objective(theta + step)[0] - data.objective(theta - step)[0]) / 2e-6
        assert gradient[i] == pytest.approx(slope, rel=1e-4)


def test_outliers_are_named_and_runs_of_highest_loss_can_be_left_out():
    runs = make_runs(0.002)
    runs[20] = Run(runs[20].parameters, runs[20].tokens, 1.5 * runs[20].loss)
    found = fit_parametric(runs, bootstraps=5)
    assert 20 in found.outliers
    highest = max(range(len(runs)), key=lambda i: runs[i].loss)
    without = fit_parametric(runs, bootstraps=5, drop_highest=1)
    assert without.dropped == (highest,)
    assert len(without.runs) == len(runs) - 1


def test_a_coefficient_that_the_runs_do_not_determine_is_said_to_be_at_its_bound():
    runs = [Run(n, d, 2.0 + 50 / n**0.3) for n in (1e7, 1e8, 1e9) for d in (1e9, 1e10, 1e11)]
    found = fit_parametric(runs, bootstraps=2)
    # Nothing depends on tokens: B goes to nothing, or beta to 0 with what is constant.
    predicted = [found.coefficients.loss(run.parameters, run.tokens) for run in runs]
    assert predicted == pytest.approx([run.loss for run in runs], rel=1e-3)
    assert found.at_bound != ()


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (make_runs()[:5], "expected 6 or more, got 5"),
        ([*make_runs(), Run(1e9, 1e9, -1.0)], "number 45: expected loss above 0 and below 1e40, got -1.0"),
        ([*make_runs(), Run(1e9, math.nan, 1.0)], "number 45: expected tokens above 0 and below 1e40, got nan"),
        ([Run(1e9, d * 1e9, 3 - d / 10) for d in range(1, 9)], "expected 3 or more different parameters"),
    ],
)
def test_runs_that_no_law_can_be_fitted_to_are_refused(runs, message):
    with pytest.raises(InputError) as caught:
        fit_parametric(runs)
    assert message in str(caught.value)


def test_parabolas_find_the_optimum_of_a_symmetric_law_and_miss_that_of_a_lopsided_one():
    """With alpha = beta a valley is symmetric in log N; Open-Athena's analysis is of the other case."""
    even = Coefficients(E=1.7, A=400.0, B=400.0, alpha=0.35, beta=0.35)
    found = fit_isoflops(make_runs(truth=even), even)
    assert found.exponent == pytest.approx(0.5, abs=1e-6)
    for valley in found.valleys:
        assert not valley.at_edge
        assert valley.parameters == pytest.approx(even.optimal_parameters(valley.flops), rel=1e-3)
        assert valley.bias == pytest.approx(0.0, abs=1e-6)
    lopsided = Coefficients(E=1.7, A=400.0, B=40_000.0, alpha=0.25, beta=0.5)
    biased = fit_isoflops(make_runs(truth=lopsided), lopsided)
    for valley in biased.valleys:
        assert abs(valley.bias) > 0.02
        assert valley.parameters / lopsided.optimal_parameters(valley.flops) - 1 == pytest.approx(valley.bias, abs=1e-3)


def test_a_valley_whose_bottom_lies_outside_of_its_runs_is_left_out():
    runs = [run for run in make_runs() if run.parameters > 1.7 * TRUTH.optimal_parameters(run.flops)]
    found = fit_isoflops(runs, TRUTH)
    assert all(valley.at_edge for valley in found.valleys)
    assert found.exponent is None


def test_a_power_law_and_a_frontier_are_found_again():
    x = np.geomspace(1, 1e6, 20)
    law = fit_power_law(x, 1.5 + 3 * x**-0.25)
    assert (law.floor, law.scale, law.exponent) == pytest.approx((1.5, 3.0, 0.25), rel=1e-6)
    frontier = fit_frontier(make_runs(), 20, 0)
    assert [make_runs()[i].parameters for i in frontier.places] == pytest.approx(
        [TRUTH.optimal_parameters(c) for c in (1e18, 1e19, 1e20, 1e21, 1e22)]
    )
    # L(N*, D*) - E falls with C to the alpha beta / (alpha + beta).
    assert frontier.law.exponent == pytest.approx(0.34 * 0.37 / 0.71, abs=0.01)
    assert fit_frontier(make_runs()[:9], 5, 0) is None


def test_core_over_size_is_a_line_with_students_interval():
    runs = [Run(10.0**k, 1e10, 3.0, core=c) for k, c in ((7, 0.10), (8, 0.16), (9, 0.22), (10, 0.30))]
    line = fit_core(runs)
    # By hand: slope 0.066, residuals 0.004, -0.002, -0.008, 0.006, sum of squares 1.2e-4, over 2 and 5; t = 4.3027.
    assert (line.slope, line.intercept) == pytest.approx((0.066, -0.366))
    reach = 4.30265 * math.sqrt(1.2e-4 / 2 / 5)
    assert line.slope_ci95 == pytest.approx((0.066 - reach, 0.066 + reach), rel=1e-4)
    assert fit_core(make_runs()) is None


@pytest.fixture(scope="module")
def chinchilla(request):
    shared = request.getfixturevalue("shared")
    with (shared / "scaling" / "epoch_chinchilla_245.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [Run(n := float(row["Model Size"]), float(row["Training FLOP"]) / 6 / n, float(row["loss"])) for row in rows]


def test_chinchillas_runs_give_the_refit_of_epoch(chinchilla):
    found = fit_parametric(chinchilla, drop_highest=5, bootstraps=200, budgets=[5.76e23])
    assert found.coefficients.alpha == pytest.approx(0.3473, rel=0.01)
    assert found.coefficients.beta == pytest.approx(0.3672, rel=0.01)
    assert found.objective == pytest.approx(0.0010183, rel=0.01)
    for name, low, high in (("E", 1.773, 1.875), ("alpha", 0.315, 0.371), ("beta", 0.337, 0.420)):
        assert found.ci95[name] == pytest.approx((low, high), rel=0.03)
    (best,) = found.optima
    assert best.ratio == pytest.approx(18.4, abs=0.6)
    assert best.ratio_ci95 == pytest.approx((7.2, 33.6), rel=0.2)


def test_keeping_the_five_outliers_moves_beta(chinchilla):
    assert fit_parametric(chinchilla, bootstraps=2).coefficients.beta == pytest.approx(0.453, abs=0.005)
