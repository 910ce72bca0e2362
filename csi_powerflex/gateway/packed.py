"""Many volumes in little memory.

A volume as an object of the model needs about 700 bytes, packed about 200. A packed volume becomes an object
each time it is read, and the caller should not keep more of them than it needs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import overload

import msgspec

from csi_powerflex.gateway import convert
from csi_powerflex.gateway.payloads import MappingRecord, VolumePayload, VolumeRecord
from csi_powerflex.model.array import Volume

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(VolumeRecord)


def pack(payloads: Iterable[VolumePayload]) -> list[bytes]:
    """Each volume as bytes. Packed volumes sort like their ids."""
    return [_encoder.encode(_record(payload)) for payload in payloads]


def _record(payload: VolumePayload) -> VolumeRecord:
    *fields, mappings = msgspec.structs.astuple(payload)
    records = [MappingRecord(*msgspec.structs.astuple(item)) for item in mappings or ()]
    return VolumeRecord(*fields, records)  # type: ignore[call-arg]  # the fields of both in the same order


class PackedVolumes(Sequence[Volume]):
    """The volumes of one system, ordered by id. They never change.

    Args:
        system_id: the system.
        packed: what ``pack`` returned. It is sorted and kept, so the caller must not use it any more.
    """

    def __init__(self, system_id: str, packed: list[bytes]) -> None:
        packed.sort()
        self._system_id = system_id
        self._packed = packed

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, index: int) -> Volume: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Volume]: ...
    def __getitem__(self, index: int | slice) -> Volume | Sequence[Volume]:
        if isinstance(index, slice):
            return PackedVolumes(self._system_id, self._packed[index])
        return self._volume(self._packed[index])

    def __iter__(self) -> Iterator[Volume]:
        return map(self._volume, self._packed)

    def names_in(self, tree_ids: Collection[str]) -> Mapping[str, str]:
        """The name of the first volume of each of these trees, or of a copy where that does not exist.

        Only volumes whose bytes have one of the ids are decoded. ``tree_ids`` must not be empty.
        """
        named = re.compile("|".join(map(re.escape, tree_ids)).encode())
        found: dict[str, str] = {}
        for volume in map(self._volume, filter(named.search, self._packed)):
            if volume.tree_id in tree_ids and not (volume.copied and volume.tree_id in found):
                found[volume.tree_id] = volume.name or volume.handle.volume_id
        return found

    def _volume(self, packed: bytes) -> Volume:
        return convert.volume(self._system_id, _decoder.decode(packed))
