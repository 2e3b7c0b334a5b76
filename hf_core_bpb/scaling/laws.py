"""The formula L(N, D) of parametric scaling laws, and published laws and ratios by name (pure)."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from hf_core_bpb.errors import InputError

Convention = Literal["total", "non_embedding", "matmul", "active"]

# 95% of a normal distribution lies within this many standard errors.
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class LossFormula:
    """L(N, D) = E + A / N^alpha + B / D^beta for N parameters and D tokens; compute is C = 6 N D."""

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def loss(self, parameters: Any, tokens: Any) -> Any:
        """Return the loss for a model size and number of training tokens; accepts numbers or arrays."""
        return self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta

    @property
    def exponent(self) -> float:
        """The exponent a of N* ~ C^a: beta / (alpha + beta)."""
        return self.beta / (self.alpha + self.beta)

    @property
    def _log_g(self) -> float:
        return math.log(self.alpha * self.A / (self.beta * self.B)) / (self.alpha + self.beta)

    def optimal_parameters(self, flops: float) -> float:
        """Return N* = G (C/6)^a, G = (alpha A / (beta B))^(1/(alpha+beta)) (Hoffmann et al. 2022, equation 4)."""
        return math.exp(self._log_g + self.exponent * math.log(flops / 6))

    def optimal_tokens(self, parameters: float) -> float:
        """Return the tokens D for which this size is compute-optimal: N = N*(6 N D)."""
        flops = 6 * (parameters / math.exp(self._log_g)) ** (1 / self.exponent)
        return float(flops / (6 * parameters))

    def optimal_parameters_for_tokens(self, tokens: float) -> float:
        """Return the size N for which this many tokens are compute-optimal: D = D*(6 N D)."""
        flops = 6 * (tokens * math.exp(self._log_g)) ** (1 / (1 - self.exponent))
        return float(flops / (6 * tokens))

    def wasted(self, parameters: float, tokens: float) -> float:
        """Return the share of compute that the optimal allocation saves at the same loss.

        0 at the optimum; 0.5 where half the compute reaches the same loss.
        """
        target = self.loss(parameters, tokens)
        spent = 6 * parameters * tokens
        low, high = math.log(spent) - 60, math.log(spent)
        for _ in range(100):
            middle = (low + high) / 2
            flops = math.exp(middle)
            best = self.optimal_parameters(flops)
            if self.loss(best, flops / (6 * best)) > target:
                low = middle
            else:
                high = middle
        return max(0.0, 1 - math.exp(high) / spent)


@dataclass(frozen=True, slots=True)
class Allocation:
    """The optimal parameters and tokens for a compute budget, with 95% intervals where they are known."""

    flops: float
    parameters: float
    tokens: float
    parameters_ci95: tuple[float, float] | None = None
    tokens_ci95: tuple[float, float] | None = None

    @property
    def ratio(self) -> float:
        """Tokens per parameter."""
        return self.flops / (6 * self.parameters**2)

    @property
    def ratio_ci95(self) -> tuple[float, float] | None:
        """The interval of the ratio: at a fixed budget, more parameters mean fewer tokens."""
        if self.parameters_ci95 is None:
            return None
        low, high = self.parameters_ci95
        return self.flops / (6 * high**2), self.flops / (6 * low**2)


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Bootstrap variances and covariance of ln N* at one budget and of the exponent a of N* ~ C^a.

    They determine the interval of N* at every budget.
    """

    flops: float
    var_log_parameters: float
    covariance: float
    var_exponent: float

    def standard_error(self, flops: float) -> float:
        """Return the standard error of ln N* at a budget."""
        distance = math.log(flops / self.flops)
        variance = self.var_log_parameters + 2 * distance * self.covariance + distance**2 * self.var_exponent
        return math.sqrt(max(variance, 0.0))


@dataclass(frozen=True, slots=True)
class Law(LossFormula):
    """A published law in nats per token, with the convention that counts N and its source.

    E, A and B hold only for the text and tokenizer of the source: allocations transfer, losses do not.
    flops_range: the budgets of the fitted runs; outside them the law extrapolates.
    """

    name: str
    convention: Convention
    source: str
    flops_range: tuple[float, float]
    uncertainty: Uncertainty | None = None

    def optimal(self, flops: float) -> Allocation:
        """Return the allocation of lowest loss at a budget."""
        parameters = self.optimal_parameters(flops)
        tokens = flops / (6 * parameters)
        if self.uncertainty is None:
            return Allocation(flops, parameters, tokens)
        spread = math.exp(_Z95 * self.uncertainty.standard_error(flops))
        return Allocation(
            flops, parameters, tokens, (parameters / spread, parameters * spread), (tokens / spread, tokens * spread)
        )


@dataclass(frozen=True, slots=True)
class FixedRatio:
    """A rule of a fixed number of tokens per parameter, with the convention that counts N and its source."""

    name: str
    ratio: float
    ratio_range: tuple[float, float] | None
    convention: Convention
    source: str

    def optimal(self, flops: float) -> Allocation:
        """Return the allocation at C = 6 N D with D = ratio x N; its interval follows from ratio_range."""
        parameters = math.sqrt(flops / (6 * self.ratio))
        if self.ratio_range is None:
            return Allocation(flops, parameters, flops / (6 * parameters))
        low, high = self.ratio_range
        bounds = (math.sqrt(flops / (6 * high)), math.sqrt(flops / (6 * low)))
        tokens = flops / (6 * parameters)
        return Allocation(flops, parameters, tokens, bounds, (flops / (6 * bounds[1]), flops / (6 * bounds[0])))

    def optimal_tokens(self, parameters: float) -> float:
        """Return the tokens for a model size."""
        return self.ratio * parameters

    def optimal_parameters_for_tokens(self, tokens: float) -> float:
        """Return the model size for a number of tokens."""
        return tokens / self.ratio


# Hoffmann et al. print their constants rounded so much that they contradict the paper's other two methods (D/N of 92.6
# at Chinchilla's budget); they are listed for comparison only.
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
            source="Besiroglu et al. 2024, arXiv:2404.10102: a refit of Chinchilla's runs",
            flops_range=(1e18, 1e22),
            # From 2,000 bootstraps of those runs with hf_core_bpb.scaling.fit.
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
            source="Hoffmann et al. 2022, arXiv:2203.15556, method 3 with its constants as printed",
            flops_range=(1e18, 1e22),
        ),
    )
}

RATIOS: dict[str, FixedRatio] = {
    rule.name: rule
    for rule in (
        FixedRatio("chinchilla-20", 20.0, None, "total", "rule of thumb from Hoffmann et al. 2022"),
        FixedRatio("nanochat", 10.7, (10.3, 11.2), "matmul", "nanochat's own sweep, dev/LOG.md, January 2026"),
    )
}


def find_rule(name: str) -> Law | FixedRatio:
    """Return the law or ratio with this name. Raises InputError for an unknown name."""
    rules = LAWS | RATIOS
    if name not in rules:
        raise InputError(f"`law`: expected one of {', '.join(rules)}, got {name!r}")
    return rules[name]
