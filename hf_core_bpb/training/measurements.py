"""Bits per byte and CORE of a training run as log values, each measured once per step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from hf_core_bpb.errors import RunError
from hf_core_bpb.evaluation.resolve import ResolvedCore
from hf_core_bpb.metrics.results import CoreResult
from hf_core_bpb.training.alerts import Alert, RunMonitor
from hf_core_bpb.training.evaluation import Evaluation
from hf_core_bpb.training.standard_errors import standard_error
from hf_core_bpb.types import Scored


@dataclass(frozen=True, slots=True)
class Measured:
    """The log values of a measurement, and the alerts that it raises."""

    values: dict[str, float]
    alerts: Sequence[Alert]


@dataclass(slots=True)
class Measurements:
    """Measures bits per byte and CORE, and keeps their history.

    curve: (step, bits per byte) of every measurement after step 0. core_results: (step, results).
    bpb_step, core_step: the step of the last measurement, None before the first.
    """

    monitor: RunMonitor
    curve: list[tuple[int, float]] = field(default_factory=list)
    core_results: list[tuple[int, CoreResult]] = field(default_factory=list)
    bpb_step: int | None = None
    core_step: int | None = None
    _bpb_values: dict[str, float] = field(default_factory=dict, init=False)

    def bpb(self, step: int, evaluation: Evaluation, *, within_evaluation: bool = False) -> Measured:
        """Return bits per byte; a second call at the same step returns the same values without alerts.

        within_evaluation: whether the Trainer itself is evaluating.
        """
        if step == self.bpb_step:
            return Measured(self._bpb_values, ())
        try:
            documents = evaluation.score_documents(within_evaluation=within_evaluation)
        except RunError as error:
            measured = self._not_finite(step, "eval_bpb", error)
        else:
            measured = self._evaluated(step, documents, evaluation)
        self.bpb_step, self._bpb_values = step, measured.values
        return measured

    def core(self, step: int, evaluation: Evaluation, core: ResolvedCore) -> Measured:
        """Return CORE and the accuracy of each task."""
        self.core_step = step
        try:
            result = evaluation.score_core(core)
        except RunError as error:
            return self._not_finite(step, "eval_core", error)
        self.core_results.append((step, result))
        return Measured(_core_values(result), ())

    def _evaluated(self, step: int, documents: Sequence[Scored], evaluation: Evaluation) -> Measured:
        alerts = self.monitor.on_evaluation_error(step, None) + self.monitor.on_validation(step, documents)
        bpb = sum(documents, Scored()).bits_per_byte
        if step > (self.curve[-1][0] if self.curve else 0):
            self.curve.append((step, bpb))
        values = {"eval_bpb": bpb}
        if len(documents) > 1:
            values["eval_bpb_standard_error"] = standard_error(documents)
        return Measured(values | evaluation.forecast(self.curve), alerts)

    def _not_finite(self, step: int, key: str, error: RunError) -> Measured:
        return Measured({key: math.nan}, self.monitor.on_evaluation_error(step, str(error)))


def _core_values(result: CoreResult) -> dict[str, float]:
    values = {"eval_core": result.core}
    if result.sample is not None:
        values["eval_core_half_width"] = result.sample.half_width
    return values | {f"eval_core/{name}": task.accuracy for name, task in result.tasks.items()}
