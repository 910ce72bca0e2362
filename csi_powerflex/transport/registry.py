"""Every transport of this node, as one; implements ``model.transport.Transports``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from csi_powerflex.config.node import NodeSettings
from csi_powerflex.errors import DriverError, FailedPrecondition
from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.transport import SDC, NodeTransport
from csi_powerflex.observability.log import Log
from csi_powerflex.transport.sdc.transport import Sdc

log = Log(__name__)

_FACTORIES: dict[str, Callable[[NodeSettings], NodeTransport]] = {
    SDC.name: lambda settings: Sdc(settings.sdc),
}
"""How to make each transport of ``model.transport.TRANSPORTS``."""

_Answer = TypeVar("_Answer")


class TransportRegistry:
    """The transports of one node."""

    def __init__(self, transports: Sequence[NodeTransport]) -> None:
        self._transports = tuple(transports)

    @classmethod
    def of(cls, settings: NodeSettings) -> TransportRegistry:
        """Every transport, with these settings."""
        return cls([make(settings) for make in _FACTORIES.values()])

    def prepare(self) -> None:
        self._from_each(lambda transport: transport.prepare())

    def identity(self) -> NodeIdentity:
        return NodeIdentity.of(self._from_each(lambda transport: transport.initiator()))

    def systems(self) -> tuple[str, ...]:
        lists = self._from_each(lambda transport: transport.systems())
        return tuple(sorted({system for systems in lists for system in systems}))

    def max_volumes(self) -> int:
        return min(transport.max_volumes for transport in self._transports)

    def serving(self, publish_context: PublishContext) -> NodeTransport:
        for transport in self._transports:
            if transport.type.name == publish_context.transport:
                return transport
        raise FailedPrecondition(
            f"volume {publish_context.handle} was published over transport {publish_context.transport!r}, "
            f"and this node has: {_names(self._transports)}; use a version of the node plugin that has it"
        )

    def locate(self, handle: VolumeHandle) -> tuple[NodeTransport, Path] | None:
        for transport in self._transports:
            device = transport.find(handle)
            if device is not None:
                return transport, device
        return None

    def devices(self) -> tuple[Path, ...]:
        found = {device for transport in self._transports for device in transport.devices()}
        return tuple(sorted(found, key=str))

    def _from_each(self, ask: Callable[[NodeTransport], _Answer]) -> list[_Answer]:
        """The answers of the transports that work here.

        Raises:
            DriverError: none works; the error is that of the first.
        """
        answers: list[_Answer] = []
        errors: list[DriverError] = []
        for transport in self._transports:
            try:
                answers.append(ask(transport))
            except DriverError as error:
                log.debug("transport does not work", transport=transport.type.name, reason=error)
                errors.append(error)
        if not answers:
            raise errors[0]
        return answers


def _names(transports: Iterable[NodeTransport]) -> str:
    return ", ".join(transport.type.name for transport in transports)
