"""Which portals of a system this host is to connect to.

The array plans the ports of each host, and tells the plan only in the host's discovery log. The list is empty
until a volume is mapped to the host, and for a short time after it. The publish context names every portal of
the system. They are used where no discovery service tells a plan.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from csi_powerflex.errors import DriverError
from csi_powerflex.model.nvme import MAX_PORTALS, NvmeTarget, Portal
from csi_powerflex.observability.log import Log
from csi_powerflex.transport.nvme.connect import Address
from csi_powerflex.transport.nvme.discovery import Entry, discover
from csi_powerflex.transport.nvme.identity import HostPair

log = Log(__name__)

FRESH_SECONDS = 10.0
"""For how long calls share the answer of the discovery services."""

_ASKED_AT_ONCE = 8
_EMPTY_SECONDS = 5.0
_EMPTY_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """The portals to connect to.

    Attributes:
        nqn: the NQN to connect to; empty if it is not known.
        addresses: the portals, the best first.
        others: portals that the array has not planned for this host. They are a last resort.
        problem: why no discovery service told a plan, in words; empty if one did.
    """

    nqn: str
    addresses: tuple[Address, ...]
    others: tuple[Address, ...] = ()
    problem: str = ""


@dataclass
class _Known:
    """The last answer of a system's discovery services. ``lock`` guards the rest."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    at: float = float("-inf")
    entries: tuple[Entry, ...] = ()
    problem: str = ""


def belongs(nqn: str, system_id: str) -> bool:
    """Whether the NQN of a subsystem is that of a system: PowerFlex puts the id of the system into it.

    The kernel and the discovery service may show a longer NQN than the array's API.
    """
    return system_id in nqn.lower()


class PortalFinder:
    """Asks discovery services, and remembers what they said.

    Args:
        seconds: how long one may take to answer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._guard = threading.Lock()
        self._systems: dict[tuple[str, str], _Known] = {}

    def ask(
        self, system_id: str, portals: Sequence[Portal], host: HostPair, *, limit: float, max_age: float
    ) -> None:
        """Ask the discovery services of a system, unless that was done shortly before.

        A service that lists nothing is asked again for some seconds: the mapping may be new.

        Args:
            system_id: the system.
            portals: where its discovery services are.
            host: the identity of this host.
            limit: when to stop, by ``time.monotonic()``.
            max_age: seconds for which an earlier answer counts.
        """
        known = self._of(system_id, host)
        with known.lock:
            if time.monotonic() - known.at < max_age:
                return
            until = min(limit, time.monotonic() + _EMPTY_SECONDS)
            while True:
                entries, problem = self._listed(system_id, portals, host, limit)
                if entries or problem or time.monotonic() + _EMPTY_PAUSE_SECONDS >= until:
                    break
                time.sleep(_EMPTY_PAUSE_SECONDS)
            if entries or known.problem != problem:
                log.info("discovery services asked", system=system_id, portals=len(entries), problem=problem)
            known.entries = entries or known.entries
            known.problem = (
                "" if entries else problem or "the discovery service lists no portal for this host"
            )
            known.at = time.monotonic()

    def plan(self, system_id: str, target: NvmeTarget, host: HostPair) -> Plan:
        """The portals for a target, as known now."""
        listed = tuple(dict.fromkeys(Address(portal.address, portal.nvme_port) for portal in target.portals))
        known = self._of(system_id, host)
        nqn = target.nqn
        planned = [entry for entry in known.entries if entry.nqn == nqn]
        if not planned:
            planned = [entry for entry in known.entries if entry.nqn.startswith(nqn)]
        if not planned:
            return Plan(nqn, listed, problem=known.problem)
        nqn = planned[0].nqn
        addresses = {Address(entry.address, entry.port) for entry in planned if entry.nqn == nqn}
        best = [address for address in listed if address in addresses]
        best += sorted(addresses - set(best))
        return Plan(nqn, tuple(best[:MAX_PORTALS]), tuple(one for one in listed if one not in addresses))

    def _of(self, system_id: str, host: HostPair) -> _Known:
        with self._guard:
            return self._systems.setdefault((system_id, host.key), _Known())

    def _listed(
        self, system_id: str, portals: Sequence[Portal], host: HostPair, limit: float
    ) -> tuple[tuple[Entry, ...], str]:
        """What the first service that lists something says, and why none answered."""
        seconds = min(self._seconds, limit - time.monotonic())
        services = list(dict.fromkeys((one.address, one.discovery_port) for one in portals))[:_ASKED_AT_ONCE]
        if seconds <= 0:
            return (), "there was no time to ask"
        problems = []
        pool = ThreadPoolExecutor(len(services), thread_name_prefix="nvme-discovery")
        try:
            asked = [pool.submit(discover, *service, host, seconds=seconds) for service in services]
            for answer in as_completed(asked):
                try:
                    entries = tuple(entry for entry in answer.result() if belongs(entry.nqn, system_id))
                except DriverError as error:
                    problems.append(str(error))
                    continue
                if entries:
                    return entries, ""
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return (), "; ".join(sorted(problems)) if len(problems) == len(services) else ""
