"""What a system tells about its NVMe/TCP: its version, its NQN, and the portals of its SDTs.

All strings of the array are checked here, because they end in a publish context. Numbers in brackets are
sections of the protocol notes.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence

from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.gateway import convert
from csi_powerflex.gateway.client import Client
from csi_powerflex.gateway.payloads import SdtPayload
from csi_powerflex.ids import is_nqn
from csi_powerflex.model.array import NoNvme, Sdt, Volume
from csi_powerflex.model.nvme import MAX_PORTALS, NvmeTarget, Portal, nguid_of
from csi_powerflex.observability import metrics
from csi_powerflex.observability.log import Log
from csi_powerflex.shared_read import SharedRead

log = Log(__name__)

SDT_SECONDS = 60.0
"""How long the SDTs of a system are remembered. A node keeps its connections when SDTs change."""

# The requests of which a read consists: the version, and the SDTs.
_READS = 2

FIRST_VERSION = 4
"""The first major version of PowerFlex with NVMe/TCP."""


class NvmeTargets:
    """The SDTs of a system, as targets for volumes. They are read once and used for ``SDT_SECONDS``.

    Callers at the same time share one read.
    """

    def __init__(
        self, settings: SystemSettings, client: Client, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._shared = SharedRead(self._read_now, seconds=_READS * settings.request_timeout)
        self._version: str | None = None
        self._read: tuple[float, tuple[Sdt, ...]] | None = None
        # What was not usable, as far as it was logged.
        self._logged: frozenset[str] = frozenset()

    def of(self, volume: Volume, domain_id: str, domain_name: str) -> NvmeTarget:
        """The target for ``Array.nvme_target``; errors are the same."""
        sdts = self._shared.get_unless(self._kept)
        in_domain = [sdt for sdt in sdts if sdt.domain_id == domain_id]
        portals = _ordered(in_domain)
        if not portals:
            raise NoNvme(
                f"system {self._settings.label} has no SDT with an address for hosts in protection domain "
                f"{domain_name}, where volume {volume} is (SDTs there: {len(in_domain)}, in the whole "
                f"system: {len(sdts)}); add one there with the role StorageAndHost or HostOnly"
            )
        return NvmeTarget(self.nqn() or "", portals[:MAX_PORTALS], nguid_of(volume.handle))

    def sdts(self) -> Sequence[Sdt]:
        """The SDTs as the array reports them now. Raises as ``of``."""
        return self._shared.get()

    def _read_now(self) -> tuple[Sdt, ...]:
        self._require_version()
        metrics.GATEWAY_CACHE_MISSES.labels(self._settings.label, "sdts").inc()
        found = tuple(map(convert.sdt, self._client.get_list("/api/types/Sdt/instances", SdtPayload)))
        self._warn(found)
        self._read = self._clock(), found
        return found

    def nqn(self) -> str | None:
        """The NQN of the system as the last login read it; None where the array tells no usable one."""
        found = self._client.system_nqn
        return found if found is not None and is_nqn(found) else None

    def _kept(self) -> tuple[Sdt, ...] | None:
        """The SDTs that were read last, if that is not long ago."""
        if self._read is not None and self._clock() - self._read[0] < SDT_SECONDS:
            return self._read[1]
        return None

    def _require_version(self) -> None:
        """Check that the system is new enough. A system does not become older, so it is asked once.

        Raises:
            NoNvme: it is too old.
        """
        if self._version is None:
            found = self._client.get("/api/version", str)
            major = found.partition(".")[0]
            if major.isdecimal() and int(major) < FIRST_VERSION:
                raise NoNvme(
                    f"system {self._settings.label} is PowerFlex {found}, and NVMe/TCP needs "
                    f"{FIRST_VERSION}.0 or newer"
                )
            self._version = found

    def _warn(self, found: Sequence[Sdt]) -> None:
        """Log once what cannot be used."""
        unusable = {text for sdt in found for text in sdt.unusable}
        if self._client.system_nqn and self.nqn() is None:
            unusable.add(f"the system's NQN {self._client.system_nqn!r}")
        for text in sorted(unusable - self._logged):
            log.warning("unusable answer about NVMe ignored", system=self._settings.label, found=text)
        self._logged = frozenset(unusable)


def _ordered(sdts: Sequence[Sdt]) -> tuple[Portal, ...]:
    """The portals for hosts: those of SDTs in order first, and each SDT's first address before any second.

    The others come last, because a state that the array reports may be old.
    """
    portals: list[Portal] = []
    for usable in (True, False):
        rows = [sdt.portals for sdt in sorted(sdts, key=lambda sdt: sdt.id) if sdt.in_order is usable]
        portals += [portal for column in itertools.zip_longest(*rows) for portal in column if portal]
    return tuple(dict.fromkeys(portals))
