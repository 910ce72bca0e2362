"""SDC on demand: starting the SDC when it is needed, and adding the configured MDMs to it.

This is off by default: on most hosts, those who installed the SDC also start it. A running SDC is never
stopped or restarted. Nothing is started while volumes are on the host, even if the service manager says that
the SDC does not run: that would remove the disks of running pods. Addresses are added and never removed.

In a container, the tools that start the SDC run in the host's mount namespace. The tools, systemd's socket
and the kernel's modules are there. The container must also share the host's PID namespace: systemctl fails
if it cannot see the process id of the service manager ("No data available"; seen with systemd 252).
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from csi_powerflex import call_context
from csi_powerflex.config.node import MdmGroup, SdcOnDemand
from csi_powerflex.errors import Busy, FailedPrecondition, Unavailable
from csi_powerflex.host.run import CommandFailed, installed, run
from csi_powerflex.observability.log import Log
from csi_powerflex.transport.host_namespace import on_host, require_host
from csi_powerflex.transport.sdc.drv_cfg import DrvCfg, KnownSystem

log = Log(__name__)

_UNIT = "scini"
_INSTALL = "install the PowerFlex SDC on this host for the kernel that it runs"

# systemctl(1), "Exit status": the codes of is-active and start that matter here.
_ACTIVE, _INACTIVE = 0, 3
_NO_SUCH_UNIT = 5

# Reserved at the end of the deadline for the answer that says what is missing.
_ANSWER_SECONDS = 0.2


class SdcService:
    """Starts the SDC. One call at a time does it; others wait."""

    def __init__(self, tool: DrvCfg, settings: SdcOnDemand) -> None:
        self._tool = tool
        self._settings = settings
        self._lock = Lock()

    def prepare(self, volumes_here: Collection[Path]) -> None:
        """Start the SDC if it does not run, and add the configured MDMs that it does not know.

        A system that cannot be reached is only logged while another one can be: it must not keep this host
        from using the others.

        Args:
            volumes_here: the devices of the volumes that are on this host now.

        Raises:
            FailedPrecondition: there is no SDC on this host, or its MDMs contradict the configuration.
            Unavailable: it does not start, or reaches none of the systems.
            Busy: another call is still starting it.
        """
        if not self._lock.acquire(timeout=call_context.remaining(self._settings.reach_seconds)):
            raise Busy("another call is starting the SDC of this host; try again")
        try:
            limit = time.monotonic() + call_context.remaining(self._settings.reach_seconds) - _ANSWER_SECONDS
            started = self._start(volumes_here)
            known = self._answer(limit if started else 0.0)
            added = [group for group in self._settings.mdms if self._add_missing(group, known)]
            self._require_reached(limit if started or added else 0.0)
        finally:
            self._lock.release()

    def _start(self, volumes_here: Collection[Path]) -> bool:
        """Start the SDC unless it runs. Returns whether it was started."""
        require_host(self._settings.mount_namespace)
        state = self._state_by_systemd()
        running = self._settings.module.is_dir() if state is None else state == _ACTIVE
        if running:
            return False
        if volumes_here:
            log.warning("SDC not started, volumes are on this host", state=state, volumes=len(volumes_here))
            return False
        if state is not None and self._start_unit():
            log.info("SDC started", by="systemd")
            return True
        if self._settings.module.is_dir():
            return False
        self._load_module()
        log.info("SDC started", by="modprobe")
        return True

    def _state_by_systemd(self) -> int | None:
        """The exit code of ``systemctl is-active``; None where there is no systemd, or it has no such unit.

        Some versions, such as 252, also report a missing unit as inactive.
        """
        if self._settings.mount_namespace is None and not installed(self._settings.systemctl):
            return None
        completed = run(self._on_host(self._settings.systemctl, "is-active", _UNIT), accept=range(256))
        if completed.code in (_ACTIVE, _INACTIVE):
            return completed.code
        log.debug("systemd does not know the SDC", code=completed.code, words=completed.stderr.strip())
        return None

    def _start_unit(self) -> bool:
        """Start the service. Returns False where there is none."""
        try:
            run(self._on_host(self._settings.systemctl, "start", _UNIT))
        except CommandFailed as error:
            if error.code == _NO_SUCH_UNIT:
                return False
            raise Unavailable(
                f"the SDC does not start: {error}; see `systemctl status {_UNIT}` and the kernel's log on "
                "this host"
            ) from error
        return True

    def _load_module(self) -> None:
        try:
            run(self._on_host("modprobe", _UNIT))
        except CommandFailed as error:
            raise FailedPrecondition(
                f"this host has no service {_UNIT}, and its kernel has no such module: {error}; {_INSTALL}"
            ) from error

    def _on_host(self, *command: str) -> tuple[str, ...]:
        return on_host(self._settings.mount_namespace, *command)

    def _answer(self, limit: float) -> tuple[KnownSystem, ...]:
        """The systems that the SDC knows.

        Until ``limit``, an SDC that was just started may not answer yet.
        """
        while True:
            try:
                return self._tool.systems()
            except Unavailable:
                if time.monotonic() >= limit:
                    raise
            time.sleep(self._settings.poll_seconds)

    def _add_missing(self, group: MdmGroup, known: Collection[KnownSystem]) -> bool:
        """Add those addresses of a system that the SDC lacks. Returns whether there were any.

        Raises:
            FailedPrecondition: the group's addresses belong to different systems.
        """
        theirs = [system for system in known if not system.addresses.isdisjoint(group)]
        if len(theirs) > 1:
            raise FailedPrecondition(
                f"the MDMs {','.join(group)} are configured as those of one system, and the SDC knows them "
                f"as those of {' and '.join(system.id or 'one not reached' for system in theirs)}; give each "
                "system a --sdc-mdm of its own"
            )
        if not theirs:
            self._tool.add(group)
        elif theirs[0].addresses.issuperset(group):
            return False
        else:
            there = sorted(theirs[0].addresses)
            self._tool.change(there[0], [*group, *(address for address in there if address not in group)])
        log.info("MDMs added to the SDC", mdms=",".join(group))
        return True

    def _require_reached(self, limit: float) -> None:
        """Check every configured MDM. Until ``limit``, an MDM that was just added may not be reached yet.

        Raises:
            Unavailable: the SDC reaches none of the systems.
        """
        while (problems := self._problems()) and time.monotonic() < limit:
            time.sleep(self._settings.poll_seconds)
        for problem in problems:
            log.warning("configured MDMs are missing", reason=problem.description)
        unreached = [problem.description for problem in problems if not problem.reached]
        if unreached and len(unreached) == len(self._settings.mdms):
            raise Unavailable(f"the SDC of this host reaches none of its systems: {'; '.join(unreached)}")

    def _problems(self) -> list[_Problem]:
        known = self._tool.systems()
        found = (_problem_with(group, known) for group in self._settings.mdms)
        return [problem for problem in found if problem is not None]


@dataclass(frozen=True, slots=True)
class _Problem:
    """What is wrong with a group of MDMs, and whether the SDC has reached their system all the same."""

    description: str
    reached: bool


def _problem_with(group: MdmGroup, known: Collection[KnownSystem]) -> _Problem | None:
    system = next((system for system in known if not system.addresses.isdisjoint(group)), None)
    listed = system.addresses if system is not None else frozenset()
    lacking = [address for address in group if address not in listed]
    reached = system is not None and system.id is not None
    if lacking:
        description = (
            f"it does not list the MDMs {','.join(lacking)} though they were added: see drv_cfg --query_mdms"
        )
        return _Problem(description, reached)
    if not reached:
        description = (
            f"it has not reached the MDMs {','.join(group)}: check the addresses, the network and the "
            "firewall (TCP port 6611)"
        )
        return _Problem(description, reached)
    return None
