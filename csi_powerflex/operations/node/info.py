"""What NodeGetInfo answers: the identity of this host, its systems, its zone, and its limit of volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex import ids, units
from csi_powerflex.config.node import NodeSettings, NodeZone, VolumeLimit
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host import blockdev, mountinfo
from csi_powerflex.ids import NodeIdentity
from csi_powerflex.model.transport import Transports
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.node import target_paths

log = Log(__name__)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What identifies this node for the orchestrator.

    Attributes:
        systems: by the name of each transport, the ids of the PowerFlex systems that it reaches.
        zone: the zone that it is in; None for a node without zones.
        max_volumes: the limit for the scheduler.
    """

    identity: NodeIdentity
    systems: Mapping[str, tuple[str, ...]]
    zone: str | None
    max_volumes: int


class NodeInfoReader:
    """Reads it from the host alone.

    No array and no Kubernetes API is asked, so neither can keep a node out.
    """

    def __init__(self, transports: Transports, settings: NodeSettings) -> None:
        self._transports = transports
        self._roots = settings.mount_roots
        self._limit = settings.limit
        self._zone = settings.zone

    def read(self) -> NodeInfo:
        """The host as it is now.

        Raises:
            FailedPrecondition: it lacks what its transports need, or the file of its zone or limit holds
                something else.
            Unavailable: they do not answer.
        """
        self._transports.prepare()
        return NodeInfo(
            identity=self._transports.identity(),
            systems=self._transports.reached(),
            zone=_zone(self._zone),
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
        FailedPrecondition: the file holds something else than a number, or cannot be read.
    """
    text = _content(limit.file) if limit.file else ""
    if not text:
        return limit.number
    number = units.whole_number(text, digits=9)
    if number is None:
        raise FailedPrecondition(
            f"{limit.file} must hold the number of volumes for this node, not {text[:40]!r}"
        )
    return number


def _zone(zone: NodeZone) -> str | None:
    """The zone as it is now; None for none.

    A node whose zone is not known yet must not register: pods would get volumes that they cannot reach.

    Raises:
        FailedPrecondition: the file holds no zone, or cannot be read.
    """
    if zone.file is None:
        return zone.name
    text = _content(zone.file)
    if not text:
        raise FailedPrecondition(
            f"{zone.file} must hold the zone of this node, and it is missing or empty; give the node the "
            "label that the file is made from, then start the node plugin again"
        )
    if not ids.is_zone(text):
        raise FailedPrecondition(
            f"{zone.file} must hold the zone of this node, not {text[:80]!r}; write {ids.ZONE_RULE}"
        )
    return text


def _content(file: Path) -> str:
    """The text in a file, without the space around it; empty if the file is missing.

    Raises:
        FailedPrecondition: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise FailedPrecondition(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise FailedPrecondition(f"{file} is not text in UTF-8; write it again") from error
