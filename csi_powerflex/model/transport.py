"""Transports: how nodes reach volumes. The ports here are for the operations of a node.

A new transport needs a row in ``TRANSPORTS``, a package in ``transport`` that implements ``NodeTransport``, a
row in ``transport.registry``, and its actions in ``gateway.mapping``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from csi_powerflex.ids import Initiator, InitiatorKind, NodeIdentity, VolumeHandle
from csi_powerflex.model.publish_context import PublishContext

AUTO = "auto"
"""The value in a StorageClass that lets the driver choose the transport."""


@dataclass(frozen=True, slots=True)
class TransportType:
    """A transport: its name, and the kind of initiator that it uses."""

    name: str
    initiator: InitiatorKind


SDC = TransportType("sdc", InitiatorKind.SDC)

NVME = TransportType("nvme", InitiatorKind.NVME)

TRANSPORTS = {SDC.name: SDC, NVME.name: NVME}
"""Every transport by name. "auto" prefers them in this order."""


class NodeTransport(Protocol):
    """One way from this node to its volumes."""

    @property
    def type(self) -> TransportType:
        """Which transport this is."""
        ...

    @property
    def max_volumes(self) -> int:
        """The maximum number of volumes of one host, including volumes that the driver does not use."""
        ...

    def prepare(self) -> None:
        """Start the parts that the transport needs on this host, if the configuration says so.

        Raises:
            FailedPrecondition, Unavailable, Busy: they could not be started.
        """
        ...

    def initiator(self) -> Initiator:
        """The identity of this host on the array.

        Raises:
            FailedPrecondition: a part that the transport needs is not on this host.
            Unavailable: the part does not answer.
        """
        ...

    def systems(self) -> tuple[str, ...]:
        """The ids of the PowerFlex systems that this host is connected to.

        Raises:
            FailedPrecondition, Unavailable: they are not known.
        """
        ...

    def attach(self, publish_context: PublishContext) -> Path:
        """Wait for the block device, check that it is the device of this volume, and return its real path.

        Raises:
            Unavailable: it did not appear in time. The message says where it was expected.
            FailedPrecondition: the device is not the one of the publish context.
        """
        ...

    def wait_for_size(self, handle: VolumeHandle, size: int) -> Path:
        """Wait until the volume's device has at least ``size`` bytes, and return its path.

        Raises as ``attach``.
        """
        ...

    def find(self, handle: VolumeHandle) -> Path | None:
        """The volume's block device, if it is on this host now. This does not wait."""
        ...

    def devices(self) -> tuple[Path, ...]:
        """The block devices of all volumes on this host, including volumes that the driver does not use."""
        ...


class Transports(Protocol):
    """All transports of this node together."""

    def prepare(self) -> None:
        """Prepare each transport. Raises as ``NodeTransport.prepare`` if none could be prepared."""
        ...

    def identity(self) -> NodeIdentity:
        """The initiators of this host.

        Raises:
            FailedPrecondition, Unavailable: it has none. The message is that of the first transport.
        """
        ...

    def systems(self) -> tuple[str, ...]:
        """The sorted ids of the systems that any transport reaches. Raises as ``identity``."""
        ...

    def max_volumes(self) -> int:
        """The maximum number of volumes of this host."""
        ...

    def serving(self, publish_context: PublishContext) -> NodeTransport:
        """The transport of a publish context.

        Raises:
            FailedPrecondition: this node does not have that transport.
        """
        ...

    def locate(self, handle: VolumeHandle) -> tuple[NodeTransport, Path] | None:
        """The transport of the volume's device and the path of the device; None if it is not on this host."""
        ...

    def devices(self) -> tuple[Path, ...]:
        """The block devices of all volumes on this host."""
        ...
