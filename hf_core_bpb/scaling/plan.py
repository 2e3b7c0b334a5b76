"""Training plans: from compute, size, tokens or ratio to the rest, and the cost of leaving the optimum (pure)."""

import math
from dataclasses import dataclass

from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling.laws import Allocation, Convention, FixedRatio, Law

# Sizes to compare at the same compute, as multiples of the optimal size.
_SIZE_FACTORS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
# The share of steps in which the rate falls to zero (nanochat's warmdown), and the share in which it rises.
_DECAY_SHARE = 0.2
_WARMUP_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class PlanInputs:
    """The known quantities: flops, parameters or tokens alone, or any two of the four."""

    flops: float | None = None
    parameters: float | None = None
    tokens: float | None = None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A model size and number of tokens, with the optimal allocation of a rule at the same compute.

    wasted: the share of compute that the optimum saves at the same loss, None for a fixed ratio.
    extrapolated: whether the compute lies outside the budgets that the law was fitted on.
    """

    rule: str
    convention: Convention
    source: str
    flops: float
    parameters: float
    tokens: float
    optimum: Allocation
    wasted: float | None
    extrapolated: bool

    @property
    def ratio(self) -> float:
        """Tokens per parameter."""
        return self.tokens / self.parameters


def make_plan(inputs: PlanInputs, rule: Law | FixedRatio) -> Plan:
    """Complete a plan from its known quantities; C = 6 N D throughout.

    Two quantities determine the rest; for one alone the rule gives the optimum. Raises InputError for other
    numbers of quantities, for a ratio alone, and for values out of range.
    """
    parameters, tokens = _parameters_and_tokens(inputs, rule)
    flops = 6 * parameters * tokens
    low, high = rule.flops_range if isinstance(rule, Law) else (0.0, math.inf)
    return Plan(
        rule=rule.name,
        convention=rule.convention,
        source=rule.source,
        flops=flops,
        parameters=parameters,
        tokens=tokens,
        optimum=rule.optimal(flops),
        wasted=rule.wasted(parameters, tokens) if isinstance(rule, Law) else None,
        extrapolated=not low <= flops <= high,
    )


def _parameters_and_tokens(inputs: PlanInputs, rule: Law | FixedRatio) -> tuple[float, float]:
    known = _known_values(inputs)
    match list(known), list(known.values()):
        case ["flops"], [c]:
            optimum = rule.optimal(c)
            return optimum.parameters, optimum.tokens
        case ["parameters"], [n]:
            return n, rule.optimal_tokens(n)
        case ["tokens"], [d]:
            return rule.optimal_parameters_for_tokens(d), d
        case ["flops", "parameters"], [c, n]:
            return n, c / (6 * n)
        case ["flops", "tokens"], [c, d]:
            return c / (6 * d), d
        case ["flops", "ratio"], [c, r]:
            return math.sqrt(c / (6 * r)), math.sqrt(c * r / 6)
        case ["parameters", "tokens"], [n, d]:
            return n, d
        case ["parameters", "ratio"], [n, r]:
            return n, n * r
        case ["tokens", "ratio"], [d, r]:
            return d / r, d
    raise InputError(
        "plan: expected flops, parameters or tokens, or two of flops, parameters, tokens and ratio; "
        f"got {', '.join(known) or 'none'}"
    )


def _known_values(inputs: PlanInputs) -> dict[str, float]:
    """Return the known quantities by name, in the order of PlanInputs."""
    values = ((name, getattr(inputs, name)) for name in ("flops", "parameters", "tokens", "ratio"))
    known = {name: value for name, value in values if value is not None}
    for name, value in known.items():
        if not 1e-3 < value < 1e40:
            raise InputError(f"{name}: expected a number above 0 and below 1e40, got {value}")
    return known


@dataclass(frozen=True, slots=True)
class OffOptimum:
    """A model `times` as large as the optimal one at the same compute, and the share of compute it wastes."""

    times: float
    parameters: float
    tokens: float
    wasted: float


def off_optimum(law: Law, flops: float) -> list[OffOptimum]:
    """Return smaller and larger models than the optimal one at the same compute."""
    optimal_parameters = law.optimal_parameters(flops)
    models = []
    for times in _SIZE_FACTORS:
        parameters = times * optimal_parameters
        tokens = flops / (6 * parameters)
        models.append(OffOptimum(times, parameters, tokens, law.wasted(parameters, tokens)))
    return models


@dataclass(frozen=True, slots=True)
class Schedule:
    """The steps of a run with a warmup-stable-decay learning rate."""

    max_steps: int
    tokens_per_step: int
    num_warmup_steps: int
    num_stable_steps: int
    num_decay_steps: int

    def arguments(self) -> dict[str, object]:
        """Return the schedule as keyword arguments of transformers' TrainingArguments."""
        return {
            "max_steps": self.max_steps,
            "lr_scheduler_type": "warmup_stable_decay",
            "warmup_steps": self.num_warmup_steps,
            "lr_scheduler_kwargs": {"num_decay_steps": self.num_decay_steps, "decay_type": "linear"},
        }


def make_schedule(tokens: float, tokens_per_step: int) -> Schedule:
    """Return the schedule for a number of tokens: 1% warmup, then constant, then linear to zero over the last 20%.

    At least one step decays, except in a run of a single step. Raises InputError for numbers that are not above 0.
    """
    _check_positive(tokens=tokens, tokens_per_step=tokens_per_step)
    steps = math.ceil(tokens / tokens_per_step)
    warmup = round(_WARMUP_SHARE * steps)
    decay = max(round(_DECAY_SHARE * steps), min(1, steps - 1))
    return Schedule(steps, tokens_per_step, warmup, steps - warmup - decay, decay)


def effective_tokens(tokens: float, unique_tokens: float, half_life: float = 15.387756) -> float:
    """Return the unique tokens that repeated tokens are worth: U + U R* (1 - e^(-R/R*)), R = D/U - 1.

    Muennighoff et al. 2023 (arXiv:2305.16264), equation 5; R* (`half_life`) as in their repository. Raises
    InputError for numbers that are not above 0.
    """
    _check_positive(tokens=tokens, unique_tokens=unique_tokens, half_life=half_life)
    if tokens <= unique_tokens:
        return tokens
    repetitions = tokens / unique_tokens - 1
    return unique_tokens * (1 + half_life * (1 - math.exp(-repetitions / half_life)))


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name}: expected a number above 0, got {value}")
