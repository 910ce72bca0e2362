"""What an operator sees of a process of the driver: its log and its metrics."""

from __future__ import annotations

import abc
import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests import leads
from tests.controller.eventually import eventually


class Observed(abc.ABC):
    """A process of the driver that logs JSON and serves metrics."""

    @abc.abstractmethod
    def log_text(self) -> str:
        """What the process has written to its log so far."""

    @abc.abstractmethod
    def metrics_text(self) -> str:
        """The metrics as the process serves them now."""

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The whole lines of the log with this event, as fields."""
        whole = self.log_text().rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels; 0 if there is none."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.metrics_text())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def is_alerted(self, alert: str, name: str, value: float, **labels: str) -> None:
        """Wait until the metric has this value. The alert is of that metric, and both are documented.

        The log gets the words that the alert tells to look for.
        """
        eventually(lambda: self.metric(name, **labels) == value)
        assert name in leads.alert(alert)
        for words in leads.words_of(alert):
            eventually(lambda event=words: self.lines(event))  # type: ignore[misc]
