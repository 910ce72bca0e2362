"""The SDC's tool drv_cfg: its commands and its answers (protocol notes, "SDC on the host")."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.config.node import SdcSettings
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host.run import Completed, run
from csi_powerflex.ids import VolumeHandle
from csi_powerflex.observability.log import Log

log = Log(__name__)

_MDM = re.compile(r"MDM-ID ([0-9a-fA-F]{16}) SDC ID [0-9a-fA-F]{16}(.*)")
_ADDRESS = re.compile(r"\[\d+\]-(\S+)")
_VOLUME = re.compile(r"(?:emc-vol-)?([0-9a-f]{16})-([0-9a-f]{16})")
_NO_ID = "0" * 16
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class KnownSystem:
    """A system that the SDC is registered with.

    Attributes:
        id: None until the SDC has reached the system once.
        addresses: of its MDMs.
    """

    id: str | None
    addresses: frozenset[str]


class DrvCfg:
    """Runs the tool.

    Every method raises FailedPrecondition if there is no SDC on this host, and Unavailable if the tool fails.
    """

    def __init__(self, settings: SdcSettings) -> None:
        self._settings = settings

    @property
    def present(self) -> bool:
        """Whether the tool is there, as far as this process may see."""
        # The method of Path raises an error if it may not look.
        return os.path.isfile(self._settings.drv_cfg)  # noqa: PTH113

    def guid(self) -> str:
        """The GUID of the SDC."""
        return self._run("--query_guid").strip()

    def systems(self) -> tuple[KnownSystem, ...]:
        """The systems that the SDC is registered with, including those that it has not reached."""
        return tuple(
            KnownSystem(
                id=None if match[1] == _NO_ID else match[1].lower(),
                addresses=frozenset(_ADDRESS.findall(match[2])),
            )
            for match in _MDM.finditer(self._run("--query_mdms"))
        )

    def volume_of(self, device: Path) -> VolumeHandle | None:
        """The volume whose device this is; None where the tool is missing or cannot tell, as an old one."""
        if not self.present:
            return None
        completed = self._completed(
            "--query_block_device_id", "--block_device", str(device), accept=range(256)
        )
        match = _VOLUME.fullmatch(completed.stdout.strip().lower()) if completed.code == 0 else None
        if match is None:
            log.debug("volume of the device is not known", device=device, code=completed.code)
            return None
        return VolumeHandle(system_id=match[1], volume_id=match[2])

    def rescan(self) -> None:
        """Make the SDC ask its systems for volumes and sizes again."""
        self._run("--rescan")

    def add(self, addresses: Collection[str]) -> None:
        """Register the SDC with one more system: now, and in the file that it reads at its next start."""
        self._run("--add_mdm", "--ip", ",".join(addresses), *self._file())

    def change(self, known: str, addresses: Collection[str]) -> None:
        """Replace the addresses of the system that has the address ``known``: now, and in the file."""
        self._run("--mod_mdm_ip", "--ip", known, "--new_mdm_ip", ",".join(addresses), *self._file())

    def _file(self) -> tuple[str, str]:
        return "--file", str(self._settings.configuration)

    def _run(self, *words: str) -> str:
        return self._completed(*words).stdout

    def _completed(self, *words: str, accept: Collection[int] = (0,)) -> Completed:
        if not self.present:
            raise FailedPrecondition(
                f"this host has no SDC: neither {self._settings.control_device} nor "
                f"{self._settings.drv_cfg} answers; install the PowerFlex SDC, or set the path of its drv_cfg"
            )
        return run([str(self._settings.drv_cfg), *words], cap=_SECONDS, accept=accept)
