"""Kubernetes Events about volumes, written in the background to the claim of the volume.

They are only information. A call never waits for one and never fails because of one. What cannot be written
after some attempts, or does not fit into the queue, is counted and left out.

The driver needs the permission to get PersistentVolumes and to create events. It changes no object.
"""

from __future__ import annotations

import collections
import datetime
import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from csi_powerflex.background import FIRST_PAUSE_SECONDS, Loop
from csi_powerflex.errors import AlreadyExists, DeadlineExceeded, DriverError, NotFound, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.kube import config
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.model.notices import Notice
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log

log = Log(__name__)

VOLUMES = "/api/v1/persistentvolumes"
# Events of objects without a namespace are in this one (Kubernetes, client-go tools/record).
_NO_NAMESPACE = "default"

_NAME = "events"
_IDLE_SECONDS = 3600.0
# At most five events a second, and no event of a volume again within ten minutes.
_PAUSE_SECONDS = 0.2
_QUIET_SECONDS = 600.0
_MAX_WAITING = 256
_MAX_TOLD = 4096
_MAX_ATTEMPTS = 5
_RETRY_SECONDS = 10.0
_STOP_SECONDS = 1.0
# The API refuses a message of more than 1024 bytes, and a name of more than 253.
_MAX_MESSAGE_BYTES = 1024
_MAX_OBJECT_NAME = 200

_WARNINGS = frozenset({Notice.HOST_NOT_CONNECTED, Notice.LIMITS_NOT_APPLIED, Notice.VOLUME_MOVE_PAUSED})


class ClaimReference(msgspec.Struct, frozen=True):
    """The claim that a PersistentVolume is bound to."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class VolumeSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The ``spec`` of a PersistentVolume."""

    claim_ref: ClaimReference | None = None


class VolumeStatus(msgspec.Struct, frozen=True):
    """The ``status`` of a PersistentVolume."""

    phase: str = ""


class ClaimedVolume(KubeObject, frozen=True):
    """The fields of a PersistentVolume that are read."""

    spec: VolumeSpec = VolumeSpec()
    status: VolumeStatus = VolumeStatus()


