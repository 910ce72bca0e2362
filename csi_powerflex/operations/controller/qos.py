"""Quality of service: from the limits that were asked for to the limits of mappings.

PowerFlex keeps limits with a mapping. So they are set whenever a volume is mapped, and again whenever the
requested limits or the volume's size change.
"""

from __future__ import annotations

import contextlib

from csi_powerflex.ids import InitiatorKind, VolumeHandle
from csi_powerflex.model.array import Limits, Mapping, NotMapped, Volume
from csi_powerflex.model.ports import Array, Fleet, QosStore
from csi_powerflex.model.qos import QosRequest
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
        """
        requested = self._store.current(volume.handle).merged_with(requested)
        self._apply(array, volume, requested)
        self._store.set(volume.handle, requested)

    def limits_for(self, volume: Volume, initial: QosRequest) -> Limits:
        """The limits for a mapping of the volume.

        Args:
            volume: its size counts for limits per GiB.
            initial: what its StorageClass asked for.

        Raises:
            Unavailable: what was asked for later is not known now.
        """
        return initial.merged_with(self._store.current(volume.handle)).limits_for(volume.size)

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
        if requested.iops_per_gib or requested.bandwidth_kbps_per_gib:
            self._apply(array, volume, requested)

    def _apply(self, array: Array, volume: Volume, requested: QosRequest) -> None:
        limits = requested.limits_for(volume.size)
        # If the array has no limits for a kind of host, nothing is changed for the other kind.
        mappings = sorted(volume.mappings, key=lambda mapping: mapping.host_kind is InitiatorKind.SDC)
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
