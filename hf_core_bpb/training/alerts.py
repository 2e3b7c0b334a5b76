"""What in a training run calls for attention, with the reason and what to try (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Literal

import numpy as np
from scipy.stats import t as student

from hf_core_bpb.types import Scored

Kind = Literal["non_finite", "spike", "plateau", "drift", "ratio_reached", "validation_too_small"]

_Z95 = 1.959963984540054
# A spike: so many robust standard deviations, and so large a share, above the median of the last five losses.
_WINDOW = 20
_FEWEST_FOR_SPIKE = 5
_SPIKE_SIGMAS = 6.0
_SPIKE_SHARE = 0.10
# A plateau: surely less of a fall than this share of the loss, and perhaps none.
_PLATEAU_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to look at: what was seen, at which step, and what to try."""

    kind: Kind
    step: int
    reason: str
    suggestion: str


@dataclass(frozen=True, slots=True)
class _Best:
    step: int
    bpb: float
    training_loss: float
    documents: Sequence[Scored]


@dataclass(slots=True)
class Watch:
    """Follows a run's losses and evaluations; each kind of alert is given once until it is over.

    target_ratio: tokens per parameter at which the run has what it was meant to have.
    """

    target_ratio: float | None = None
    losses: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    documents: Sequence[Scored] = ()
    best: "_Best | None" = None
    standing: set[Kind] = field(default_factory=set)
    spiked: int = 0

    def on_loss(self, step: int, loss: float, grad_norm: float | None = None) -> list[Alert]:
        """Take a logged training loss, with the gradient's norm where it is known."""
        # Trainer's logging_nan_inf_filter prints a loss that is not finite as exactly 0.0.
        broken = not math.isfinite(loss) or loss == 0.0 or (grad_norm is not None and not math.isfinite(grad_norm))
        alerts = self._once(
            "non_finite",
            broken,
            step,
            f"loss {loss:g}, gradient norm {grad_norm if grad_norm is not None else 'unknown'}: "
            "a loss of exactly 0 is what Trainer prints for NaN",
            "lower the learning rate, clip gradients, train in bfloat16 rather than float16, look at the last batch",
        )
        if broken:
            return alerts
        spike = self._is_spike(loss)
        alerts += self._once(
            "spike",
            spike,
            step,
            f"loss {loss:.4g}, the median of the last {_FEWEST_FOR_SPIKE} is "
            f"{median(self.losses[-_FEWEST_FOR_SPIKE:] or [loss]):.4g}",
            "look at the batches of these steps; if it does not come back, restart from a checkpoint before them",
        )
        self.spiked = self.spiked + 1 if spike else 0
        if 0 < self.spiked <= _FEWEST_FOR_SPIKE:
            # Left out of what follows is measured by, until it has lasted so long that it is the new level.
            return alerts
        self.losses.append(loss)
        self.steps.append(step)
        low, high, count = self._fall()
        return alerts + self._once(
            "plateau",
            # Once said, it is over where the loss surely falls again.
            high >= 0 and (low > -_PLATEAU_SHARE * loss or "plateau" in self.standing),
            step,
            f"over the last {count} logs the loss changed by {low:+.2g} to {high:+.2g} (95 %): that is no fall",
            "decay the learning rate if the run is near its end, raise it or check the data if it is not",
        )

    def on_validation(self, step: int, documents: Sequence[Scored]) -> list[Alert]:
        """Take an evaluation: the sums of each validation document, in the same order every time."""
        total = sum(documents, Scored())
        alerts: list[Alert] = []
        if len(self.documents) == len(documents) > 1:
            before = sum(self.documents, Scored()).bits_per_byte
            change = total.bits_per_byte - before
            error = standard_error_of_change(self.documents, documents)
            alerts = self._once(
                "validation_too_small",
                0 < abs(change) < _Z95 * error,
                step,
                f"bpb moved by {change:+.4f}, with a standard error of {error:.4f} over {len(documents)} documents",
                "validate on more documents, or read differences over more steps",
            )
        self.documents = list(documents)
        return alerts + self._drift(step, documents, total.bits_per_byte)

    def _drift(self, step: int, documents: Sequence[Scored], bpb: float) -> list[Alert]:
        recent = self.losses[-_FEWEST_FOR_SPIKE:]
        training = sum(recent) / len(recent) if recent else math.nan
        if self.best is None or len(self.best.documents) != len(documents) or bpb <= self.best.bpb:
            self.best = _Best(step, bpb, training, list(documents))
            return self._once("drift", False, step, "", "")
        error = standard_error_of_change(self.best.documents, documents) if len(documents) > 1 else math.nan
        return self._once(
            "drift",
            bpb - self.best.bpb > _Z95 * error and training < self.best.training_loss,
            step,
            f"validation bpb is {bpb:.4f}, {bpb - self.best.bpb:.4f} above that of step {self.best.step} "
            f"(standard error {error:.4f}), while the training loss fell from "
            f"{self.best.training_loss:.4g} to {training:.4g}",
            "stop, or train on more unique text: what is learned no longer carries over",
        )

    def on_ratio(self, step: int, ratio: float, convention: str) -> list[Alert]:
        """Take the tokens per parameter so far."""
        reached = self.target_ratio is not None and ratio >= self.target_ratio
        return self._once(
            "ratio_reached",
            reached,
            step,
            f"{ratio:.2f} tokens per parameter ({convention}), {self.target_ratio} were asked for",
            "decay the learning rate and stop, or go on knowing that returns fall",
        )

    def on_broken_evaluation(self, step: int, reason: str | None) -> list[Alert]:
        """Take why an evaluation gave no finite number, None where it gave one."""
        return self._once(
            "non_finite", reason is not None, step, reason or "", "stop, and restart from a checkpoint before it"
        )

    def _once(self, kind: Kind, seen: bool, step: int, reason: str, suggestion: str) -> list[Alert]:
        if not seen:
            self.standing.discard(kind)
            return []
        if kind in self.standing:
            return []
        self.standing.add(kind)
        return [Alert(kind, step, reason, suggestion)]

    def _is_spike(self, loss: float) -> bool:
        recent = self.losses[-_WINDOW:]
        if len(recent) < _FEWEST_FOR_SPIKE:
            return False
        # Of neighbours, so that a steady fall is no spread.
        sigma = 1.4826 * median(abs(b - a) for a, b in pairwise(recent))
        middle = median(recent[-_FEWEST_FOR_SPIKE:])
        return loss > middle + max(_SPIKE_SIGMAS * sigma, _SPIKE_SHARE * abs(middle))

    def _fall(self) -> tuple[float, float, int]:
        """Return by how much the loss changed over its last logs, a third of all, as an interval of 95 %."""
        count = max(_WINDOW, len(self.losses) // 3)
        if len(self.losses) < count:
            return -math.inf, math.inf, count
        y = np.asarray(self.losses[-count:])
        x = np.arange(count) - (count - 1) / 2
        slope = float((x * y).sum() / (x**2).sum())
        residuals = y - y.mean() - slope * x
        error = math.sqrt(float((residuals**2).sum()) / (count - 2) / float((x**2).sum()))
        reach = float(student.ppf(0.975, count - 2)) * error
        return count * (slope - reach), count * (slope + reach), count


def standard_error(documents: Sequence[Scored]) -> float:
    """Return the standard error of bpb over documents, as of a ratio of sums (nan below two documents)."""
    if len(documents) < 2:
        return math.nan
    total = sum(documents, Scored())
    nats = np.array([d.total_nats for d in documents])
    sizes = np.array([d.num_bytes for d in documents], dtype=float)
    return _ratio_error(nats - total.total_nats / total.num_bytes * sizes, total.num_bytes)


def standard_error_of_change(before: Sequence[Scored], after: Sequence[Scored]) -> float:
    """Return the standard error of the difference of two bpb of the same documents, paired by document."""
    total = sum(after, Scored()).num_bytes
    nats = np.array([b.total_nats - a.total_nats for a, b in zip(before, after, strict=True)])
    sizes = np.array([d.num_bytes for d in after], dtype=float)
    return _ratio_error(nats - nats.sum() / total * sizes, total)


def _ratio_error(deviations: np.ndarray[tuple[int], np.dtype[np.float64]], total_bytes: int) -> float:
    count = len(deviations)
    return math.sqrt(count / (count - 1) * float((deviations**2).sum())) / (math.log(2) * total_bytes)
