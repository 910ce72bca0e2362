"""The port of the controller's doctor: a configured system, its endpoints, and what it tells about itself.

``gateway`` implements it. Each method that asks something may raise DriverError. Its message says what was
asked and what was found. Nothing here changes anything on an array.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from csi_powerflex.model.array import Host, Pool, PoolCapacity, PoolState, Sdt
from csi_powerflex.model.ports import Zone


@dataclass(frozen=True, slots=True)
class Tree:
    """A volume with its snapshots and clones.

    Attributes:
        name: the name of the volume that is its root, or the id of the tree.
        members: how many there are.
    """

    name: str
    members: int


class InspectedSystem(Protocol):
    """A system after a login at one of its endpoints."""

    def system_id(self) -> str:
        """The id of the system that the endpoint leads to."""
        ...

    def version(self) -> str:
        """The version of the API, such as "4.5"."""
        ...

    def role(self) -> str | None:
        """The role of the user on the array; None where the array does not tell it to this user."""
        ...

    def pools(self) -> Sequence[Pool]:
        """Every storage pool."""
        ...

    def pool(self, domain: str | None, pool: str | None) -> Pool:
        """As ``model.ports.Array.pool``."""
        ...

    def pool_capacity(self, pool: Pool) -> PoolCapacity:
        """As ``model.ports.Array.pool_capacity``."""
        ...

    def pool_state(self, pool: Pool) -> PoolState:
        """As ``model.ports.Array.pool_state``."""
        ...

    def hosts_by_id(self, needed: Sequence[str]) -> Mapping[str, Host]:
        """As ``model.ports.Array.hosts_by_id``."""
        ...

    def sdts(self) -> Sequence[Sdt]:
        """Every SDT, as the array reports it now.

        Raises:
            NoNvme: this version has none.
        """
        ...

    def nqn(self) -> str | None:
        """The system's NQN; None where the array does not tell it."""
        ...

    def usage(self) -> Mapping[str, int]:
        """By kind of object, how many the array has."""
        ...

    def limits(self) -> Mapping[str, int]:
        """By kind of object, how many the array allows, as far as it tells it."""
        ...

    def tree_limit(self) -> int | None:
        """How many members a tree may have; None where the array does not tell it."""
        ...

    def largest_trees(self, count: int) -> Sequence[Tree]:
        """The ``count`` trees with the most members. This reads the list of all volumes."""
        ...


class InspectedEndpoint(Protocol):
    """One endpoint of a system. The methods are the steps of a connection, in their order."""

    @property
    def url(self) -> str:
        """As in the systems file."""
        ...

    def addresses(self) -> Sequence[str]:
        """The IP addresses of its host name."""
        ...

    def connect(self, address: str) -> None:
        """Open and close a TCP connection to the address."""
        ...

    def certificate_end(self, address: str) -> datetime.datetime:
        """When the gateway's certificate expires. The certificate is not verified for this."""
        ...

    def verify(self) -> None:
        """Connect as the driver does, and verify the certificate. No credentials are sent."""
        ...

    def log_in(self) -> InspectedSystem:
        """Log in, once. ``close`` ends the session."""
        ...

    def close(self) -> None:
        """Log out."""
        ...


class Inspection(Protocol):
    """One system of the systems file."""

    @property
    def label(self) -> str:
        """Its name in messages."""
        ...

    @property
    def configured_id(self) -> str | None:
        """The id in the systems file."""
        ...

    @property
    def protection_domain(self) -> str | None:
        """The default protection domain in the systems file."""
        ...

    @property
    def storage_pool(self) -> str | None:
        """The default storage pool in the systems file."""
        ...

    @property
    def zones(self) -> Sequence[Zone]:
        """Its zones in the systems file."""
        ...

    @property
    def verifies_certificate(self) -> bool:
        """Whether the driver verifies the gateway's certificate."""
        ...

    @property
    def endpoints(self) -> Sequence[InspectedEndpoint]:
        """Its endpoints, in the order of the systems file."""
        ...

    def authority_ends(self) -> Sequence[datetime.datetime]:
        """When each certificate authority in caFile expires; empty without caFile."""
        ...
