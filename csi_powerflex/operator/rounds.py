"""Rounds: each reads one object, lets its work do one step, and writes what came of it.

A status is written only to the version of the object that was read. If the object has changed meanwhile, the
round is repeated with the changed object. So each step must be repeatable. A step that must be in the status
before it has an effect writes the status with ``Save`` first.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from csi_powerflex import call_context
from csi_powerflex.errors import AlreadyExists, DriverError, NotFound
from csi_powerflex.kube.client import Client
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log
from csi_powerflex.operator.api import FINALIZER, Key, Resource, Status, shortened
from csi_powerflex.operator.happenings import Happenings
from csi_powerflex.operator.work import NOW, Change, Work

log = Log(__name__)

_ROUND_SECONDS = 300.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


class Rounds:
    """Leads the objects of several resources. Threads may lead different objects at the same time.

    Args:
        client: how to reach the cluster.
        works: the work of each resource.
        happenings: writes Events.
    """

    def __init__(self, client: Client, works: Sequence[Work[Any, Any]], happenings: Happenings) -> None:
        self._client = client
        self._works = {work.definition.plural: work for work in works}
        for work in works:
            # msgspec crashes if two threads are the first to decode a type.
            msgspec.json.Decoder(work.kind)
        self._happenings = happenings
        self._lock = threading.Lock()
        self._failures: dict[Key, int] = {}
        self._phases: dict[Key, str] = {}

    @property
    def works(self) -> Sequence[Work[Any, Any]]:
        """The work of each resource."""
        return tuple(self._works.values())

    def lead(self, key: Key) -> float | None:
        """One round. Returns the seconds until the next one, or None if the object does not exist any more.

        It never raises: an error is logged and counted, and the round is repeated after a pause.
        """
        with call_context.background(f"operator {key.plural}", _ROUND_SECONDS):
            try:
                pause = self._round(key)
            except _Changed:
                metrics.OPERATOR_ROUNDS.labels(key.plural, "repeated").inc()
                return NOW
            except DriverError as error:
                return self._failed(key, error)
            except Exception as error:  # noqa: BLE001 - one object must not end the work on the others
                log.unexpected("round failed", error, object=f"{key.namespace}/{key.name}")
                return self._failed(key, error)
        self._failures.pop(key, None)
        metrics.OPERATOR_ROUNDS.labels(key.plural, "done").inc()
        return pause

    def _failed(self, key: Key, error: Exception) -> float:
        metrics.OPERATOR_ROUNDS.labels(key.plural, "failed").inc()
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        if failures == 1:
            name = f"{key.namespace}/{key.name}"
            log.warning("round failed, it is repeated", resource=key.plural, object=name, reason=error)
        return float(min(_FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 32), _LONGEST_PAUSE_SECONDS))

    def _round(self, key: Key) -> float | None:
        work = self._works[key.plural]
        one = _One(self._client, work, key)
        try:
            found = one.read()
        except NotFound:
            self._forget(key)
            return None
        change: Change[Any] = work.advance(found, one.save)
        one.write(change)
        for happening in change.happenings:
            self._happenings.tell(work.definition, found, happening)
        self._count(key, change.status.phase)
        return change.pause

    def _forget(self, key: Key) -> None:
        self._failures.pop(key, None)
        self._count(key, "")

    def _count(self, key: Key, phase: str) -> None:
        """Keep how many objects of the resource are in which phase; an empty one is that of no object."""
        with self._lock:
            before = self._phases.pop(key, "")
            if phase:
                self._phases[key] = phase
            if before:
                metrics.OPERATOR_OBJECTS.labels(key.plural, metrics.label_value(before)).dec()
            if phase:
                metrics.OPERATOR_OBJECTS.labels(key.plural, metrics.label_value(phase)).inc()


class _Changed(Exception):
    """Someone changed the object since the round read it."""


class _One:
    """One object during a round."""

    def __init__(self, client: Client, work: Work[Any, Any], key: Key) -> None:
        self._client = client
        self._work = work
        self._key = key
        self._path = work.definition.path(key.namespace)
        self._found: Resource = Resource()

    def read(self) -> Resource:
        """The object as it is now. Raises NotFound: it does not exist."""
        self._found = self._client.get(self._path, self._key.name, self._work.kind)
        return self._found

    def save(self, status: Status) -> None:
        """See ``work.Save``."""
        if self._write_status(status):
            self.read()

    def write(self, change: Change[Any]) -> None:
        """Write the status, and add or remove the finalizer."""
        if change.finalizer is True and FINALIZER not in self._found.metadata.finalizers:
            self._set_finalizers((*self._found.metadata.finalizers, FINALIZER))
            self.read()
        self._write_status(change.status)
        if change.finalizer is False and FINALIZER in self._found.metadata.finalizers:
            self.read()
            self._set_finalizers(tuple(name for name in self._found.metadata.finalizers if name != FINALIZER))

    def _set_finalizers(self, names: Sequence[str]) -> None:
        self._patch({"finalizers": list(names)}, {})

    def _write_status(self, status: Status) -> bool:
        """Write the status if it differs. Returns whether it did."""
        status = msgspec.structs.replace(
            status,
            message=shortened(status.message),
            observed_generation=self._found.metadata.generation,
        )
        changed = difference(msgspec.to_builtins(self._found.status), msgspec.to_builtins(status))
        if not changed:
            return False
        self._patch({}, {"status": changed}, subresource="status")
        return True

    def _patch(
        self, metadata: Mapping[str, object], content: Mapping[str, object], *, subresource: str = ""
    ) -> None:
        """Change the version of the object that was read. Raises _Changed: it has another version by now."""
        version = {"resourceVersion": self._found.metadata.resource_version}
        changed = {"metadata": {**metadata, **version}, **content}
        try:
            self._client.patch(self._path, self._key.name, changed, subresource=subresource)
        except AlreadyExists as error:
            raise _Changed from error


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch (RFC 7386) that makes ``after`` of ``before``."""
    changed: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        old = before.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            if inner := difference(old, value):
                changed[name] = inner
        elif value != old:
            changed[name] = value
    return changed
