"""Allocations and plans, by hand and against a search over sizes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling.laws import LAWS, RATIOS, find_rule
from hf_core_bpb.scaling.plan import PlanInputs, effective_tokens, make_plan, make_schedule, off_optimum

REFIT = LAWS["besiroglu-2024"]


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize("flops", [1e18, 1e21, 5.76e23])
def test_the_optimum_has_the_lowest_loss_of_all_sizes(law, flops):
    sizes = np.geomspace(1e6, 1e13, 200_001)
    lowest = sizes[np.argmin(law.loss(sizes, flops / 6 / sizes))]
    best = law.optimal(flops)
    assert best.parameters == pytest.approx(lowest, rel=1e-3)
    assert 6 * best.parameters * best.tokens == pytest.approx(flops)
    assert best.ratio == pytest.approx(best.tokens / best.parameters)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize("flops", [1e18, 1e21, 5.76e23])
def test_the_optimum_for_a_size_or_tokens_is_that_of_their_compute(law, flops):
    best = law.optimal(flops)
    assert law.optimal_tokens(best.parameters) == pytest.approx(best.tokens)
    assert law.optimal_parameters_for_tokens(best.tokens) == pytest.approx(best.parameters)


def test_published_ratios_of_tokens_to_parameters():
    """At Chinchilla's compute: about 20 by the refit, 70 to 100 by the rounded constants (Besiroglu et al.)."""
    assert REFIT.optimal(5.76e23).ratio == pytest.approx(18.4, abs=0.6)
    assert LAWS["hoffmann-2022"].optimal(5.76e23).ratio == pytest.approx(92.6, abs=0.1)


def test_the_rounded_constants_are_never_a_default():
    from hf_core_bpb.cli.scaling import RECOMMENDED
    from hf_core_bpb.training.callback import CoreBpbCallback

    assert "hoffmann-2022" not in RECOMMENDED
    assert CoreBpbCallback().meter.rule is REFIT


def test_intervals_contain_the_optimum_and_widen_away_from_the_fitted_runs():
    near, far = REFIT.optimal(1e20), REFIT.optimal(1e25)
    for best in (near, far):
        assert best.parameters_ci95[0] < best.parameters < best.parameters_ci95[1]
        assert best.tokens_ci95[0] < best.tokens < best.tokens_ci95[1]
        assert best.ratio_ci95[0] < best.ratio < best.ratio_ci95[1]
    assert far.parameters_ci95[1] / far.parameters > 1.2 * near.parameters_ci95[1] / near.parameters


@given(st.floats(0.05, 20), st.floats(18, 24))
def test_the_optimum_at_the_same_loss_saves_the_wasted_compute(times, log_flops):
    flops = 10**log_flops
    best = REFIT.optimal(flops)
    parameters = times * best.parameters
    wasted = REFIT.wasted(parameters, flops / 6 / parameters)
    cheaper = REFIT.optimal((1 - wasted) * flops)
    assert REFIT.loss(cheaper.parameters, cheaper.tokens) == pytest.approx(
        REFIT.loss(parameters, flops / 6 / parameters), rel=1e-9
    )


def test_waste_is_0_at_the_optimum_and_grows_away_from_it():
    rows = off_optimum(REFIT, 1e20)
    wasted = [row.wasted for row in rows]
    middle = wasted.index(min(wasted))
    assert (rows[middle].times, wasted[middle]) == (1.0, pytest.approx(0.0, abs=1e-9))
    assert wasted[: middle + 1] == sorted(wasted[: middle + 1], reverse=True)
    assert wasted[middle:] == sorted(wasted[middle:])


