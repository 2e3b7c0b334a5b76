"""Finished training runs, and whether a law can be fitted to them (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass

from hf_core_bpb.errors import InputError

FEWEST_RUNS = 6


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training run; loss in nats a token or bits a byte; unique_tokens where text was repeated."""

    parameters: float
    tokens: float
    loss: float
    core: float | None = None
    unique_tokens: float | None = None

    @property
    def flops(self) -> float:
        """6 N D."""
        return 6 * self.parameters * self.tokens


def check_runs(runs: Sequence[Run], drop_highest: int = 0) -> None:
    """Raise InputError for runs that no law can be fitted to."""
    for number, run in enumerate(runs):
        for name in ("parameters", "tokens", "loss"):
            value = getattr(run, name)
            if not 1e-9 < value < 1e40:
                raise InputError(f"runs, number {number}: expected {name} above 0 and below 1e40, got {value}")
    if not 0 <= drop_highest <= len(runs) - FEWEST_RUNS:
        raise InputError(
            f"runs: expected {FEWEST_RUNS} or more, got {len(runs)}"
            + (f" less the {drop_highest} of highest loss" if drop_highest else "")
        )
    for name in ("parameters", "tokens"):
        if len({getattr(run, name) for run in runs}) < 3:
            raise InputError(f"runs: expected 3 or more different {name}, got fewer")