# msgspec crashes if two threads are the first to decode a type. Here only one thread runs.
msgspec.json.Decoder(ClaimedVolume)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An event that is not written yet."""

    handle: str
    notice: Notice
    text: str
    at: datetime.datetime
    attempts: int = _MAX_ATTEMPTS

    def repeated(self) -> _Waiting:
        return _Waiting(self.handle, self.notice, self.text, self.at, self.attempts - 1)


class KubernetesEvents:
    """Notices as Kubernetes Events. Call ``start`` before use and ``close`` at the end.

    Args:
        driver_name: the driver's CSI name, the source of the events.
        client: how to reach the cluster.
        name_of: the name of the PersistentVolume with a handle, as far as it is known without a request.
        pause: seconds between two events.
        retry_seconds: the pause after the API did not answer.
        first_pause: as for ``Loop``.
    """

    def __init__(
        self,
        driver_name: str,
        client: Client,
        name_of: Callable[[str], str | None],
        *,
        pause: float = _PAUSE_SECONDS,
        retry_seconds: float = _RETRY_SECONDS,
        first_pause: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._driver = driver_name
        self._client = client
        self._name_of = name_of
        self._pause = pause
        self._retry_seconds = retry_seconds
        self._lock = threading.Lock()
        self._waiting: collections.deque[_Waiting] = collections.deque()
        # When each notice was told last, the latest at the end, as values of time.monotonic().
        self._told: collections.OrderedDict[tuple[str, Notice], float] = collections.OrderedDict()
        self._error: type[DriverError] | None = None
        # The next event is not written before this value of time.monotonic().
        self._not_before = 0.0
        self._loop = Loop(_NAME, self._step, first_pause=first_pause)

    def start(self) -> None:
        """Begin to write."""
        self._loop.start()

    def close(self) -> None:
        """Write no further event. One that is being written may be left behind."""
        self._loop.stop(_STOP_SECONDS)
        self._client.close()

    def tell(self, handle: VolumeHandle, notice: Notice, text: str) -> None:
        """See ``Notices.tell``. The same notice of a volume is told once in ten minutes."""
        now = time.monotonic()
        with self._lock:
            last = self._told.get((str(handle), notice))
            if last is not None and now - last < _QUIET_SECONDS:
                return
            full = len(self._waiting) >= _MAX_WAITING
            if not full:
                self._remember(str(handle), notice, now)
                at = datetime.datetime.now(datetime.UTC)
                self._waiting.append(_Waiting(str(handle), notice, text, at))
        if full:
            metrics.EVENTS.labels("dropped").inc()
            return
        self._loop.wake()

    def _remember(self, handle: str, notice: Notice, now: float) -> None:
        """Remember when a notice was told. Needs the lock."""
        self._told[handle, notice] = now
        self._told.move_to_end((handle, notice))
        if len(self._told) > _MAX_TOLD:
            self._told.popitem(last=False)

    def _step(self) -> float:
        """Write one event. Returns the seconds until the next one."""
        now = time.monotonic()
        if now < self._not_before:
            return self._not_before - now
        with self._lock:
            if not self._waiting:
                return _IDLE_SECONDS
            item = self._waiting.popleft()
        self._not_before = now + self._write_one(item)
        return self._not_before - now

    def _write_one(self, item: _Waiting) -> float:
        """Write an event, or put it back. Returns the seconds until the next attempt."""
        result = "failed"
        try:
            self._write(item)
            result = "written"
        except DriverError as error:
            self._report(item, error)
            if isinstance(error, Unavailable | DeadlineExceeded) and item.attempts > 1:
                result = "repeated"
                with self._lock:
                    self._waiting.appendleft(item.repeated())
                return self._retry_seconds
        finally:
            metrics.EVENTS.labels(result).inc()
        return self._pause

    def _write(self, item: _Waiting) -> None:
        """Write the event to the claim of the volume, or to the PersistentVolume where no claim has it.

        Raises:
            NotFound: the volume has no PersistentVolume.
            DriverError: as ``Client.get`` and ``Client.create``.
        """
        name = self._name_of(item.handle)
        if name is None:
            raise NotFound(f"no PersistentVolume has the handle {item.handle}")
        volume = self._client.get(VOLUMES, name, ClaimedVolume)
        namespace, event = _event(item, volume, self._driver)
        try:
            self._client.create(f"/api/v1/namespaces/{namespace}/events", event)
        except AlreadyExists:
            # The answer of an earlier attempt was lost, or another controller has written the same event.
            log.debug("event exists", volume=item.handle, event_reason=item.notice)
        self._error = None

    def _report(self, item: _Waiting, error: DriverError) -> None:
        """Log the first of several failures of a kind."""
        if type(error) is not self._error:
            log.warning("event not written", volume=item.handle, event_reason=item.notice, reason=error)
        self._error = type(error)


def _event(item: _Waiting, volume: ClaimedVolume, driver_name: str) -> tuple[str, Mapping[str, object]]:
    """The namespace, and the Event as the API takes it (Kubernetes reference, "Event v1 core").

    Its name depends on what it says and on the time in steps of ten minutes. So a repeated attempt, and
    another controller that has the same to say, do not write it twice.
    """
    claim = volume.spec.claim_ref
    if claim is not None and claim.name and volume.status.phase in ("", "Bound"):
        about = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.namespace}
        about |= {"name": claim.name, "uid": claim.uid}
    else:
        about = {"apiVersion": "v1", "kind": "PersistentVolume", "name": volume.metadata.name}
        about |= {"uid": volume.metadata.uid}
    step = int(item.at.timestamp() // _QUIET_SECONDS)
    content = "\0".join((about["uid"], item.notice, item.text, str(step)))
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    at = item.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    namespace = about.get("namespace", _NO_NAMESPACE)
    return namespace, {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{about['name'][:_MAX_OBJECT_NAME].rstrip('-.')}.{digest}",
            "namespace": namespace,
        },
        "involvedObject": about,
        "reason": str(item.notice),
        "message": item.text.encode()[:_MAX_MESSAGE_BYTES].decode(errors="ignore"),
        "type": "Warning" if item.notice in _WARNINGS else "Normal",
        "source": {"component": driver_name},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def connect(
    driver_name: str, kubeconfig: Path | None, name_of: Callable[[str], str | None]
) -> KubernetesEvents:
    """Events in the cluster of ``kubeconfig``, or in the one of this pod if it is None.

    Raises:
        FailedPrecondition: there is no usable configuration.
    """
    return KubernetesEvents(driver_name, Client(config.load(kubeconfig)), name_of)
