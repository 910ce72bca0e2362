"""The requested QoS limits as Kubernetes keeps them: in PersistentVolumes and VolumeAttributesClasses.

Both kinds are followed by list and watch, so a ControllerPublishVolume call needs no request. The driver
needs the permission to list and watch them, and changes nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from csi_powerflex import units
from csi_powerflex.errors import InvalidArgument, NotFound, Unavailable
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.kube import config
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.kube.held import HeldMeta
from csi_powerflex.kube.informer import Informer
from csi_powerflex.model.qos import (
    BANDWIDTH,
    BANDWIDTH_PER_GIB,
    IOPS,
    IOPS_PER_GIB,
    KEYS,
    NOTHING_REQUESTED,
    ON_NVME,
    QosRequest,
)
from csi_powerflex.model.snapshot_policy import DELETE_POLICY_SNAPSHOTS, NO_POLICY, SNAPSHOT_POLICY, is_none
from csi_powerflex.model.trash import DELETE_AFTER
from csi_powerflex.model.window import WINDOW, is_window
from csi_powerflex.observability.log import Log

log = Log(__name__)

VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/volumeattributesclasses"

_LIMITS = frozenset({*KEYS, ON_NVME})

# The external-resizer modifies a volume first, and names the new class in its PersistentVolume afterwards.
# Until that is seen, what the call asked for counts. While a volume moves to another pool, the call is
# repeated for hours, at least every five minutes.
_PENDING_SECONDS = 360.0


class ReadAttributes(msgspec.Struct, frozen=True):
    """The attributes of a PersistentVolume that are read: those of ``model.qos``, and what deletions need.

    A mapping of all attributes would need a third of the memory of a PersistentVolume.
    """

    iops: str | None = msgspec.field(default=None, name=IOPS)
    bandwidth: str | None = msgspec.field(default=None, name=BANDWIDTH)
    iops_per_gib: str | None = msgspec.field(default=None, name=IOPS_PER_GIB)
    bandwidth_per_gib: str | None = msgspec.field(default=None, name=BANDWIDTH_PER_GIB)
    on_nvme: str | None = msgspec.field(default=None, name=ON_NVME)
    delete_after: str | None = msgspec.field(default=None, name=DELETE_AFTER)
    snapshot_policy: str | None = msgspec.field(default=None, name=SNAPSHOT_POLICY)
    delete_policy_snapshots: str | None = msgspec.field(default=None, name=DELETE_POLICY_SNAPSHOTS)
    window: str | None = msgspec.field(default=None, name=WINDOW)

    def limits(self) -> dict[str, str]:
        """The attributes about limits that the PersistentVolume has, by their keys."""
        values = zip(self.__struct_encode_fields__, msgspec.structs.astuple(self), strict=True)
        return {key: value for key, value in values if value is not None and key in _LIMITS}


class CsiSource(msgspec.Struct, frozen=True, rename="camel"):
    """The ``spec.csi`` of a PersistentVolume."""

    driver: str = ""
    volume_handle: str = ""
    volume_attributes: ReadAttributes | None = None


class VolumeSpec(msgspec.Struct, frozen=True, rename="camel"):
    """The ``spec`` of a PersistentVolume."""

    csi: CsiSource | None = None
    volume_attributes_class_name: str | None = None


class PersistentVolume(KubeObject, frozen=True, rename="camel"):
    """The fields of a PersistentVolume that are read."""

    metadata: HeldMeta = HeldMeta()
    spec: VolumeSpec = VolumeSpec()


class VolumeAttributesClass(KubeObject, frozen=True, rename="camel"):
    """The fields of a VolumeAttributesClass that are read."""

    driver_name: str = ""
    parameters: dict[str, str] | None = None


# msgspec crashes if two threads are the first to decode a type. Here only one thread runs.
for _type in (PersistentVolume, VolumeAttributesClass):
    msgspec.json.Decoder(_type)


class _Volume(msgspec.Struct, frozen=True):
    """What a PersistentVolume requests: its StorageClass's limits, and a VolumeAttributesClass by name.

    ``hold`` is the text of the hold on the volume; empty if there is none. ``delete_after`` is in seconds;
    None as the system says. ``names_policy`` and ``deletes_policy_snapshots`` are those of ``PolicyNeeds``.
    ``window`` is whether it is a window (see ``model.window``).
    """

    class_name: str | None
    initial: QosRequest
    hold: str = ""
    delete_after: int | None = None
    names_policy: bool = False
    deletes_policy_snapshots: bool = False
    window: bool = False


class _Pending(msgspec.Struct, frozen=True):
    """What a call requested and the cluster does not show yet. ``until`` is a value of ``time.monotonic()``.

    If it is ``initial``, it counts only until the PersistentVolume is seen.
    """

    until: float
    qos_request: QosRequest
    initial: bool


class KubernetesQosStore:
    """A QosStore and the Holds for volumes of one driver. Call ``start`` before use, ``close`` at the end.

    Args:
        driver_name: the driver's CSI name. Volumes and classes of other drivers are ignored.
        client: how to reach the cluster.
        pending_seconds: how long a request counts that the cluster does not show.
    """

    def __init__(
        self, driver_name: str, client: Client, *, pending_seconds: float = _PENDING_SECONDS
    ) -> None:
        self._driver = driver_name
        self._client = client
        self._pending_seconds = pending_seconds
        self._lock = threading.Lock()
        # By handle: the name and request of each PersistentVolume, the last added one at the end. Two of one
        # handle exist while a volume is taken over by a new PersistentVolume.
        self._volumes: dict[str, tuple[tuple[str, _Volume], ...]] = {}
        self._classes: dict[str, Mapping[str, str]] = {}
        self._pending: dict[str, _Pending] = {}
        self._changed: Callable[[VolumeHandle], None] | None = None
        self._informers: tuple[Informer[PersistentVolume], Informer[VolumeAttributesClass]] = (
            Informer(client, VOLUMES, PersistentVolume, self._take_volume, relevant=self._is_own_volume),
            Informer(client, CLASSES, VolumeAttributesClass, self._take_class, relevant=self._is_own_class),
        )

    def start(self, changed: Callable[[VolumeHandle], None] | None = None) -> None:
        """Begin to follow the cluster, in threads.

        Args:
            changed: called when the cluster shows another class for a known volume.
        """
        self._changed = changed
        for informer in self._informers:
            informer.start()

    def close(self) -> None:
        """Stop following the cluster."""
        for informer in self._informers:
            informer.close()
        self._client.close()

    def current(self, handle: VolumeHandle) -> QosRequest:
        """See ``QosStore.current``.

        Raises:
            Unavailable: the cluster has not listed its volumes and classes yet, or the volume's class does
                not exist or has invalid values. A volume with wrong limits is worse than one that waits.
        """
        for informer in self._informers:
            informer.wait_until_synced()
        with self._lock:
            pending = self._pending.get(str(handle))
            volume = self._volume(str(handle))
            parameters = self._classes.get(volume.class_name) if volume and volume.class_name else {}
        if pending is not None and pending.until > time.monotonic() and not (pending.initial and volume):
            return pending.qos_request
        if volume is None:
            return QosRequest()
        if parameters is None:
            raise Unavailable(
                f"volume {handle} has the VolumeAttributesClass {volume.class_name}, which does not exist"
            )
        try:
            return volume.initial.merged_with(QosRequest.parse(parameters))
        except InvalidArgument as error:
            raise Unavailable(
                f"volume {handle} has the VolumeAttributesClass {volume.class_name}, which cannot be "
                f"used: {error}"
            ) from error

    def persistent_volume(self, handle: str) -> str | None:
        """The name of the PersistentVolume with this handle; None if the cluster has shown none yet."""
        with self._lock:
            found = self._last(handle)
        return found[0] if found else None

    def hold_on(self, handle: VolumeHandle) -> str:
        """See ``Holds.hold_on``. Each PersistentVolume with this handle may hold it.

        Raises:
            Unavailable: the cluster has not listed its volumes yet.
        """
        self._informers[0].wait_until_synced()
        with self._lock:
            known = self._volumes.get(str(handle), ())
            return next((volume.hold for _, volume in known if volume.hold), "")

    def delete_after(self, handle: VolumeHandle) -> int | None:
        """See ``VolumeNeeds.delete_after``. Of several PersistentVolumes, the longest time counts.

        Raises:
            Unavailable: the cluster has not listed its volumes yet.
        """
        self._informers[0].wait_until_synced()
        with self._lock:
            known = self._volumes.get(str(handle), ())
            stated = [volume.delete_after for _, volume in known if volume.delete_after is not None]
        return max(stated, default=None)

    def is_needed(self, handle: VolumeHandle) -> bool:
        """See ``VolumeNeeds.is_needed``.

        Raises:
            Unavailable: the cluster has not listed its volumes yet.
        """
        self._informers[0].wait_until_synced()
        return self.persistent_volume(str(handle)) is not None

    def names_policy(self, handle: VolumeHandle) -> bool:
        """See ``PolicyNeeds.names_policy``. Of several PersistentVolumes, one with a policy is enough.

        Raises:
            Unavailable: the cluster has not listed its volumes and classes yet.
        """
        for informer in self._informers:
            informer.wait_until_synced()
        with self._lock:
            known = [volume for _, volume in self._volumes.get(str(handle), ())]
            named = [self._classes.get(volume.class_name) for volume in known if volume.class_name]
        return any(volume.names_policy for volume in known) or not all(
            is_none((parameters or {}).get(SNAPSHOT_POLICY, NO_POLICY)) for parameters in named
        )

    def deletes_policy_snapshots(self, handle: VolumeHandle) -> bool:
        """See ``PolicyNeeds.deletes_policy_snapshots``. Each PersistentVolume with this handle must say so.

        Raises:
            Unavailable: the cluster has not listed its volumes yet.
        """
        self._informers[0].wait_until_synced()
        with self._lock:
            known = self._volumes.get(str(handle), ())
        owners = [volume for _, volume in known if not volume.window]
        return bool(owners) and all(volume.deletes_policy_snapshots for volume in owners)

    def set_initial(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """See ``QosStore.set_initial``. The PersistentVolume has it as soon as it exists."""
        with self._lock:
            if str(handle) not in self._volumes and str(handle) not in self._pending:
                self._keep_pending(handle, qos_request, initial=True)

    def set(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """See ``QosStore.set``. Kubernetes keeps it; it is kept here only until that is seen."""
        with self._lock:
            self._keep_pending(handle, qos_request, initial=False)

    def record_move(self, handles: Collection[VolumeHandle]) -> None:
        """See ``QosStore.record_move``. It keeps nothing: a volume that is moved has a PersistentVolume."""

    def record_policy(self, handle: VolumeHandle, *, deletes_snapshots: bool) -> None:
        """See ``QosStore.record_policy``. It keeps nothing: the classes of the volume say it."""

    def may_have_moved(self, handle: VolumeHandle) -> bool:
        """See ``QosStore.may_have_moved``: whether the volume has a PersistentVolume.

        Raises:
            Unavailable: the cluster has not listed its volumes yet.
        """
        for informer in self._informers:
            informer.wait_until_synced()
        return self.persistent_volume(str(handle)) is not None

    def delete(self, handle: VolumeHandle) -> None:
        """See ``QosStore.delete``."""
        with self._lock:
            self._pending.pop(str(handle), None)

    def _keep_pending(self, handle: VolumeHandle, qos_request: QosRequest, *, initial: bool) -> None:
        now = time.monotonic()
        self._pending = {name: item for name, item in self._pending.items() if item.until > now}
        self._pending[str(handle)] = _Pending(now + self._pending_seconds, qos_request, initial)

    def _is_own_volume(self, volume: PersistentVolume) -> bool:
        return volume.spec.csi is not None and volume.spec.csi.driver == self._driver

    def _is_own_class(self, found: VolumeAttributesClass) -> bool:
        return found.driver_name == self._driver

    def _take_volume(self, before: PersistentVolume | None, after: PersistentVolume | None) -> None:
        # The handle of a PersistentVolume does not change.
        either = after or before
        assert either is not None  # noqa: S101 - an informer reports no change without an object
        handle, name = _source(either).volume_handle, either.metadata.name
        with self._lock:
            earlier = self._volume(handle)
            known = dict(self._volumes.pop(handle, ()))
            if after is None:
                known.pop(name, None)
            else:
                known[name] = _read(after, self._driver)
            if known:
                self._volumes[handle] = tuple(known.items())
            now = self._volume(handle)
        if earlier is not None and now is not None and earlier.class_name != now.class_name:
            self._take_class_name(handle)

    def _volume(self, handle: str) -> _Volume | None:
        found = self._last(handle)
        return found[1] if found else None

    def _last(self, handle: str) -> tuple[str, _Volume] | None:
        """The PersistentVolume of the handle that was added last; None if there is none. Needs the lock.

        A window counts only where there is no other one: it has no limits of its own.
        """
        known = self._volumes.get(handle, ())
        owners = [item for item in known if not item[1].window]
        return next(reversed(owners or known), None)

    def _take_class_name(self, volume_handle: str) -> None:
        with self._lock:
            # What a call requested has reached the PersistentVolume.
            self._pending.pop(volume_handle, None)
        try:
            handle = VolumeHandle.parse(volume_handle)
        except NotFound as error:
            log.warning("PersistentVolume ignored", volume=volume_handle, reason=error)
            return
        if self._changed is not None:
            self._changed(handle)

    def _take_class(self, before: VolumeAttributesClass | None, after: VolumeAttributesClass | None) -> None:
        with self._lock:
            if after is not None:
                self._classes[after.metadata.name] = after.parameters or {}
            elif before is not None:
                self._classes.pop(before.metadata.name, None)


def _source(volume: PersistentVolume) -> CsiSource:
    return volume.spec.csi or CsiSource()


def _read(volume: PersistentVolume, driver_name: str) -> _Volume:
    attributes = _source(volume).volume_attributes or ReadAttributes()
    return _Volume(
        class_name=volume.spec.volume_attributes_class_name,
        initial=_limits(volume.metadata.name, attributes),
        hold=volume.metadata.hold(driver_name),
        delete_after=_delete_after(volume.metadata.name, attributes),
        names_policy=not is_none(attributes.snapshot_policy or NO_POLICY),
        deletes_policy_snapshots=(attributes.delete_policy_snapshots or "").lower() == "true",
        window=is_window(attributes.window),
    )


def _delete_after(name: str, attributes: ReadAttributes) -> int | None:
    """For how many seconds the volume of the PersistentVolume ``name`` is kept; None as the system says."""
    if attributes.delete_after is None:
        return None
    try:
        return units.duration(attributes.delete_after)
    except ValueError as error:
        log.warning("deleteAfter of a PersistentVolume ignored", volume=name, reason=error)
        return None


def _limits(name: str, attributes: ReadAttributes) -> QosRequest:
    """What the StorageClass of the PersistentVolume ``name`` requests; nothing if it cannot be read."""
    stated = attributes.limits()
    if not stated:
        return NOTHING_REQUESTED
    try:
        return QosRequest.parse(stated)
    except InvalidArgument as error:
        log.warning("limits of a PersistentVolume ignored", volume=name, reason=error)
        return NOTHING_REQUESTED


def connect(driver_name: str, kubeconfig: Path | None) -> KubernetesQosStore:
    """A store for the cluster of ``kubeconfig``, or for the one of this pod if it is None.

    Raises:
        FailedPrecondition: there is no usable configuration.
    """
    return KubernetesQosStore(driver_name, Client(config.load(kubeconfig)))
