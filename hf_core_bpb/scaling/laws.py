"""Scaling laws by name: loss over parameters and tokens, and what compute is best spent on (pure)."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from hf_core_bpb.errors import InputError

Convention = Literal["total", "non_embedding", "matmul", "active"]

# 95 % of a normal distribution lies within so many standard errors.
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Allocation:
    """Parameters and tokens for a budget, with 95 % intervals where the law has them."""

    flops: float
    parameters: float
    tokens: float
    parameters_ci95: tuple[float, float] | None = None
    tokens_ci95: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        """Tokens per parameter."""
        return self.tokens / self.parameters

    @property
    def ratio_ci95(self) -> tuple[float, float] | None:
        """The interval of the ratio: at a given budget, more parameters are fewer tokens."""
        if self.parameters_ci95 is None:
            return None
        low, high = self.parameters_ci95
        return self.flops / (6 * high**2), self.flops / (6 * low**2)


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """The bootstrap's spread of a law's optimum: ln N* at a budget, and the exponent a of N* ~ C^a.

    Variances and covariance of the two, so that the interval at any budget follows.
    """

    flops: float
    var_log_parameters: float
    covariance: float
    var_exponent: float

    def standard_error(self, flops: float) -> float:
        """Return the standard error of ln N* at a budget."""
        away = math.log(flops / self.flops)
        variance = self.var_log_parameters + 2 * away * self.covariance + away**2 * self.var_exponent
        return math.sqrt(max(variance, 0.0))


@dataclass(frozen=True, slots=True)
class Law:
    """L(N, D) = E + A / N^alpha + B / D^beta in nats a token, with what N counts and where it comes from.

    E, A and B hold for the text and tokenizer of the source alone: allocations carry over, losses do not.
    flops_range: the budgets that it was fitted on; outside them it is extrapolated.
    """

    name: str
    E: float
    A: float
    B: float
    alpha: float
    beta: float
    convention: Convention
    source: str
    flops_range: tuple[float, float]
    uncertainty: Uncertainty | None = None

    def loss(self, parameters: Any, tokens: Any) -> Any:
        """Return the loss of a model of so many parameters after so many tokens, numbers or arrays."""
        return self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta

    @property
    def exponent(self) -> float:
        """The exponent a of N* ~ C^a: beta / (alpha + beta)."""
        return self.beta / (self.alpha + self.beta)

    @property
    def _g(self) -> float:
        return math.exp(math.log(self.alpha * self.A / (self.beta * self.B)) / (self.alpha + self.beta))

    def optimal(self, flops: float) -> Allocation:
        """Return the allocation of least loss at C = 6 N D: N* = G (C/6)^a (Hoffmann et al. 2022, equation 4)."""
        parameters = self._g * (flops / 6) ** self.exponent
        tokens = flops / (6 * parameters)
        if self.uncertainty is None:
            return Allocation(flops, parameters, tokens)
        spread = math.exp(_Z95 * self.uncertainty.standard_error(flops))
        return Allocation(
            flops, parameters, tokens, (parameters / spread, parameters * spread), (tokens / spread, tokens * spread)
        )

    def optimal_tokens(self, parameters: float) -> float:
        """Return the tokens for which a model of this size is the optimal one: N = N*(6 N D)."""
        flops = 6 * (parameters / self._g) ** (1 / self.exponent)
        return float(flops / (6 * parameters))

    def optimal_parameters(self, tokens: float) -> float:
        """Return the size for which so many tokens are the optimal number: D = D*(6 N D)."""
        flops = 6 * (tokens * self._g) ** (1 / (1 - self.exponent))
        return float(flops / (6 * tokens))

    def wasted(self, parameters: float, tokens: float) -> float:
        """Return the share of compute that the optimal allocation would have saved at the same loss.

        0 at the optimum; 0.5 where half the compute would have done.
        """
        reached = self.loss(parameters, tokens)
        spent = 6 * parameters * tokens
        low, high = math.log(spent) - 60, math.log(spent)
        for _ in range(100):
            middle = (low + high) / 2
            best = self.optimal(math.exp(middle))
            if self.loss(best.parameters, best.tokens) > reached:
                low = middle
            else:
                high = middle
        return max(0.0, 1 - math.exp(high) / spent)


@dataclass(frozen=True, slots=True)
class FixedRatio:
    """A rule of so many tokens per parameter, with what N counts and where it comes from."""

    name: str
    ratio: float
    ratio_range: tuple[float, float] | None
    convention: Convention
    source: str

    def optimal(self, flops: float) -> Allocation:
        """Return the allocation at C = 6 N D with D = ratio x N; the interval is that of the ratio."""
        parameters = math.sqrt(flops / (6 * self.ratio))
        if self.ratio_range is None:
            return Allocation(flops, parameters, flops / (6 * parameters))
        low, high = self.ratio_range
        bounds = (math.sqrt(flops / (6 * high)), math.sqrt(flops / (6 * low)))
        tokens = flops / (6 * parameters)
        return Allocation(flops, parameters, tokens, bounds, (flops / (6 * bounds[1]), flops / (6 * bounds[0])))

    def optimal_tokens(self, parameters: float) -> float:
        """Return the tokens for a model of this size."""
        return self.ratio * parameters

    def optimal_parameters(self, tokens: float) -> float:
        """Return the size for so many tokens."""
        return tokens / self.ratio


# Hoffmann et al.'s own constants are rounded so far in their paper that they contradict its other two methods (D/N of
# 92.6 at Chinchilla's budget); they are here to be compared with.
LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        Law(
            name="besiroglu-2024",
            E=1.8172,
            A=482.01,
            B=2085.43,
            alpha=0.3478,
            beta=0.3658,
            convention="total",
            source="Besiroglu et al. 2024, arXiv:2404.10102: Chinchilla's runs fitted anew",
            flops_range=(1e18, 1e22),
            # Of 2,000 bootstraps of the fit of those runs, by hf_core_bpb.scaling.fit.
            uncertainty=Uncertainty(1e21, var_log_parameters=0.00656, covariance=0.00151, var_exponent=0.000377),
        ),
        Law(
            name="hoffmann-2022",
            E=1.69,
            A=406.4,
            B=410.7,
            alpha=0.34,
            beta=0.28,
            convention="total",
            source="Hoffmann et al. 2022, arXiv:2203.15556, method 3 as printed",
            flops_range=(1e18, 1e22),
        ),
    )
}

RATIOS: dict[str, FixedRatio] = {
    rule.name: rule
    for rule in (
        FixedRatio("chinchilla-20", 20.0, None, "total", "the rule of thumb read off Hoffmann et al. 2022"),
        FixedRatio("nanochat", 10.7, (10.3, 11.2), "matmul", "nanochat, dev/LOG.md, January 2026: its own sweep"),
    )
}


def find_rule(name: str) -> Law | FixedRatio:
    """Return the law or ratio of that name. Raises InputError for a name that there is not."""
    rules = LAWS | RATIOS
    if name not in rules:
        raise InputError(f"--law: expected one of {', '.join(rules)}, got {name!r}")
    return rules[name]