@pytest.mark.parametrize(
    ("inputs", "parameters", "tokens"),
    [
        (PlanInputs(parameters=1e9, tokens=3e9), 1e9, 3e9),
        (PlanInputs(parameters=1e9, ratio=20), 1e9, 20e9),
        (PlanInputs(tokens=20e9, ratio=10), 2e9, 20e9),
        (PlanInputs(flops=6e18, parameters=1e9), 1e9, 1e9),
        (PlanInputs(flops=6e18, tokens=4e9), 2.5e8, 4e9),
        (PlanInputs(flops=120e18, ratio=20), 1e9, 20e9),
        (PlanInputs(parameters=1e9), 1e9, 20e9),
        (PlanInputs(tokens=20e9), 1e9, 20e9),
        (PlanInputs(flops=120e18), 1e9, 20e9),
    ],
)
def test_two_quantities_determine_a_plan_and_one_gives_the_optimum(inputs, parameters, tokens):
    """By hand, under 20 tokens per parameter: 1e9 x 2e10 x 6 = 1.2e20."""
    plan = make_plan(inputs, RATIOS["chinchilla-20"])
    assert (plan.parameters, plan.tokens) == pytest.approx((parameters, tokens))
    assert plan.flops == pytest.approx(6 * parameters * tokens)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            PlanInputs(),
            "plan: expected flops, parameters or tokens, or two of flops, parameters, tokens and ratio; got none",
        ),
        (PlanInputs(ratio=20), "got ratio"),
        (PlanInputs(1e20, 1e9, 1e9), "got flops, parameters, tokens"),
        (PlanInputs(flops=-1), "flops: expected a number above 0 and below 1e40, got -1"),
        (PlanInputs(parameters=math.nan), "parameters: expected a number above 0 and below 1e40, got nan"),
    ],
)
def test_invalid_inputs_of_a_plan_are_rejected(inputs, message):
    with pytest.raises(InputError) as caught:
        make_plan(inputs, REFIT)
    assert message in str(caught.value)


def test_a_plan_outside_the_fitted_budgets_is_extrapolated():
    assert not make_plan(PlanInputs(flops=1e20), REFIT).extrapolated
    assert make_plan(PlanInputs(flops=1e25), REFIT).extrapolated


def test_an_unknown_law_is_rejected():
    with pytest.raises(InputError, match="`law`: expected one of besiroglu-2024"):
        find_rule("kaplan")


def test_trainer_follows_the_three_phases_of_a_schedule(tmp_path):
    import torch
    from transformers import TrainingArguments, get_scheduler

    schedule = make_schedule(1_000_000, 1000)
    assert (schedule.max_steps, schedule.num_warmup_steps, schedule.num_decay_steps) == (1000, 10, 200)
    args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **schedule.arguments())
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rates = get_scheduler(
        args.lr_scheduler_type, optimizer, int(args.warmup_steps), args.max_steps, args.lr_scheduler_kwargs
    ).lr_lambdas[0]
    # Half the warmup, its end, the last constant step, half the decay.
    assert [rates(5), rates(10), rates(799), rates(900)] == pytest.approx([0.5, 1.0, 1.0, 0.5])


@pytest.mark.parametrize(("tokens", "steps"), [(1000, (1, 0, 1, 0)), (1500, (2, 0, 1, 1)), (3000, (3, 0, 2, 1))])
def test_a_schedule_decays_from_two_steps_on(tokens, steps):
    schedule = make_schedule(tokens, 1000)
    phases = (schedule.num_warmup_steps, schedule.num_stable_steps, schedule.num_decay_steps)
    assert (schedule.max_steps, *phases) == steps


def test_a_schedule_without_tokens_per_step_is_rejected():
    with pytest.raises(InputError, match="tokens_per_step: expected a number above 0, got 0"):
        make_schedule(1000, 0)


def test_repeated_tokens_have_diminishing_value():
    """Muennighoff et al.: four epochs are nearly as good as unique text, forty hardly better than sixteen."""
    assert effective_tokens(5e9, 1e10) == 5e9
    assert effective_tokens(4e9, 1e9) / 4e9 == pytest.approx((1 + 15.387756 * (1 - math.exp(-3 / 15.387756))) / 4)
    assert effective_tokens(4e9, 1e9) > 0.9 * 4e9
    assert effective_tokens(1e12, 1e9) < 16.5e9
