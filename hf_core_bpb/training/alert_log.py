"""Alerts on their way to the user: warnings at once, values in the next log."""

import logging
from collections.abc import Sequence

from hf_core_bpb.distributed import process_group
from hf_core_bpb.training.alerts import Alert

_LOG = logging.getLogger("hf_core_bpb")


class AlertLog:
    """Warns of alerts, and keeps their log values until the next log takes them."""

    def __init__(self) -> None:
        """Start without alerts."""
        self.alerts: list[Alert] = []
        self._unlogged: dict[str, float] = {}

    def add(self, alerts: Sequence[Alert]) -> None:
        """Warn of alerts, on the main process only."""
        for alert in alerts:
            self.alerts.append(alert)
            self._unlogged[f"alert/{alert.kind}"] = 1.0
            if process_group().is_main_process:
                _LOG.warning("step %d: %s: %s. Try: %s.", alert.step, alert.kind, alert.reason, alert.suggestion)

    def take_values(self) -> dict[str, float]:
        """Return the log values of alerts since the last call."""
        values, self._unlogged = self._unlogged, {}
        return values
