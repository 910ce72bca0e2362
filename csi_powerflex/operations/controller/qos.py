"""Quality of service: from wishes to the limits of mappings.

PowerFlex keeps limits with a mapping, so they are set whenever one is made, and again whenever the wish or
the volume's size changes.
"""

from __future__ import annotations

from collections.abc import Mapping

from csi_powerflex.ids import VolumeHandle
from csi_powerflex.model.array import Limits, Volume
from csi_powerflex.model.ports import Array, Fleet, Wishes
from csi_powerflex.model.qos import Wish
from csi_powerflex.observability.log import Log

log = Log(__name__)


class Quality:
    """The limits of every volume's mappings."""

    def __init__(self, fleet: Fleet, wishes: Wishes) -> None:
        self._fleet = fleet
        self._wishes = wishes

    def modify(self, handle: VolumeHandle, wish: Wish) -> None:
        """Make ``wish`` the volume's present one and apply it to every mapping there is.

        Keys that the wish does not name keep their value (specification, ControllerModifyVolume).

        Raises:
            NotFound: the volume does not exist.
        """
        array = self._fleet.array(handle.system_id)
        volume = array.volume(handle.volume_id)
        wish = self._wishes.current(handle).overridden_by(wish)
        self.apply(array, volume, wish)
        self._wishes.remember(handle, wish)

    def limits(self, volume: Volume, context: Mapping[str, str]) -> Limits:
        """The limits for a mapping of the volume, whose context holds what its class asked at its making.

        Raises:
            Unavailable: what was asked since cannot be told just now.
        """
        asked = Wish.parse(context)
        self.begin(volume.handle, asked)
        return asked.overridden_by(self._wishes.current(volume.handle)).limits_for(volume.size)

    def follow(self, handle: VolumeHandle) -> None:
        """Give every mapping the limits of the present wish, which has come to be without a call.

        Raises:
            NotFound: the volume does not exist.
        """
        array = self._fleet.array(handle.system_id)
        self.apply(array, array.volume(handle.volume_id), self._wishes.current(handle))

    def apply(self, array: Array, volume: Volume, wish: Wish) -> None:
        """Set the limits of every mapping that has others."""
        limits = wish.limits_for(volume.size)
        for mapping in volume.mappings:
            if mapping.limits != limits:
                array.limit_mapping(volume.handle.volume_id, mapping.host_id, limits)
                log.info("mapping limited", volume=volume.handle, host=mapping, limits=limits)

    def reapply(self, array: Array, volume: Volume) -> None:
        """Set the limits anew after the volume's size has changed."""
        wish = self._wishes.current(volume.handle)
        if wish.iops_per_gib or wish.bandwidth_kbps_per_gib:
            self.apply(array, volume, wish)

    def begin(self, handle: VolumeHandle, wish: Wish) -> None:
        """Keep what was asked for a volume at its making: growing or changing it later brings no context."""
        if wish:
            self._wishes.begin(handle, wish)

    def forget(self, handle: VolumeHandle) -> None:
        """The volume is gone."""
        self._wishes.forget(handle)
