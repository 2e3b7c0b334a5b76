"""From compute, size, tokens or ratio to the rest, under named laws, and what leaving the optimum costs (pure)."""

import math
from dataclasses import dataclass

from hf_core_bpb.errors import InputError
from hf_core_bpb.scaling.laws import Allocation, Convention, FixedRatio, Law

# Sizes at the same compute, from so much smaller than optimal to so much larger.
_OFF_OPTIMUM = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)


@dataclass(frozen=True, slots=True)
class Request:
    """What is given: exactly one of flops, or one or two of parameters, tokens and ratio."""

    flops: float | None = None
    parameters: float | None = None
    tokens: float | None = None
    ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A size and a number of tokens under a rule, beside the rule's optimum at the same compute.

    wasted: the share of compute that the optimum saves at the same loss, None for a fixed ratio.
    extrapolated: whether the compute lies outside of what the law was fitted on.
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


def make_plan(request: Request, rule: Law | FixedRatio) -> Plan:
    """Return what follows from a request under a rule; C = 6 N D throughout.

    Compute alone gives the rule's optimum; a size or tokens alone that for which they are optimal; a ratio
    goes with any one of the others. Raises InputError for what is given twice or not at all.
    """
    parameters, tokens = _sizes(request, rule)
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


def _sizes(request: Request, rule: Law | FixedRatio) -> tuple[float, float]:
    given = {
        name: value
        for name in ("flops", "parameters", "tokens", "ratio")
        if (value := getattr(request, name)) is not None
    }
    for name, value in given.items():
        if not 1e-3 < value < 1e40:
            raise InputError(f"--{_OPTION[name]}: expected a number above 0 and below 1e40, got {value}")
    match given:
        case {"flops": c, "ratio": r, **rest} if not rest:
            return math.sqrt(c / (6 * r)), math.sqrt(c * r / 6)
        case {"flops": c, "parameters": n, **rest} if not rest:
            return n, c / (6 * n)
        case {"flops": c, "tokens": d, **rest} if not rest:
            return c / (6 * d), d
        case {"flops": c, **rest} if not rest:
            best = rule.optimal(c)
            return best.parameters, best.tokens
        case {"parameters": n, "tokens": d, **rest} if not rest:
            return n, d
        case {"parameters": n, "ratio": r, **rest} if not rest:
            return n, n * r
        case {"tokens": d, "ratio": r, **rest} if not rest:
            return d / r, d
        case {"parameters": n, **rest} if not rest:
            return n, rule.optimal_tokens(n)
        case {"tokens": d, **rest} if not rest:
            return rule.optimal_parameters(d), d
    got = ", ".join(f"--{_OPTION[name]}" for name in given) or "none"
    raise InputError(f"scaling plan: expected one or two of --flops, --params, --tokens, --ratio, got {got}")


_OPTION = {"flops": "flops", "parameters": "params", "tokens": "tokens", "ratio": "ratio"}


@dataclass(frozen=True, slots=True)
class OffOptimum:
    """A size at the same compute as an optimum, `times` as large, and the share of the compute it wastes."""

    times: float
    parameters: float
    tokens: float
    wasted: float


def off_optimum(law: Law, flops: float) -> list[OffOptimum]:
    """Return what smaller and larger models cost at the same compute: over- and under-training."""
    best = law.optimal(flops)
    made = []
    for times in _OFF_OPTIMUM:
        parameters = times * best.parameters
        tokens = flops / (6 * parameters)
        made.append(OffOptimum(times, parameters, tokens, law.wasted(parameters, tokens)))
    return made


@dataclass(frozen=True, slots=True)
class Schedule:
    """Trainer arguments of a run: steps of so many tokens, with a warmup-stable-decay learning rate."""

    max_steps: int
    tokens_a_step: int
    num_warmup_steps: int
    num_stable_steps: int
    num_decay_steps: int

    def arguments(self) -> dict[str, object]:
        """Return them under the names of transformers' TrainingArguments."""
        return {
            "max_steps": self.max_steps,
            "lr_scheduler_type": "warmup_stable_decay",
            "warmup_steps": self.num_warmup_steps,
            "lr_scheduler_kwargs": {"num_decay_steps": self.num_decay_steps, "decay_type": "linear"},
        }


# The share of steps in which the rate falls to zero (nanochat's warmdown), and that in which it rises.
_DECAY_SHARE = 0.2
_WARMUP_SHARE = 0.01


def make_schedule(tokens: float, tokens_a_step: int) -> Schedule:
    """Return the steps for so many tokens: 1 % warmup, then constant, then linear to zero over the last 20 %.

    From two steps on, one or more decay. Raises InputError for numbers that are not above 0.
    """
    for name, value in (("tokens", tokens), ("tokens a step", tokens_a_step)):
        if not 0 < value < math.inf:
            raise InputError(f"schedule: expected {name} above 0, got {value}")
    steps = math.ceil(tokens / tokens_a_step)
    warmup = round(_WARMUP_SHARE * steps)
    decay = max(round(_DECAY_SHARE * steps), min(1, steps - 1))
    return Schedule(steps, tokens_a_step, warmup, steps - warmup - decay, decay)


def effective_tokens(tokens: float, unique_tokens: float, half_life: float = 15.387756) -> float:
    """Return what repeated tokens are worth in fresh ones: U + U R* (1 - e^(-R/R*)), R = D/U - 1.

    Muennighoff et al. 2023 (arXiv:2305.16264), equation 5; R* as in their repository. Raises InputError for
    numbers that are not above 0.
    """
    for name, value in (("tokens", tokens), ("--unique-tokens", unique_tokens), ("half_life", half_life)):
        if not 0 < value < math.inf:
            raise InputError(f"{name}: expected a number above 0, got {value}")
    if tokens <= unique_tokens:
        return tokens
    repetitions = tokens / unique_tokens - 1
    return unique_tokens * (1 + half_life * (1 - math.exp(-repetitions / half_life)))
