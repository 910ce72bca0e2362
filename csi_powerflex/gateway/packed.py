"""Many volumes in little memory.

A volume as an object of the model needs about 700 bytes, packed about 200. A packed volume becomes an object
each time it is read, and the caller should not keep more of them than it needs.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar, overload

import msgspec

from csi_powerflex import units
from csi_powerflex.gateway import convert
from csi_powerflex.gateway.payloads import VolumePayload, VolumeRecord
from csi_powerflex.model.array import Volume, VolumeOutline

Item = TypeVar("Item")


class _OutlineHost(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first field of a ``MappingRecord``. Decoding skips the others."""

    sdc_id: str


class Outline(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """``VolumeOutline``: the first fields of a ``VolumeRecord``. Decoding skips the others.

    It takes a tenth of the time of a ``Volume``.
    """

    volume_id: str
    size_in_kb: int
    pool_id: str
    volume_type: str
    name: str | None
    creation_time: int
    ancestor_id: str | None
    group_id: str | None
    hosts: tuple[_OutlineHost, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return self.size_in_kb * units.KIB

    @property
    def copied(self) -> bool:
        """As ``Volume.copied``."""
        return convert.is_copy(self.volume_type)

    @property
    def created(self) -> datetime.datetime:
        """As ``Volume.created``."""
        return convert.timestamp(self.creation_time)

    @property
    def host_ids(self) -> tuple[str, ...]:
        """As ``Volume.host_ids``."""
        return tuple([host.sdc_id for host in self.hosts])


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(VolumeRecord)
_outline_decoder = msgspec.msgpack.Decoder(Outline)
_MAPPINGS = VolumePayload.__struct_fields__.index("mapped_sdc_info")


def pack(payloads: Iterable[VolumePayload]) -> list[bytes]:
    """Each volume as bytes. Packed volumes sort like their ids."""
    return [_encoder.encode(_fields(payload)) for payload in payloads]


def _fields(payload: VolumePayload) -> list[object]:
    """The fields of a ``VolumeRecord``, which are those of the payload in the same order."""
    fields = list(msgspec.structs.astuple(payload))
    fields[_MAPPINGS] = [msgspec.structs.astuple(item) for item in payload.mapped_sdc_info or ()]
    return fields


class PackedItems(Sequence[Item], Generic[Item]):
    """Packed objects that are made by ``make`` each time they are read. They never change."""

    def __init__(self, packed: list[bytes], make: Callable[[bytes], Item]) -> None:
        self._packed = packed
        self._make = make

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        if isinstance(index, slice):
            return PackedItems(self._packed[index], self._make)
        return self._make(self._packed[index])

    def __iter__(self) -> Iterator[Item]:
        return map(self._make, self._packed)


class PackedVolumes(PackedItems[Volume]):
    """The volumes of one system, ordered by id.

    Args:
        system_id: the system.
        packed: what ``pack`` returned. It is sorted and kept, so the caller must not use it any more.
    """

    def __init__(self, system_id: str, packed: list[bytes]) -> None:
        packed.sort()
        super().__init__(packed, lambda each: convert.volume(system_id, _decoder.decode(each)))

    @property
    def outlines(self) -> Sequence[VolumeOutline]:
        """The same volumes in the same order, as outlines."""
        return PackedItems(self._packed, _outline_decoder.decode)

    def names_in(self, tree_ids: Collection[str]) -> Mapping[str, str]:
        """The name of the first volume of each of these trees, or of a copy where that does not exist.

        Only volumes whose bytes have one of the ids are decoded. ``tree_ids`` must not be empty.
        """
        named = re.compile("|".join(map(re.escape, tree_ids)).encode())
        found: dict[str, str] = {}
        for volume in map(self._make, filter(named.search, self._packed)):
            if volume.tree_id in tree_ids and not (volume.copied and volume.tree_id in found):
                found[volume.tree_id] = volume.name or volume.handle.volume_id
        return found
