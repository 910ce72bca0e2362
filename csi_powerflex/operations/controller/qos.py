"""Quality of service: from wishes to the limits of mappings.

PowerFlex keeps limits with a mapping, so they are set whenever one is made, and again whenever the wish or
the volume's size changes.
"""

from __future__ import annotations

from collections.abc import Mapping

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Limits, Volume
from csi_powerflex.model.ports import Array, Fleet, QosStore
from csi_powerflex.model.qos import QosRequest
from csi_powerflex.observability.log import Log

log = Log(__name__)


class Qos:
    """The limits of every volume's mappings."""

    def __init__(self, fleet: Fleet, qos_store: QosStore) -> None:
        self._fleet = fleet
        self._qos_store = qos_store

    def modify(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """Make ``wish`` the volume's present one and apply it to every mapping there is.

        Keys that the wish does not name keep their value (specification, ControllerModifyVolume).

        Raises:
            NotFound: the volume does not exist.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        qos_request = self._qos_store.current(handle).merged_with(qos_request)
        self.apply(array, volume, qos_request)
        self._qos_store.remember(handle, qos_request)

    def limits(self, volume: Volume, context: Mapping[str, str]) -> Limits:
        """The limits for a mapping of the volume, whose context holds what its class asked at its making.

        Raises:
            Unavailable: what was asked since cannot be told just now.
        """
        asked = QosRequest.parse(context)
        self.begin(volume.handle, asked)
        return asked.merged_with(self._qos_store.current(volume.handle)).limits_for(volume.size)

    def follow(self, handle: VolumeHandle) -> None:
        """Give every mapping the limits of the present wish, which has come to be without a call.

        Raises:
            NotFound: the volume does not exist.
        """
        array = self._fleet.array(handle.system_id)
        self.apply(array, array.volume(handle.volume_id), self._qos_store.current(handle))

    def apply(self, array: Array, volume: Volume, qos_request: QosRequest) -> None:
        """Set the limits of every mapping that has others."""
        limits = qos_request.limits_for(volume.size)
        for mapping in volume.mappings:
            if mapping.limits != limits:
                array.limit_mapping(volume.handle.volume_id, mapping.host_id, limits)
                log.info("mapping limited", volume=volume.handle, host=mapping, limits=limits)

    def reapply(self, array: Array, volume: Volume) -> None:
        """Set the limits anew after the volume's size has changed."""
        qos_request = self._qos_store.current(volume.handle)
        if qos_request.iops_per_gib or qos_request.bandwidth_kbps_per_gib:
            self.apply(array, volume, qos_request)

    def begin(self, handle: VolumeHandle, qos_request: QosRequest) -> None:
        """Keep what was asked for a volume at its making: growing or changing it later brings no context."""
        if qos_request:
            self._qos_store.begin(handle, qos_request)

    def forget(self, handle: VolumeHandle) -> None:
        """The volume is gone."""
        self._qos_store.forget(handle)
