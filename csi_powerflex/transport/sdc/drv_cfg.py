"""The SDC's tool drv_cfg: its commands and its answers (protocol notes, "SDC on the host")."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from csi_powerflex.config.node import SdcSettings
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.host.run import run

_MDM = re.compile(r"MDM-ID ([0-9a-fA-F]{16}) SDC ID [0-9a-fA-F]{16}(.*)")
_ADDRESS = re.compile(r"\[\d+\]-(\S+)")
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
        if not self._settings.drv_cfg.is_file():
            raise FailedPrecondition(
                f"this host has no SDC: neither {self._settings.control_device} nor "
                f"{self._settings.drv_cfg} answers; install the PowerFlex SDC, or set the path of its drv_cfg"
            )
        return run([str(self._settings.drv_cfg), *words], cap=_SECONDS).stdout
