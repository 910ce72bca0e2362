"""The node's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition


@dataclass(frozen=True, slots=True)
class SdcSettings:
    """Where this host's SDC is met.

    Attributes:
        drv_cfg: the SDC's command-line tool.
        control_device: the character device of its kernel module; where it is missing, the tool is asked.
        by_id: the folder in which a link for each volume's device appears.
        device_seconds: how long to wait for a volume's device, within the deadline of the call.
    """

    drv_cfg: Path = Path("/opt/emc/scaleio/sdc/bin/drv_cfg")
    control_device: Path = Path("/dev/scini")
    by_id: Path = Path("/dev/disk/by-id")
    device_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class VolumeLimit:
    """How many volumes this node may have.

    Attributes:
        number: the limit, 0 for none.
        file: where it is read from each time, for a limit that differs by node or changes; while the file is
            missing or empty, ``number`` counts.
    """

    number: int = 0
    file: Path | None = None

    def current(self) -> int:
        """The limit as it is now.

        Raises:
            FailedPrecondition: the file holds something else than a number.
        """
        if self.file is None:
            return self.number
        try:
            text = self.file.read_text().strip()
        except FileNotFoundError:
            return self.number
        if not text:
            return self.number
        if not (text.isascii() and text.isdigit()):
            raise FailedPrecondition(
                f"{self.file} must hold the number of volumes for this node, not {text[:40]!r}"
            )
        return int(text)


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What the node plugin needs to serve.

    Attributes:
        endpoint: the CSI socket, such as ``unix:///csi/csi.sock``.
        driver_name: as in the cluster's CSIDriver object.
        mount_roots: folders below which staging and target paths must lie; the kubelet's, as a rule.
        limit: how many volumes this node may have.
        sdc: this host's SDC.
        metrics_address: HOST:PORT or :PORT to serve metrics and liveness on; None not to.
    """

    endpoint: str
    driver_name: str
    mount_roots: tuple[Path, ...] = (Path("/var/lib/kubelet"),)
    limit: VolumeLimit = VolumeLimit()
    sdc: SdcSettings = SdcSettings()
    metrics_address: str | None = None
