"""The checks of the controller's doctor: of each system in the systems file, step by step.

It changes nothing on an array. Each step has a time limit. Each system is checked in a thread of its own, so
one that does not answer hides no other. A login that was refused is not repeated at another endpoint: an
array may lock the account of a user after some wrong passwords.
"""

from __future__ import annotations

import concurrent.futures
import datetime
import re
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from csi_powerflex import call_context, units
from csi_powerflex.errors import ConnectFailed, DeadlineExceeded, DriverError
from csi_powerflex.hints import first_of
from csi_powerflex.ids import InitiatorKind
from csi_powerflex.model.array import NoNvme, Pool, PoolState
from csi_powerflex.model.checks import Check, fault, guarded, ok, warning
from csi_powerflex.model.inspection import InspectedEndpoint, InspectedSystem, Inspection

_SOON_DAYS = 30
_LITTLE_FREE = 0.1
_NEAR_LIMIT = 0.9
_MOST_TREES = 5
_MOST_VOLUMES_FOR_TREES = 20_000
_AT_A_TIME = 8

_OLDEST, _NEWEST = (3, 5), (5, 99)
# Which roles may create, map and remove volumes, of the MDM before 4.0 and of PowerFlex Manager.
_ENOUGH = ("superuser", "administrator", "configure", "frontendconfig", "systemadmin", "storageadmin")
_NOT_ENOUGH = ("monitor", "security", "securityadmin", "backendconfig", "support", "technician")

_CORRECT_FILE = "correct the systems file; a running controller takes the change within seconds"
_OBJECTS = {"sdcs": "SDCs", "nvmeHosts": "NVMe hosts"}
_SEE_MESSAGE = "do what the message says, then run the doctor again"

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class DoctorSettings:
    """How to check.

    Attributes:
        over_commit: as the controller's option.
        step_seconds: the most seconds that one step may take.
        all_trees: whether to count the members of trees also where the system has many volumes.
    """

    over_commit: float = 10.0
    step_seconds: float = 10.0
    all_trees: bool = False


def examine(inspections: Sequence[Inspection], settings: DoctorSettings) -> list[Check]:
    """Check the systems. The checks of each are together, in the order of the systems file."""
    systems = [_System(inspection, settings) for inspection in inspections]
    with concurrent.futures.ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="doctor") as pool:
        found = [check for checks in pool.map(_System.examine, systems) for check in checks]
    return found + list(_shared_ids(systems))


def _shared_ids(systems: Sequence[_System]) -> Iterator[Check]:
    seen: dict[str, str] = {}
    for system in systems:
        if system.id is None:
            continue
        first = seen.setdefault(system.id, system.label)
        if first != system.label:
            yield fault(
                "system id",
                system.label,
                f"its gateway manages system {system.id}, which entry {first} has already",
                "remove one of the two entries from the systems file",
            )


