"""Quality of service: from the limits that were asked for to the limits of mappings.

PowerFlex keeps limits with a mapping. So they are set whenever a volume is mapped, and again whenever the
requested limits or the volume's size change. It has no limits for NVMe hosts: a volume with limits is not
published to one, unless its class says that they may be ignored there.
"""

from __future__ import annotations

import contextlib

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.ids import InitiatorKind, VolumeHandle
from csi_powerflex.model.array import Limits, Mapping, NotMapped, Volume
from csi_powerflex.model.ports import Array, Fleet, QosStore
from csi_powerflex.model.qos import IGNORE, ON_NVME, QosRequest
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.controller.lookup import after_change

log = Log(__name__)


class Qos:
    """The limits of every volume's mappings."""

    def __init__(self, fleet: Fleet, store: QosStore) -> None:
        self._fleet = fleet
        self._store = store

    def record_initial(self, handle: VolumeHandle, requested: QosRequest) -> None:
        """Store what was asked for when the volume was created.

        Expanding or modifying it brings no context.
        """
        if requested:
            self._store.set_initial(handle, requested)

    def delete(self, handle: VolumeHandle) -> None:
        """Forget a volume that was deleted."""
        self._store.delete(handle)

    def modify(self, array: Array, volume: Volume, requested: QosRequest) -> None:
        """Store what is asked for now, and apply it to every mapping of the volume.

        Keys that the request does not name keep their value (specification, ControllerModifyVolume).

        Raises:
            FailedPrecondition: it is mapped to a host that the array cannot limit. Nothing is changed.
        """
        requested = self._store.current(volume.handle).merged_with(requested)
        _require_possible(array, volume, requested)
        self._apply(array, volume, requested)
        self._store.set(volume.handle, requested)

    def requested_for(self, handle: VolumeHandle, initial: QosRequest) -> QosRequest:
        """What is asked for the volume now.

        Args:
            handle: the volume.
            initial: what its StorageClass asked for.

        Raises:
            Unavailable: what was asked for later is not known now.
        """
        return initial.merged_with(self._store.current(handle))

    def apply_current(self, handle: VolumeHandle) -> None:
        """Give every mapping of the volume the limits that are asked for now.

        Raises:
            NotFound: the volume does not exist.
        """
        array = self._fleet.array(handle.system_id)
        self._apply(array, array.volume(handle.volume_id), self._store.current(handle))

    def reapply_after_growth(self, array: Array, volume: Volume) -> None:
        """Set the limits again after the volume's size changed, where they depend on it."""
        requested = self._store.current(volume.handle)
        if requested.depends_on_size:
            self._apply(array, volume, requested)

    def _apply(self, array: Array, volume: Volume, requested: QosRequest) -> None:
        limits = requested.limits_for(volume.size)
        mappings = [mapping for mapping in volume.mappings if mapping.host_kind is InitiatorKind.SDC]
        with contextlib.ExitStack() as rest:
            for mapping in mappings:
                if mapping.limits != limits:
                    self._limit(array, volume, mapping, limits)
                    rest.enter_context(after_change(f"{mapping} has the new limits of {volume.handle}"))

    @staticmethod
    def _limit(array: Array, volume: Volume, mapping: Mapping, limits: Limits) -> None:
        try:
            array.limit_mapping(volume.handle.volume_id, mapping, limits)
        except NotMapped:
            # It was unmapped since the volume was read. The next mapping gets its limits when it is made.
            log.info("mapping does not exist any more", volume=volume.handle, host=mapping)
        else:
            log.info("mapping limited", volume=volume.handle, host=mapping, limits=limits)


def refusal_on_nvme(volume: Volume, requested: QosRequest) -> str | None:
    """Why the volume cannot be on an NVMe host, in words; None if its requested limits allow it."""
    limits = requested.limits_for(volume.size)
    if limits == Limits() or requested.ignored_on_nvme:
        return None
    return (
        f"its class limits it to {limits.iops} IOPS and {limits.bandwidth_kbps} KB/s (0: without limit), and "
        f"the array cannot limit an NVMe host; use a class without limits, or one with {ON_NVME}: {IGNORE}, "
        "or a node with an SDC"
    )


def _require_possible(array: Array, volume: Volume, requested: QosRequest) -> None:
    """Check that each host that the volume is mapped to can have its limits.

    Raises:
        FailedPrecondition: one cannot.
    """
    hosts = [mapping for mapping in volume.mappings if mapping.host_kind is InitiatorKind.NVME]
    refusal = refusal_on_nvme(volume, requested) if hosts else None
    if refusal is not None:
        raise FailedPrecondition(
            f"volume {volume} of system {array.label} is mapped to {', '.join(map(str, hosts))}, an NVMe "
            f"host: {refusal}"
        )
