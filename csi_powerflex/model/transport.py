"""The ways from nodes to volumes: which there are, and the ports that a node's operations use.

A new transport is one row in ``TRANSPORTS``, a package in ``transport`` that implements ``NodeTransport``, a
row in ``transport.registry``, and its mapping verbs in ``gateway.mapping``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from csi_powerflex.ids import Initiator, InitiatorKind, NodeIdentity, VolumeHandle
from csi_powerflex.model.publish_context import PublishContext

AUTO = "auto"
"""What a StorageClass writes to leave the choice of the transport to the driver."""


@dataclass(frozen=True, slots=True)
class TransportType:
    """A transport as the controller knows it: its name, and the initiators that it serves."""

    name: str
    initiator: InitiatorKind


SDC = TransportType("sdc", InitiatorKind.SDC)

TRANSPORTS = {SDC.name: SDC}
"""Every transport by name, in the order in which "auto" prefers them."""


class NodeTransport(Protocol):
    """One way from this node to its volumes."""

    @property
    def type(self) -> TransportType:
        """Which transport this is."""
        ...

    @property
    def max_volumes(self) -> int:
        """How many volumes one host can have at most, including those that others use."""
        ...

    def prepare(self) -> None:
        """Start what the transport needs on this host, where the operator leaves that to the driver.

        Raises:
            FailedPrecondition, Unavailable, Busy: it could not be started.
        """
        ...

    def initiator(self) -> Initiator:
        """The identity of this host on the array.

        Raises:
            FailedPrecondition: the host lacks what the transport needs.
            Unavailable: it is there and does not answer.
        """
        ...

    def systems(self) -> tuple[str, ...]:
        """The ids of the PowerFlex systems that this host is connected to.

        Raises:
            FailedPrecondition, Unavailable: they are not known.
        """
        ...

    def attach(self, publish_context: PublishContext) -> Path:
        """Wait for the volume's block device and return its real path. It is verified to be this volume's.

        Raises:
            Unavailable: it did not appear in time; the message says what was looked for and where.
            FailedPrecondition: what is there is not what the publish context says.
        """
        ...

    def wait_for_size(self, handle: VolumeHandle, size: int) -> Path:
        """Wait until the volume's device has at least ``size`` bytes, and return its path.

        Raises as ``attach``.
        """
        ...

    def find(self, handle: VolumeHandle) -> Path | None:
        """The volume's block device if it is here now, without waiting."""
        ...

    def devices(self) -> tuple[Path, ...]:
        """The block devices of all volumes that are here now, including those that others use."""
        ...


class Transports(Protocol):
    """Every transport of this node, as one."""

    def prepare(self) -> None:
        """Prepare each transport. Raises as ``NodeTransport.prepare``, where none could be prepared."""
        ...

    def identity(self) -> NodeIdentity:
        """The initiators of this host.

        Raises:
            FailedPrecondition, Unavailable: it has none; the message is the first transport's.
        """
        ...

    def systems(self) -> tuple[str, ...]:
        """The ids of the systems that any transport reaches, in order. Raises as ``identity``."""
        ...

    def max_volumes(self) -> int:
        """How many volumes this host can have at most."""
        ...

    def serving(self, publish_context: PublishContext) -> NodeTransport:
        """The transport that a publish context names.

        Raises:
            FailedPrecondition: this node does not have it.
        """
        ...

    def locate(self, handle: VolumeHandle) -> tuple[NodeTransport, Path] | None:
        """The transport that has the volume's device now, and the device's path."""
        ...

    def devices(self) -> tuple[Path, ...]:
        """The block devices of all volumes that are here now."""
        ...
