"""Every transport of this node, as one; implements ``model.transport.Transports``.

A node offers the transport that is selected, or with "auto" every one that works. It serves all of them: a
volume that came by another one before the selection was changed can still be used and removed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from csi_powerflex.config.node import NodeSettings
from csi_powerflex.errors import DriverError, FailedPrecondition
from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.transport import AUTO, NVME, SDC, NodeTransport, PathCount
from csi_powerflex.observability.log import Log
from csi_powerflex.transport.nvme.transport import Nvme
from csi_powerflex.transport.sdc.transport import Sdc

log = Log(__name__)

_FACTORIES: dict[str, Callable[[NodeSettings], NodeTransport]] = {
    SDC.name: lambda settings: Sdc(settings.sdc),
    NVME.name: lambda settings: Nvme(settings.nvme),
}
"""How to make each transport of ``model.transport.TRANSPORTS``."""

_Answer = TypeVar("_Answer")


class TransportRegistry:
    """The transports of one node.

    Args:
        transports: all of them, the preferred ones first.
        selected: the name of the one that this node offers; ``AUTO`` for every one that works.
    """

    def __init__(self, transports: Sequence[NodeTransport], selected: str = AUTO) -> None:
        self._transports = tuple(transports)
        self._selected = tuple(one for one in transports if selected in (AUTO, one.type.name))

    @classmethod
    def of(cls, settings: NodeSettings) -> TransportRegistry:
        """Every transport, with these settings."""
        return cls([make(settings) for make in _FACTORIES.values()], settings.transport)

    @contextlib.contextmanager
    def upkeep(self) -> Iterator[None]:
        """During the block, the transports do their work in the background."""
        with contextlib.ExitStack() as running:
            for transport in self._transports:
                transport.start()
                running.callback(transport.stop)
            yield

    def prepare(self) -> None:
        errors = []
        for transport in self._selected:
            try:
                transport.prepare()
            except DriverError as error:
                log.debug("transport not prepared", transport=transport.type.name, reason=error)
                errors.append(error)
        if len(errors) == len(self._selected):
            raise self._none_works(errors)

    def identity(self) -> NodeIdentity:
        return NodeIdentity.of(answer for _, answer in self._working(lambda transport: transport.initiator()))

    def reached(self) -> Mapping[str, tuple[str, ...]]:
        answers = self._working(lambda transport: transport.systems())
        return {transport.type.name: systems for transport, systems in answers}

    def max_volumes(self) -> int:
        return min(transport.max_volumes for transport in self._selected)

    def serving(self, publish_context: PublishContext) -> NodeTransport:
        handle, wanted = publish_context.handle, publish_context.transport
        serving = next((one for one in self._transports if one.type.name == wanted), None)
        if serving is None:
            raise FailedPrecondition(
                f"volume {handle} was published over transport {wanted!r}, and this node has: "
                f"{_names(self._transports)}; use a version of the node plugin that has it"
            )
        for other in self._transports:
            device = None if other is serving else other.find(handle)
            if device is not None:
                raise FailedPrecondition(
                    f"volume {handle} was published over {wanted}, and this host has it as {device} over "
                    f"{other.type.name}: two devices of one volume would damage its data; unmap it from the "
                    f"host that the array knows for {other.type.name}"
                )
        return serving

    def locate(self, handle: VolumeHandle) -> tuple[NodeTransport, Path] | None:
        for transport in self._transports:
            device = transport.find(handle)
            if device is not None:
                return transport, device
        return None

    def paths(self, handle: VolumeHandle) -> PathCount | None:
        counts = (transport.paths(handle) for transport in self._transports)
        return next((count for count in counts if count is not None), None)

    def devices(self) -> tuple[Path, ...]:
        found = {device for transport in self._transports for device in transport.devices()}
        return tuple(sorted(found))

    def _working(self, ask: Callable[[NodeTransport], _Answer]) -> list[tuple[NodeTransport, _Answer]]:
        """The answers of the selected transports that this host has.

        A transport that is here and does not answer is not left out: the node would register with another
        identity, and come back with the first one later.

        Raises:
            FailedPrecondition: this host has none.
            DriverError: one does not answer.
        """
        answers: list[tuple[NodeTransport, _Answer]] = []
        errors: list[DriverError] = []
        for transport in self._selected:
            try:
                answers.append((transport, ask(transport)))
            except FailedPrecondition as error:
                log.debug("transport does not work", transport=transport.type.name, reason=error)
                errors.append(error)
        if not answers:
            raise self._none_works(errors)
        return answers

    def _none_works(self, errors: Sequence[DriverError]) -> DriverError:
        """The error of the only transport, or one that has the errors of all."""
        if len(errors) == 1:
            return errors[0]
        reasons = "; ".join(
            f"{transport.type.name}: {error}" for transport, error in zip(self._selected, errors, strict=True)
        )
        return type(errors[0])(f"no transport works on this host: {reasons}")


def _names(transports: Iterable[NodeTransport]) -> str:
    return ", ".join(transport.type.name for transport in transports)
