"""The SDC brought up when it is needed, where the operator has asked for that: its kernel module scini
started, and every MDM of the configuration known to it.

Off by default: on most hosts the SDC is the business of whoever installed it. What runs is never stopped or
restarted, and nothing is started while volumes are here, whatever the service manager says: that would take
the disks from under their pods. Addresses are added and never taken away.

In a container, the tools that start it run in the host's mount namespace, where they, systemd's socket and
the kernel's modules are. The host's PID namespace has to be shared as well: systemctl gives up on a service
manager whose process id it cannot see ("No data available"; seen with systemd 252).
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
from csi_powerflex.transport.sdc.drv_cfg import DrvCfg, KnownSystem

log = Log(__name__)

_UNIT = "scini"
_MODULE = Path("/sys/module/scini")
_INSTALL = "install the PowerFlex SDC on this host for the kernel that it runs"

# systemctl(1), "Exit status": what the LSB has, of which is-active and start say these.
_ACTIVE, _INACTIVE = 0, 3
_NO_SUCH_UNIT = 5

_OWN_NAMESPACE = Path("/proc/self/ns/mnt")

# The SDC registers with a system within seconds of hearing of it.
_REACH_SECONDS = 15.0
_POLL_SECONDS = 0.25
# Kept back from the deadline for the answer that says what is missing.
_ANSWER_SECONDS = 0.2


class SdcService:
    """Brings the SDC up. One call at a time works on it, the others wait."""

    def __init__(self, tool: DrvCfg, settings: SdcOnDemand) -> None:
        self._tool = tool
        self._settings = settings
        self._lock = Lock()

    def prepare(self, volumes_here: Collection[Path]) -> None:
        """Start the SDC where it does not run, and tell it of the MDMs that it does not know.

        A system that cannot be reached is only logged as long as another one can: it must not keep this host
        from the others.

        Args:
            volumes_here: the devices of the volumes that are on this host now.

        Raises:
            FailedPrecondition: there is no SDC on this host, or the configuration contradicts what it knows.
            Unavailable: it does not start, or reaches none of the systems.
            Busy: another call still works on it.
        """
        if not self._lock.acquire(timeout=call_context.remaining(_REACH_SECONDS)):
            raise Busy("another call is bringing up the SDC of this host; try again")
        try:
            limit = time.monotonic() + call_context.remaining(_REACH_SECONDS) - _ANSWER_SECONDS
            started = self._start(volumes_here)
            known = self._answer(limit if started else 0.0)
            added = [group for group in self._settings.mdms if self._add_missing(group, known)]
            self._require_reached(limit if started or added else 0.0)
        finally:
            self._lock.release()

    def _start(self, volumes_here: Collection[Path]) -> bool:
        """Start the SDC unless it runs; whether that was needed."""
        self._require_host()
        state = self._state_by_systemd()
        running = _MODULE.is_dir() if state is None else state == _ACTIVE
        if running:
            return False
        if volumes_here:
            log.warning("SDC left alone, volumes are here", state=state, volumes=len(volumes_here))
            return False
        if state is not None and self._start_unit():
            log.info("SDC started", by="systemd")
            return True
        if _MODULE.is_dir():
            return False
        self._load_module()
        log.info("SDC started", by="modprobe")
        return True

    def _state_by_systemd(self) -> int | None:
        """What systemd says of the unit; None where there is no systemd, or it knows no such unit.

        It may call that inactive too, as version 252 does.
        """
        if self._settings.mount_namespace is None and not installed(self._settings.systemctl):
            return None
        completed = run(self._on_host(self._settings.systemctl, "is-active", _UNIT), accept=range(256))
        if completed.code in (_ACTIVE, _INACTIVE):
            return completed.code
        log.debug("systemd does not know the SDC", code=completed.code, words=completed.stderr.strip())
        return None

    def _start_unit(self) -> bool:
        """Start the service; False where there is none."""
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
        """The command as it has to be run here. It ends with the code that it has on the host, and with 127
        where the host does not have it."""
        namespace = self._settings.mount_namespace
        return command if namespace is None else ("nsenter", f"--mount={namespace}", "--", *command)

    def _require_host(self) -> None:
        """Check that what is said to be the host's mount namespace is one, and not that of this container.

        Raises:
            FailedPrecondition: it is not.
        """
        namespace = self._settings.mount_namespace
        if namespace is None:
            return
        try:
            own = namespace.samefile(_OWN_NAMESPACE)
        except OSError as error:
            raise FailedPrecondition(
                f"the host's mount namespace {namespace} cannot be looked at: {error.strerror}; the "
                "container must be privileged"
            ) from error
        if own:
            raise FailedPrecondition(
                f"{namespace} is the mount namespace of this very process: a pod needs hostPID: true, and on "
                "the host itself leave out --host-mount-namespace"
            )

    def _answer(self, limit: float) -> tuple[KnownSystem, ...]:
        """What the SDC knows, as soon as it answers; it needs a moment when it was started just now."""
        while True:
            try:
                return self._tool.systems()
            except Unavailable:
                if time.monotonic() >= limit:
                    raise
            time.sleep(_POLL_SECONDS)

    def _add_missing(self, group: MdmGroup, known: Collection[KnownSystem]) -> bool:
        """Tell the SDC of those addresses of a system that it lacks; whether there were any.

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
        """Check every MDM of the configuration, until ``limit`` where one was added just now.

        Raises:
            Unavailable: the SDC reaches none of the systems.
        """
        while (troubles := self._troubles()) and time.monotonic() < limit:
            time.sleep(_POLL_SECONDS)
        for trouble in troubles:
            log.warning("MDMs of the configuration are missing", reason=trouble.words)
        unreached = [trouble.words for trouble in troubles if not trouble.reached]
        if unreached and len(unreached) == len(self._settings.mdms):
            raise Unavailable(f"the SDC of this host reaches none of its systems: {'; '.join(unreached)}")

    def _troubles(self) -> list[_Trouble]:
        known = self._tool.systems()
        found = (_trouble_with(group, known) for group in self._settings.mdms)
        return [trouble for trouble in found if trouble is not None]


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What is wrong with a group of MDMs, and whether the SDC has reached their system nevertheless."""

    words: str
    reached: bool


def _trouble_with(group: MdmGroup, known: Collection[KnownSystem]) -> _Trouble | None:
    system = next((system for system in known if not system.addresses.isdisjoint(group)), None)
    listed = system.addresses if system is not None else frozenset()
    lacking = [address for address in group if address not in listed]
    reached = system is not None and system.id is not None
    if lacking:
        words = (
            f"it does not list the MDMs {','.join(lacking)} though they were added: see drv_cfg --query_mdms"
        )
        return _Trouble(words, reached)
    if not reached:
        words = (
            f"it has not reached the MDMs {','.join(group)}: check the addresses, the network and the "
            "firewall (TCP port 6611)"
        )
        return _Trouble(words, reached)
    return None
