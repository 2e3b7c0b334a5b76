"""Alerts about a training run, each with its reason and a suggestion (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Literal

import numpy as np
from scipy.stats import t as student

from hf_core_bpb.training.standard_errors import standard_error_of_change
from hf_core_bpb.types import Scored

AlertKind = Literal["non_finite", "spike", "plateau", "drift", "ratio_reached", "validation_too_small"]

_Z95 = 1.959963984540054
# Logged losses that the current level of the loss is the median of; a spike that lasts longer is the new level.
_LEVEL_LOGS = 5
# A spike is above the level by this many robust standard deviations of the last logs, and by this share of the level.
_SPIKE_LOGS = 20
_SPIKE_SIGMAS = 6.0
_SPIKE_SHARE = 0.10
# A plateau is a significantly smaller fall than this share of the loss, and perhaps no fall.
_PLATEAU_SHARE = 0.01
_FEWEST_PLATEAU_LOGS = 20


@dataclass(frozen=True, slots=True)
class Alert:
    """A problem or milestone of a training run: why it was raised, at which step, and what to try."""

    kind: AlertKind
    step: int
    reason: str
    suggestion: str


@dataclass(frozen=True, slots=True)
class _BestValidation:
    step: int
    bpb: float
    training_loss: float
    documents: Sequence[Scored]


@dataclass(slots=True)
class RunMonitor:
    """Follows a run's losses and evaluations, and raises each kind of alert once until its cause is over.

    target_ratio: the tokens per parameter to reach. active: the kinds whose cause is not over.
    """

    target_ratio: float | None = None
    active: set[AlertKind] = field(default_factory=set)
    _losses: list[float] = field(default_factory=list, init=False)
    _spike_length: int = field(default=0, init=False)
    _documents: Sequence[Scored] = field(default=(), init=False)
    _best: _BestValidation | None = field(default=None, init=False)

    def on_loss(self, step: int, loss: float, grad_norm: float | None = None) -> list[Alert]:
        """Check a logged training loss, and the gradient norm if it is known."""
        non_finite = _non_finite_loss(step, loss, grad_norm)
        alerts = self._update("non_finite", non_finite)
        if non_finite is not None:
            return alerts
        spike = self._spike(step, loss)
        alerts += self._update("spike", spike)
        self._spike_length = 0 if spike is None else self._spike_length + 1
        if 0 < self._spike_length <= _LEVEL_LOGS:
            # Not part of what later losses are compared with, unless it lasts.
            return alerts
        self._losses.append(loss)
        return alerts + self._update("plateau", self._plateau(step, loss))

    def on_validation(self, step: int, documents: Sequence[Scored]) -> list[Alert]:
        """Check an evaluation: the sums of each validation document, in the same order every time."""
        alerts: list[Alert] = []
        if len(self._documents) == len(documents) > 1:
            alerts = self._update("validation_too_small", self._insignificant_change(step, documents))
        self._documents = list(documents)
        return alerts + self._update("drift", self._drift(step, documents))

    def on_ratio(self, step: int, ratio: float, convention: str) -> list[Alert]:
        """Check the tokens per parameter so far."""
        reached: Alert | None = None
        if self.target_ratio is not None and ratio >= self.target_ratio:
            reached = Alert(
                "ratio_reached",
                step,
                f"{ratio:.2f} tokens per parameter ({convention}), the target is {self.target_ratio}",
                "decay the learning rate and stop, or continue with diminishing returns",
            )
        return self._update("ratio_reached", reached)

    def on_evaluation_error(self, step: int, reason: str | None) -> list[Alert]:
        """Check whether an evaluation gave finite numbers: the reason if it did not, None if it did."""
        failed: Alert | None = None
        if reason is not None:
            failed = Alert("non_finite", step, reason, "stop, and restart from an earlier checkpoint")
        return self._update("non_finite", failed)

    def _update(self, kind: AlertKind, alert: Alert | None) -> list[Alert]:
        """Return the alert if its kind is not active yet; None ends the kind."""
        if alert is None:
            self.active.discard(kind)
            return []
        if kind in self.active:
            return []
        self.active.add(kind)
        return [alert]

    def _spike(self, step: int, loss: float) -> Alert | None:
        recent = self._losses[-_SPIKE_LOGS:]
        if len(recent) < _LEVEL_LOGS:
            return None
        level = median(recent[-_LEVEL_LOGS:])
        # From differences of neighbours, so that a steady fall does not count as spread.
        sigma = 1.4826 * median(abs(b - a) for a, b in pairwise(recent))
        if loss <= level + max(_SPIKE_SIGMAS * sigma, _SPIKE_SHARE * abs(level)):
            return None
        return Alert(
            "spike",
            step,
            f"the loss is {loss:.4g}, the median of the last {_LEVEL_LOGS} logs is {level:.4g}",
            "inspect the batches of these steps; if the loss does not recover, restart from an earlier checkpoint",
        )

    def _plateau(self, step: int, loss: float) -> Alert | None:
        low, high, count = self._recent_change()
        if high < 0:
            return None
        # An active plateau ends only with a significant fall.
        if low <= -_PLATEAU_SHARE * loss and "plateau" not in self.active:
            return None
        return Alert(
            "plateau",
            step,
            f"the loss does not fall significantly: it changed by {low:+.2g} to {high:+.2g} (95% interval) "
            f"over the last {count} logs",
            "decay the learning rate if the run is near its end; otherwise raise it, or check the data",
        )

    def _recent_change(self) -> tuple[float, float, int]:
        """Return the 95% interval of the loss's change over the last third of its logs, and their number."""
        count = max(_FEWEST_PLATEAU_LOGS, len(self._losses) // 3)
        if len(self._losses) < count:
            return -math.inf, math.inf, count
        y = np.asarray(self._losses[-count:])
        x = np.arange(count) - (count - 1) / 2
        slope = float((x * y).sum() / (x**2).sum())
        residuals = y - y.mean() - slope * x
        error = math.sqrt(float((residuals**2).sum()) / (count - 2) / float((x**2).sum()))
        reach = float(student.ppf(0.975, count - 2)) * error
        return count * (slope - reach), count * (slope + reach), count

    def _insignificant_change(self, step: int, documents: Sequence[Scored]) -> Alert | None:
        change = _bits_per_byte(documents) - _bits_per_byte(self._documents)
        error = standard_error_of_change(self._documents, documents)
        if not 0 < abs(change) < _Z95 * error:
            return None
        return Alert(
            "validation_too_small",
            step,
            f"bpb changed by {change:+.4f}, which is not significant: "
            f"its standard error over {len(documents)} documents is {error:.4f}",
            "validate on more documents, or compare evaluations that are further apart",
        )

    def _drift(self, step: int, documents: Sequence[Scored]) -> Alert | None:
        recent = self._losses[-_LEVEL_LOGS:]
        training_loss = sum(recent) / len(recent) if recent else math.nan
        bpb, best = _bits_per_byte(documents), self._best
        if best is None or len(best.documents) != len(documents) or bpb <= best.bpb:
            self._best = _BestValidation(step, bpb, training_loss, list(documents))
            return None
        error = standard_error_of_change(best.documents, documents) if len(documents) > 1 else math.nan
        # False also without a standard error or a training loss.
        if not (bpb - best.bpb > _Z95 * error and training_loss < best.training_loss):
            return None
        return Alert(
            "drift",
            step,
            f"validation bpb is {bpb:.4f}, {bpb - best.bpb:.4f} above that of step {best.step} (standard error "
            f"{error:.4f}), while the training loss fell from {best.training_loss:.4g} to {training_loss:.4g}",
            "stop, or train on more unique text: the model overfits",
        )


def _non_finite_loss(step: int, loss: float, grad_norm: float | None) -> Alert | None:
    # Trainer's logging_nan_inf_filter logs a loss that is not finite as exactly 0.0.
    if math.isfinite(loss) and loss != 0.0 and (grad_norm is None or math.isfinite(grad_norm)):
        return None
    return Alert(
        "non_finite",
        step,
        f"loss {loss:g}, gradient norm {grad_norm if grad_norm is not None else 'unknown'} "
        "(Trainer logs a loss of NaN as exactly 0)",
        "lower the learning rate, clip gradients, train in bfloat16 instead of float16, inspect the last batch",
    )


def _bits_per_byte(documents: Sequence[Scored]) -> float:
    return sum(documents, Scored()).bits_per_byte
