"""What NodeGetInfo answers: the identity of this host, the systems that it reaches, its limit of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex import units
from csi_powerflex.config.node import VolumeLimit
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import blockdev, mountinfo
from csi_powerflex.ids import NodeIdentity
from csi_powerflex.model.transport import Transports
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.node import target_paths

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """``systems`` are ids of PowerFlex systems; ``max_volumes`` is the limit for the scheduler."""

    identity: NodeIdentity
    systems: tuple[str, ...]
    max_volumes: int


class NodeInfoReader:
    """Reads it from the host alone.

    No array and no Kubernetes API is asked, so neither can keep a node out.
    """

    def __init__(self, transports: Transports, roots: Sequence[Path], limit: VolumeLimit) -> None:
        self._transports = transports
        self._roots = roots
        self._limit = limit

    def read(self) -> NodeInfo:
        """The host as it is now.

        Raises:
            FailedPrecondition: it lacks what its transports need.
            Unavailable: they do not answer.
        """
        self._transports.prepare()
        return NodeInfo(
            identity=self._transports.identity(),
            systems=self._transports.systems(),
            max_volumes=self._max_volumes(),
        )

    def _max_volumes(self) -> int:
        """The limit, less the volumes that the host itself uses. The scheduler does not know of those."""
        possible = self._transports.max_volumes()
        limit = min(_configured(self._limit) or possible, possible)
        used = self._used_by_host()
        if used:
            log.debug("volumes are in use by the host itself", volumes=", ".join(map(str, used)), limit=limit)
        # In CSI, 0 means that there is no limit.
        return max(limit - len(used), 1)

    def _used_by_host(self) -> list[Path]:
        elsewhere = {
            mountinfo.number_behind(mount)
            for mount in mountinfo.read()
            if not target_paths.inside(mount, self._roots)
        }
        return [
            device
            for device in self._transports.devices()
            if blockdev.holders(device) or not elsewhere.isdisjoint(blockdev.numbers(device))
        ]


def _configured(limit: VolumeLimit) -> int:
    """The configured limit as it is now; 0 for none.

    Raises:
        FailedPrecondition: the file holds something else than a number.
    """
    if limit.file is None:
        return limit.number
    try:
        text = limit.file.read_text().strip()
    except FileNotFoundError:
        return limit.number
    if not text:
        return limit.number
    number = units.whole_number(text, digits=9)
    if number is None:
        raise FailedPrecondition(
            f"{limit.file} must hold the number of volumes for this node, not {text[:40]!r}"
        )
    return number
