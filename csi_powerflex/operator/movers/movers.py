"""Starting a data mover, looking at it, and ending it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from csi_powerflex.config.operator import MoverSettings
from csi_powerflex.errors import DriverError
from csi_powerflex.model.mover import Exit, Outcome, UnreadableMessage, read_outcome
from csi_powerflex.operator.api import Progress
from csi_powerflex.operator.movers.job import MOVER_LABEL, MoverJob, jobs, manifest, policies, policy
from csi_powerflex.operator.owned import OWNER_LABEL, Owned, Whole

_MAX_WORDS = 500


@dataclass(frozen=True, slots=True)
class Running:
    """A mover that has not ended.

    Attributes:
        words: what it does or waits for.
        progress: how far it is; None if it is not known.
    """

    words: str
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A mover that has failed, and is not repeated.

    Attributes:
        failure: why.
    """

    failure: str


class _Line(msgspec.Struct):
    """A line of progress (``model.mover.Progress``)."""

    phase: str = ""
    bytes: int = 0
    total: int | None = None
    speed: int = 0
    percent: int | None = None


@dataclass(frozen=True, slots=True)
class Movers:
    """The movers of one object.

    Attributes:
        owned: makes their objects.
        settings: what all movers have.
    """

    owned: Owned
    settings: MoverSettings

    def lead(self, job: MoverJob) -> Running | Failed | Outcome:
        """Start the mover if it does not exist, and look at it. An Outcome says that it is done.

        Raises:
            DriverError: the cluster does not answer, or refuses the Job.
        """
        path = jobs(self.owned.namespace)
        self.owned.ensure(policies(self.owned.namespace), policy(job))
        found = self.owned.ensure(path, manifest(job, self.settings, {OWNER_LABEL: self.owned.uid}))
        pods = self._pods(job.name)
        if _has(found, "Complete"):
            return _completed(pods)
        if _has(found, "Failed"):
            return _failed(found, pods)
        return self._running(pods)

    def end(self, name: str) -> bool:
        """Begin to end a mover. Returns whether the Job and all its pods are removed: no device is open."""
        ended = self.owned.remove(jobs(self.owned.namespace), name)
        ended = self.owned.remove(policies(self.owned.namespace), name) and ended
        return ended and not self._pods(name)

    def _pods(self, name: str) -> Sequence[Whole]:
        """The pods of the Job, the latest last."""
        path = f"/api/v1/namespaces/{self.owned.namespace}/pods"
        labels = f"{OWNER_LABEL}={self.owned.uid},{MOVER_LABEL}={name}"
        found = self.owned.client.list(path, Whole, labels=labels).items
        return sorted(found, key=lambda pod: str(pod.metadata.creation_timestamp))

    def _running(self, pods: Sequence[Whole]) -> Running:
        if not pods:
            return Running("waits for a pod of the Job")
        pod = pods[-1]
        if pod.phase == "Failed":
            outcome = _outcome(pod)
            why = outcome.message if outcome is not None else "it left no outcome"
            return Running(f"pod {pod.metadata.name} failed, and another one is started: {why}")
        if pod.phase != "Running":
            return Running(f"pod {pod.metadata.name} is {pod.phase or 'new'}{_why(pod)}")
        return _progress(self._last_line(pod)) or Running(f"pod {pod.metadata.name} runs")

    def _last_line(self, pod: Whole) -> str:
        """What the mover has written last; empty if it cannot be read, because it is only information."""
        try:
            text = self.owned.client.last_lines(self.owned.namespace, pod.metadata.name, many=1)
        except DriverError:
            return ""
        return text.strip()


def _has(job: Whole, kind: str) -> bool:
    return any(item.get("type") == kind and item.get("status") == "True" for item in _conditions(job))


def _conditions(item: Whole) -> Sequence[dict[str, Any]]:
    return item.status.get("conditions") or ()


def _completed(pods: Sequence[Whole]) -> Failed | Outcome:
    outcomes = [outcome for pod in pods if (outcome := _outcome(pod)) is not None]
    done = next((outcome for outcome in reversed(outcomes) if outcome.exit is Exit.DONE), None)
    return done or Failed("the mover has ended, but left no outcome, so its result is not used")


def _failed(job: Whole, pods: Sequence[Whole]) -> Failed:
    outcome = next((outcome for pod in reversed(pods) if (outcome := _outcome(pod)) is not None), None)
    if outcome is not None and outcome.exit is not Exit.DONE:
        return Failed(outcome.message)
    reason = next((item.get("message") for item in _conditions(job) if item.get("type") == "Failed"), None)
    return Failed(f"the mover failed: {reason or 'its Job gives no reason'}")


def _outcome(pod: Whole) -> Outcome | None:
    for state in _states(pod):
        ended = state.get("terminated")
        if ended:
            try:
                return read_outcome(ended.get("message") or "")
            except UnreadableMessage:
                return None
    return None


def _why(pod: Whole) -> str:
    """Why a pod has not started, as far as it says so."""
    waiting = [state["waiting"] for state in _states(pod) if state.get("waiting")]
    words = [f"{item.get('reason', '')}: {item.get('message', '')}".strip(": ") for item in waiting]
    words += [
        str(item.get("message") or "")
        for item in _conditions(pod)
        if item.get("type") == "PodScheduled" and item.get("status") == "False"
    ]
    text = "; ".join(word for word in words if word)[:_MAX_WORDS]
    return f": {text}" if text else ""


def _states(pod: Whole) -> Sequence[dict[str, Any]]:
    return [item.get("state") or {} for item in pod.status.get("containerStatuses") or ()]


def _progress(line: str) -> Running | None:
    try:
        found = msgspec.json.decode(line, type=_Line)
    except msgspec.DecodeError:
        return None
    if not found.phase:
        return None
    percent = min(max(found.percent or 0, 0), 100)
    progress = Progress(
        bytes_done=found.bytes,
        bytes_total=found.total or 0,
        percent=percent,
        bytes_per_second=found.speed,
    )
    return Running(f"{found.phase.lower()}, {percent} %", progress)
