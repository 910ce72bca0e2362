"""NVMe hosts on the array: found by their NQN, and created where the array has none.

An SDC registers itself. An NVMe host has to be created before a volume can be mapped to it, and only the
controller has the rights to do that. The driver never removes a host: a node may be about to use it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator

from csi_powerflex import call_context
from csi_powerflex.errors import (
    Busy,
    DeadlineExceeded,
    DriverError,
    NotFound,
    ResourceExhausted,
)
from csi_powerflex.ids import Initiator, NodeIdentity
from csi_powerflex.model.array import Host, HostNameInUse
from csi_powerflex.model.ports import Array
from csi_powerflex.observability.log import Log

log = Log(__name__)

_PREFIX = "csi-"
# The array takes names of at most 31 characters.
_DIGITS = 27
_HASH_DIGITS = 8
_UUID = re.compile(r"uuid:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")
# A call waits no longer for another one that creates the same host.
_LONGEST_SECONDS = 60.0


class NvmeHosts:
    """Finds and creates NVMe hosts. One thread at a time creates the host of an NQN on a system."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[tuple[str, Initiator], threading.Lock] = {}

    def ensure(self, array: Array, initiator: Initiator) -> Host:
        """The host with this NQN, as the array has it now. It is created if there is none.

        Raises:
            ResourceExhausted: the system has as many NVMe hosts as it allows.
            Unavailable, DeadlineExceeded: it is not known whether it exists. The same call finds out.
        """
        with self._creating(array, initiator):
            return _find(array, initiator) or _create(array, initiator)

    @contextlib.contextmanager
    def _creating(self, array: Array, initiator: Initiator) -> Iterator[None]:
        with self._guard:
            lock = self._locks.setdefault((array.system_id(), initiator), threading.Lock())
        if not lock.acquire(timeout=call_context.remaining(_LONGEST_SECONDS)):
            raise Busy(f"another call creates the NVMe host {initiator} on system {array.label}; try again")
        try:
            yield
        finally:
            lock.release()


def names_of(initiator: Initiator) -> tuple[str, str]:
    """The name of the host on the array, and the one to use if another host has the first.

    The name begins with the last digits of the NQN's UUID, by which an operator can find the node.
    """
    nqn = initiator.value
    digest = hashlib.sha256(nqn.encode()).hexdigest()
    match = _UUID.search(nqn)
    digits = (match[1].replace("-", "") if match else digest)[-_DIGITS:]
    shorter = digits[: _DIGITS - _HASH_DIGITS - 1]
    return f"{_PREFIX}{digits}", f"{_PREFIX}{shorter}-{digest[:_HASH_DIGITS]}"


def _find(array: Array, initiator: Initiator) -> Host | None:
    try:
        (host,) = array.hosts_of(NodeIdentity.of([initiator]), fresh=True)
    except NotFound:
        return None
    return host


def _create(array: Array, initiator: Initiator) -> Host:
    """Create the host, or find the one that another controller has created meanwhile.

    The array has no code for an NQN that is in use. So after each refusal, and after an answer that was lost,
    it is asked again whether the host exists.
    """
    first, second = names_of(initiator)
    try:
        try:
            host = array.create_nvme_host(initiator, first)
        except HostNameInUse:
            # Another controller may have created this very host. Otherwise the name is another host's.
            found = _find(array, initiator)
            if found is not None:
                return found
            host = array.create_nvme_host(initiator, second)
    except DeadlineExceeded:
        raise
    except DriverError as error:
        found = _find(array, initiator)
        if found is None:
            raise _explained(array, initiator, error) from error
        log.info("NVMe host was created elsewhere", host=found, system=array.label)
        return found
    log.info("NVMe host created", host=host, system=array.label)
    return host


def _explained(array: Array, initiator: Initiator, error: DriverError) -> DriverError:
    if not isinstance(error, ResourceExhausted):
        return error
    return ResourceExhausted(
        f"system {array.label} cannot have a further NVMe host, and {initiator} needs one: {error}; remove "
        "NVMe hosts there that no longer exist, after they are disconnected"
    )
