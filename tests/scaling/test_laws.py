"""Allocations by hand and against a search over sizes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling.laws import LAWS, RATIOS, find_rule
from hf_core_bpb.scaling.plan import Request, effective_tokens, make_plan, make_schedule, off_optimum

REFIT = LAWS["besiroglu-2024"]


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize("flops", [1e18, 1e21, 5.76e23])
def test_the_optimum_is_where_a_search_over_sizes_finds_it(law, flops):
    sizes = np.geomspace(1e6, 1e13, 200_001)
    found = sizes[np.argmin(law.loss(sizes, flops / 6 / sizes))]
    best = law.optimal(flops)
    assert best.parameters == pytest.approx(found, rel=1e-3)
    assert 6 * best.parameters * best.tokens == pytest.approx(flops)
    assert law.optimal_tokens(best.parameters) == pytest.approx(best.tokens)
    assert law.optimal_parameters(best.tokens) == pytest.approx(best.parameters)


def test_published_ratios_of_tokens_to_parameters():
    """At Chinchilla's compute, about 20 by the refit, and 70 to 100 by the rounded constants (Besiroglu et al.)."""
    assert REFIT.optimal(5.76e23).ratio == pytest.approx(18.4, abs=0.6)
    assert LAWS["hoffmann-2022"].optimal(5.76e23).ratio == pytest.approx(92.6, abs=0.1)


def test_the_rounded_constants_are_never_a_default():
    from hf_core_bpb.cli import scaling
    from hf_core_bpb.training.callback import CoreBpbCallback

    assert "hoffmann-2022" not in scaling._SHOWN
    assert CoreBpbCallback().meter.rule is REFIT


def test_intervals_hold_the_optimum_and_widen_away_from_the_runs():
    near, far = REFIT.optimal(1e20), REFIT.optimal(1e25)
    for best in (near, far):
        assert best.parameters_ci95[0] < best.parameters < best.parameters_ci95[1]
        assert best.tokens_ci95[0] < best.tokens < best.tokens_ci95[1]
        assert best.ratio_ci95[0] < best.ratio < best.ratio_ci95[1]
    assert far.parameters_ci95[1] / far.parameters > 1.2 * near.parameters_ci95[1] / near.parameters


@given(st.floats(0.05, 20), st.floats(18, 24))
def test_wasted_compute_is_what_the_optimum_saves_at_the_same_loss(times, log_flops):
    flops = 10**log_flops
    best = REFIT.optimal(flops)
    parameters = times * best.parameters
    wasted = REFIT.wasted(parameters, flops / 6 / parameters)
    cheaper = REFIT.optimal((1 - wasted) * flops)
    assert REFIT.loss(cheaper.parameters, cheaper.tokens) == pytest.approx(
        REFIT.loss(parameters, flops / 6 / parameters), rel=1e-9
    )


def test_the_optimum_wastes_nothing_and_what_lies_off_it_more_and_more():
    rows = off_optimum(REFIT, 1e20)
    wasted = [row.wasted for row in rows]
    middle = wasted.index(min(wasted))
    assert (rows[middle].times, wasted[middle]) == (1.0, pytest.approx(0.0, abs=1e-9))
    assert wasted[: middle + 1] == sorted(wasted[: middle + 1], reverse=True)
    assert wasted[middle:] == sorted(wasted[middle:])


@pytest.mark.parametrize(
    ("given", "parameters", "tokens"),
    [
        (Request(parameters=1e9, tokens=3e9), 1e9, 3e9),
        (Request(parameters=1e9, ratio=20), 1e9, 20e9),
        (Request(tokens=20e9, ratio=10), 2e9, 20e9),
        (Request(flops=6e18, parameters=1e9), 1e9, 1e9),
        (Request(flops=6e18, tokens=4e9), 2.5e8, 4e9),
        (Request(flops=120e18, ratio=20), 1e9, 20e9),
        (Request(parameters=1e9), 1e9, 20e9),
        (Request(tokens=20e9), 1e9, 20e9),
        (Request(flops=120e18), 1e9, 20e9),
    ],
)
def test_two_of_four_give_the_rest_and_one_gives_the_optimum(given, parameters, tokens):
    """By hand, under 20 tokens per parameter: 1e9 x 2e10 x 6 = 1.2e20."""
    plan = make_plan(given, RATIOS["chinchilla-20"])
    assert (plan.parameters, plan.tokens) == pytest.approx((parameters, tokens))
    assert plan.flops == pytest.approx(6 * parameters * tokens)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Request(), "expected one or two of --flops, --params, --tokens, --ratio, got none"),
        (Request(ratio=20), "got --ratio"),
        (Request(1e20, 1e9, 1e9), "got --flops, --params, --tokens"),
        (Request(flops=-1), "--flops: expected a number above 0 and below 1e40, got -1"),
        (Request(parameters=math.nan), "--params: expected a number above 0 and below 1e40, got nan"),
    ],
)
def test_requests_that_do_not_fit_are_refused_in_words(given, message):
    with pytest.raises(InputError) as caught:
        make_plan(given, REFIT)
    assert message in str(caught.value)


def test_extrapolation_is_said():
    assert not make_plan(Request(flops=1e20), REFIT).extrapolated
    assert make_plan(Request(flops=1e25), REFIT).extrapolated
    with pytest.raises(InputError, match="--law: expected one of besiroglu-2024"):
        find_rule("kaplan")


def test_a_schedule_has_all_tokens_in_three_phases_that_trainer_takes(tmp_path):
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
    # From two steps on there is a decay; one step has nothing to fall from.
    for tokens, steps in ((1000, (1, 0, 1, 0)), (1500, (2, 0, 1, 1)), (3000, (3, 0, 2, 1))):
        made = make_schedule(tokens, 1000)
        assert (made.max_steps, made.num_warmup_steps, made.num_stable_steps, made.num_decay_steps) == steps
    with pytest.raises(InputError, match="schedule: expected tokens a step above 0, got 0"):
        make_schedule(1000, 0)


def test_repeated_tokens_are_worth_less_and_less():
    """Muennighoff et al.: four epochs are nearly as good as fresh text, forty are worth little more than sixteen."""
    assert effective_tokens(5e9, 1e10) == 5e9
    assert effective_tokens(4e9, 1e9) / 4e9 == pytest.approx((1 + 15.387756 * (1 - math.exp(-3 / 15.387756))) / 4)
    assert effective_tokens(4e9, 1e9) > 0.9 * 4e9
    assert effective_tokens(1e12, 1e9) < 16.5e9