class _System:
    """The checks of one system."""

    def __init__(self, inspection: Inspection, settings: DoctorSettings) -> None:
        self._inspection = inspection
        self._settings = settings
        self.label = inspection.label
        self.id: str | None = None
        self._refused_at: str | None = None

    def examine(self) -> list[Check]:
        try:
            return guarded(self.label, self._checks)
        finally:
            for endpoint in self._inspection.endpoints:
                self._step(endpoint.close)

    def _step(self, ask: Callable[[], _Answer]) -> _Answer | DriverError:
        """What ``ask`` returns, or the error that it raises. It gets the time of one step."""
        with call_context.background("doctor", self._settings.step_seconds):
            try:
                return ask()
            except DriverError as error:
                return error

    def _checks(self) -> Iterator[Check]:
        yield from self._authorities()
        usable: InspectedSystem | None = None
        for endpoint in self._inspection.endpoints:
            system = yield from self._endpoint(endpoint)
            usable = usable or system
        if usable is None:
            return
        yield self._version(usable)
        yield self._role(usable)
        yield from self._pools(usable)
        yield from self._defaults(usable)
        yield self._hosts(usable)
        yield from self._sdts(usable)
        yield from self._limits(usable)

    # --- connections -----------------------------------------------------------------------------

    def _authorities(self) -> Iterator[Check]:
        if not self._inspection.verifies_certificate:
            yield warning(
                "tls",
                self.label,
                "verifyCertificate is false, so anyone on the network can pretend to be the gateway",
                "give caFile and remove verifyCertificate from the systems file",
            )
            return
        ends = self._step(self._inspection.authority_ends)
        if isinstance(ends, DriverError):
            yield fault("tls", self.label, str(ends), "put the authority's certificate there, in PEM form")
        elif ends and _days_until(min(ends)) < _SOON_DAYS:
            yield warning(
                "certificate",
                self.label,
                f"a certificate in caFile expires on {min(ends):%Y-%m-%d}",
                "replace it in caFile by the new one of the authority",
            )

    def _endpoint(self, endpoint: InspectedEndpoint) -> Generator[Check, None, InspectedSystem | None]:
        """The checks of one endpoint. Returns the system, if it is the right one."""
        address = yield from self._address(endpoint)
        if address is None or not (yield from self._certificate(endpoint, address)):
            return None
        return (yield from self._login(endpoint))

    def _subject(self, endpoint: InspectedEndpoint) -> str:
        return endpoint.url if self.label == endpoint.url else f"{self.label}, {endpoint.url}"

    def _address(self, endpoint: InspectedEndpoint) -> Generator[Check, None, str | None]:
        """The checks of name and port. Returns an address that answers."""
        found = self._resolve(endpoint)
        if isinstance(found, DriverError):
            remedy = "correct the host name in endpoints, or the DNS of the controller's pod"
            yield fault("dns", self._subject(endpoint), str(found), remedy)
            return None
        yield ok("dns", self._subject(endpoint), first_of(list(found)))
        errors = []
        for address in found:
            result = self._step(lambda address=address: endpoint.connect(address))  # type: ignore[misc]  # called at once
            if not isinstance(result, DriverError):
                yield ok("tcp", self._subject(endpoint), f"{address} answers")
                return address
            errors.append(str(result))
        remedy = "check the port in endpoints, the gateway, and firewalls on the way"
        yield fault("tcp", self._subject(endpoint), "; ".join(errors), remedy)
        return None

    def _resolve(self, endpoint: InspectedEndpoint) -> Sequence[str] | DriverError:
        """The addresses of the endpoint. A resolver that does not answer is left to its thread."""
        answers: concurrent.futures.Future[Sequence[str] | DriverError] = concurrent.futures.Future()
        threading.Thread(
            target=lambda: answers.set_result(self._step(endpoint.addresses)), daemon=True, name="resolver"
        ).start()
        try:
            return answers.result(self._settings.step_seconds)
        except concurrent.futures.TimeoutError:
            return DeadlineExceeded(f"the DNS did not answer within {self._settings.step_seconds:g} s")

    def _certificate(self, endpoint: InspectedEndpoint, address: str) -> Generator[Check, None, bool]:
        """The checks of the certificate. Returns whether the driver connects."""
        end = self._step(lambda: endpoint.certificate_end(address))
        problem = self._step(endpoint.verify)
        if isinstance(end, datetime.datetime):
            yield _expiry(self._subject(endpoint), end)
        if not isinstance(problem, DriverError):
            verified = "the certificate is accepted" if self._inspection.verifies_certificate else "connected"
            yield ok("tls", self._subject(endpoint), verified)
            return True
        yield fault(
            "tls", self._subject(endpoint), str(problem), "see the section: it says what caFile must hold"
        )
        return False

    def _login(self, endpoint: InspectedEndpoint) -> Generator[Check, None, InspectedSystem | None]:
        """The checks of login and system. Returns the system, if it is the right one."""
        subject = self._subject(endpoint)
        if self._refused_at is not None:
            remedy = "solve the problem of the first login; a repeated one could lock the user"
            yield warning("login", subject, f"not tried, as it failed at {self._refused_at}", remedy)
            return None
        system = self._step(endpoint.log_in)
        if isinstance(system, DriverError):
            if not isinstance(system, ConnectFailed):
                self._refused_at = endpoint.url
            yield fault("login", subject, str(system), _SEE_MESSAGE)
            return None
        yield ok("login", subject, "accepted")
        found = self._step(system.system_id)
        if isinstance(found, DriverError):
            yield fault("system id", subject, str(found), _SEE_MESSAGE)
            return None
        expected = self._inspection.configured_id or self.id or found
        if found != expected:
            source = "the id in the systems file" if self._inspection.configured_id else "another endpoint's"
            text = f"this gateway manages system {found}, but {source} is {expected}"
            yield fault("system id", subject, text, f"correct id or endpoints, and {_CORRECT_FILE}")
            return None
        self.id = found
        how = "as configured" if self._inspection.configured_id else "no id is configured"
        yield ok("system id", subject, f"{found} ({how})")
        return system

    # --- the system ------------------------------------------------------------------------------

    def _version(self, system: InspectedSystem) -> Check:
        found = self._step(system.version)
        if isinstance(found, DriverError):
            return fault("version", self.label, str(found), _SEE_MESSAGE)
        match = re.match(r"(\d+)\.(\d+)", found)
        known = match is not None and _OLDEST <= (int(match[1]), int(match[2])) <= _NEWEST
        if known:
            return ok("version", self.label, f"PowerFlex {found}")
        text = f"PowerFlex {found}; the driver was made for 3.5 to 5.x"
        return warning("version", self.label, text, "try it with data that you can lose")

    def _role(self, system: InspectedSystem) -> Check:
        found = self._step(system.role)
        role = None if isinstance(found, DriverError) else found
        if role is None:
            text = "the array does not tell this user's role"
            return warning("role", self.label, text, "check that it may create, map and remove volumes")
        plain = role.lower().replace(" ", "").replace("_", "")
        if plain in _ENOUGH:
            return ok("role", self.label, role)
        if plain in _NOT_ENOUGH:
            text = f"{role}, which may not create and map volumes"
            return fault("role", self.label, text, "give the user a role that may, such as StorageAdmin")
        text = f"{role}; it is not known what this role may do"
        return warning("role", self.label, text, "check that it may create, map and remove volumes")

    def _pools(self, system: InspectedSystem) -> Iterator[Check]:
        pools = self._step(system.pools)
        if isinstance(pools, DriverError):
            yield fault("pool", self.label, str(pools), _SEE_MESSAGE)
            return
        if not pools:
            yield fault("pool", self.label, "the system has no storage pool", "create one on the array")
        for pool in pools:
            yield from self._pool(system, pool)

    def _pool(self, system: InspectedSystem, pool: Pool) -> Iterator[Check]:
        """The problems of a pool; one line that all is well if there are none."""
        subject = f"{self.label}, pool {pool}"
        problems = list(self._pool_problems(system, pool, subject))
        if problems:
            yield from problems
            return
        capacity = self._step(lambda: system.pool_capacity(pool))
        text = "healthy"
        if not isinstance(capacity, DriverError):
            share = capacity.provisioned / capacity.total
            text += (
                f", {_readable(capacity.unused)} of {_readable(capacity.total)} free, "
                f"provisioned {share:.1f} times"
            )
        yield ok("pool", subject, text)

    def _pool_problems(self, system: InspectedSystem, pool: Pool, subject: str) -> Iterator[Check]:
        yield from self._pool_health(system, pool, subject)
        if not pool.zero_padded:
            yield warning(
                "padding",
                subject,
                "zero padding is off, so a new volume may show deleted data; the driver refuses the pool",
                "enable it on the array while the pool is empty, or set allowUnpaddedPool in the class",
            )
        capacity = self._step(lambda: system.pool_capacity(pool))
        if isinstance(capacity, DriverError):
            yield fault("capacity", subject, str(capacity), _SEE_MESSAGE)
            return
        free = f"{_readable(capacity.unused)} of {_readable(capacity.total)} are free"
        if capacity.unused < pool.granularity or capacity.total <= 0:
            yield fault("capacity", subject, f"{free}: it is full", "add devices, or delete volumes")
        elif capacity.unused < capacity.total * _LITTLE_FREE:
            yield warning("capacity", subject, free, "add devices, or delete volumes, before it is full")
        provisioned = f"{_readable(capacity.provisioned)} are provisioned"
        if capacity.largest_thin < pool.granularity:
            remedy = "delete volumes, add devices, or raise the array's limit of over-provisioning"
            yield fault("over-commit", subject, f"{provisioned}: the array allows no more", remedy)
        elif capacity.provisioned >= capacity.total * self._settings.over_commit:
            text = f"{provisioned}, which is {self._settings.over_commit:g} times its capacity or more"
            yield warning("over-commit", subject, text, "add devices, or raise --over-commit")

    def _pool_health(self, system: InspectedSystem, pool: Pool, subject: str) -> Iterator[Check]:
        state = self._step(lambda: system.pool_state(pool))
        if isinstance(state, DriverError):
            yield fault("pool", subject, str(state), _SEE_MESSAGE)
        elif state is PoolState.DEGRADED:
            text = "degraded: some data has lost a copy, and is served from the others"
            yield warning("pool", subject, text, "look at the array's alerts; wait for the rebuild")
        elif state is PoolState.FAILED:
            text = "failed: some data has no copy that can be read"
            yield fault("pool", subject, text, "look at the array's alerts, and bring back failed devices")
        elif state is PoolState.INACTIVE:
            text = "its protection domain is not active, so no data is served"
            yield fault("pool", subject, text, "activate the protection domain on the array")

    def _defaults(self, system: InspectedSystem) -> Iterator[Check]:
        """Whether the pools that the systems file names exist."""
        wanted = [
            (
                f"{self.label}, zone {zone.name}",
                zone.protection_domain or self._inspection.protection_domain,
                pool,
            )
            for zone in self._inspection.zones
            for pool in zone.storage_pools
        ]
        if self._inspection.storage_pool is not None:
            wanted.insert(0, (self.label, self._inspection.protection_domain, self._inspection.storage_pool))
        if not wanted:
            yield self._without_default(system)
        for subject, domain, name in wanted:
            found = self._step(lambda domain=domain, name=name: system.pool(domain, name))  # type: ignore[misc]  # called at once
            if isinstance(found, DriverError):
                remedy = f"correct storagePool or protectionDomain, and {_CORRECT_FILE}"
                yield fault("default pool", subject, str(found), remedy)
            else:
                yield ok("default pool", subject, str(found))

    def _without_default(self, system: InspectedSystem) -> Check:
        domain = self._inspection.protection_domain
        if domain is not None:
            pools = self._step(system.pools)
            if not isinstance(pools, DriverError) and not any(
                domain in (pool.domain_name, pool.domain_id) for pool in pools
            ):
                text = f"there is no protection domain {domain!r} with a storage pool"
                return fault(
                    "default pool", self.label, text, f"correct protectionDomain, and {_CORRECT_FILE}"
                )
        return ok("default pool", self.label, "none is configured; each StorageClass must name one")

    def _hosts(self, system: InspectedSystem) -> Check:
        found = self._step(lambda: system.hosts_by_id(()))
        if isinstance(found, DriverError):
            return fault("hosts", self.label, str(found), _SEE_MESSAGE)
        sdcs = [host for host in found.values() if host.kind is InitiatorKind.SDC]
        away = sorted(host.name or host.initiator.value for host in sdcs if not host.connected)
        others = len(found) - len(sdcs)
        if not sdcs and others:
            text = f"no SDC, and {others} NVMe hosts, of which the system does not tell the connection"
            return ok("hosts", self.label, text)
        if not sdcs:
            remedy = "connect the nodes' SDCs to this system: drv_cfg --query_mdms on a node shows its MDMs"
            return warning("hosts", self.label, "the system knows no SDC", remedy)
        if away:
            remedy = "look at these nodes: csi-powerflex doctor node; remove an SDC that no longer exists"
            text = f"{len(away)} of {len(sdcs)} SDCs are not connected: {first_of(away)}"
            return warning("hosts", self.label, text, remedy)
        connected = sorted(host.name or host.initiator.value for host in sdcs)
        more = f"; {others} NVMe hosts" if others else ""
        return ok("hosts", self.label, f"all {len(sdcs)} SDCs are connected: {first_of(connected)}{more}")

    def _sdts(self, system: InspectedSystem) -> Iterator[Check]:
        """What nodes without an SDC need: SDTs with addresses for hosts, and the system's NQN."""
        found = self._step(system.sdts)
        if isinstance(found, NoNvme):
            yield ok("sdt", self.label, str(found))
            return
        if isinstance(found, DriverError):
            yield fault("sdt", self.label, str(found), _SEE_MESSAGE)
            return
        facing = [sdt for sdt in found if sdt.portals]
        if not facing:
            text = f"{len(found)} SDTs, none with an address for hosts: no node can use NVMe/TCP"
            yield ok("sdt", self.label, text)
            return
        for sdt in facing:
            if not sdt.in_order:
                remedy = "look at the array's alerts; nodes try its addresses after those of other SDTs"
                yield warning("sdt", f"{self.label}, SDT {sdt.name}", sdt.state, remedy)
        for text in (text for sdt in found for text in sdt.unusable):
            yield warning("sdt", self.label, f"not used: {text}", "correct the SDT's address at the array")
        nqn = self._step(system.nqn)
        told = f"NQN {nqn}" if isinstance(nqn, str) else "no NQN is told, so nodes ask the discovery service"
        count = sum(len(sdt.portals) for sdt in facing)
        yield ok("sdt", self.label, f"{len(facing)} SDTs with {count} addresses for hosts; {told}")

    def _limits(self, system: InspectedSystem) -> Iterator[Check]:
        found = self._step(lambda: (system.usage(), system.limits()))
        if isinstance(found, DriverError):
            yield fault("limits", self.label, str(found), _SEE_MESSAGE)
            found = {}, {}
        usage, limits = found
        for kind, used in usage.items():
            yield self._limit(_OBJECTS.get(kind, kind), used, limits.get(kind, 0))
        yield from self._trees(system, usage.get("volumes"))

    def _limit(self, objects: str, used: int, allowed: int) -> Check:
        """Whether the array has nearly as many objects as it allows; 0 if it tells no limit."""
        if allowed <= 0:
            return ok("limits", self.label, f"{used} {objects}; the array does not tell a limit")
        text = f"{used} of {allowed} {objects}"
        remedy = f"remove {objects} that are not needed; the array refuses more than {allowed}"
        if used >= allowed:
            return fault("limits", self.label, text, remedy)
        if used >= allowed * _NEAR_LIMIT:
            return warning("limits", self.label, text, remedy)
        return ok("limits", self.label, text)

    def _trees(self, system: InspectedSystem, volumes: int | None) -> Iterator[Check]:
        """The trees that are nearly full. Their list is long, so it is read only if that is cheap."""
        if not self._settings.all_trees and (volumes is None or volumes > _MOST_VOLUMES_FOR_TREES):
            why = "the number of volumes is not known" if volumes is None else f"there are {volumes} volumes"
            yield ok("tree members", self.label, f"not counted: {why}; --trees counts them")
            return
        limit, trees = self._step(system.tree_limit), self._step(lambda: system.largest_trees(_MOST_TREES))
        for answer in (limit, trees):
            if isinstance(answer, DriverError):
                yield fault("tree members", self.label, str(answer), _SEE_MESSAGE)
                return
        if not isinstance(limit, int) or isinstance(trees, DriverError):
            yield ok("tree members", self.label, "the array does not tell a limit")
            return
        full = [tree for tree in trees if tree.members >= limit * _NEAR_LIMIT]
        for tree in full:
            text = f"volume {tree.name} has {tree.members} of {limit} members (it, snapshots and clones)"
            remedy = "delete snapshots or clones of it; the array refuses more"
            yield warning("tree members", self.label, text, remedy)
        if not full:
            largest = trees[0].members if trees else 0
            yield ok("tree members", self.label, f"at most {largest} of {limit}")


def _expiry(subject: str, end: datetime.datetime) -> Check:
    days = _days_until(end)
    if days < 0:
        remedy = "renew the gateway's certificate"
        return fault("certificate", subject, f"it expired on {end:%Y-%m-%d}", remedy)
    found = f"it expires in {days} days, on {end:%Y-%m-%d}"
    if days < _SOON_DAYS:
        remedy = "renew the gateway's certificate before that day"
        return warning("certificate", subject, found, remedy)
    return ok("certificate", subject, found)


def _days_until(end: datetime.datetime) -> int:
    return (end - datetime.datetime.now(datetime.UTC)).days


def _readable(size: int) -> str:
    """A size for people, rounded."""
    for unit, name in ((units.TIB, "TiB"), (units.GIB, "GiB"), (units.MIB, "MiB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} bytes"
