"""Unpacking of compressed images."""

from __future__ import annotations

import gzip
import lzma
import zlib
from pathlib import Path

import pytest

from csi_powerflex.errors import Unavailable
from csi_powerflex.mover import unpacking
from csi_powerflex.mover.formats import Compression
from csi_powerflex.mover.outcome import Refused, Stopped, Work
from csi_powerflex.units import MIB
from tests.commands import output_of
from tests.mover.devices import disk

SIZE = 12 * MIB
CONTENT = disk(SIZE, {MIB: 300_000, 9 * MIB + 7: 5})
ZSTD = pytest.param(Compression.ZSTD, marks=pytest.mark.needs("zstd"))
EACH = pytest.mark.parametrize("kind", [Compression.GZIP, Compression.XZ, ZSTD])


def pack(kind: Compression, content: bytes, folder: Path) -> bytes:
    if kind is Compression.GZIP:
        return gzip.compress(content)
    if kind is Compression.XZ:
        return lzma.compress(content)
    (folder / "plain").write_bytes(content)
    output_of(["zstd", "-q", "-f", folder / "plain", "-o", folder / "plain.zst"])
    return (folder / "plain.zst").read_bytes()


def unpack(
    kind: Compression, packed: bytes, folder: Path, *, limit: int = SIZE, work: Work | None = None
) -> bytes:
    (folder / "packed").write_bytes(packed)
    into = folder / "unpacked"
    size = unpacking.unpack(folder / "packed", kind, into, limit=limit, work=work or Work())
    assert size == into.stat().st_size
    return into.read_bytes()


@EACH
def test_a_file_is_unpacked_sparsely(kind: Compression, tmp_path: Path) -> None:
    assert unpack(kind, pack(kind, CONTENT, tmp_path), tmp_path) == CONTENT
    assert (tmp_path / "unpacked").stat().st_blocks * 512 < 2 * MIB


@EACH
def test_several_streams_are_unpacked(kind: Compression, tmp_path: Path) -> None:
    half = SIZE // 2
    packed = pack(kind, CONTENT[:half], tmp_path) + pack(kind, CONTENT[half:], tmp_path)
    assert unpack(kind, packed, tmp_path) == CONTENT


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.XZ])
def test_padding_after_a_stream_is_allowed(kind: Compression, tmp_path: Path) -> None:
    assert unpack(kind, pack(kind, CONTENT, tmp_path) + bytes(512), tmp_path) == CONTENT


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.XZ])
def test_padding_may_be_long_and_between_streams(kind: Compression, tmp_path: Path) -> None:
    half, padding = SIZE // 2, bytes(MIB)
    packed = pack(kind, CONTENT[:half], tmp_path) + padding + pack(kind, CONTENT[half:], tmp_path) + padding
    assert unpack(kind, packed, tmp_path) == CONTENT


@EACH
@pytest.mark.parametrize("part", [0.999, 0.5, 0.01])
def test_a_truncated_file_is_refused(kind: Compression, part: float, tmp_path: Path) -> None:
    packed = pack(kind, CONTENT, tmp_path)
    with pytest.raises(Refused, match=r"is truncated|is damaged"):
        unpack(kind, packed[: int(len(packed) * part)], tmp_path)


@EACH
def test_a_damaged_file_is_refused(kind: Compression, tmp_path: Path) -> None:
    packed = bytearray(pack(kind, CONTENT, tmp_path))
    for at in range(len(packed) // 2, len(packed) // 2 + 64):
        packed[at] ^= 0xFF
    with pytest.raises(Refused, match=r"is damaged|is truncated"):
        unpack(kind, bytes(packed), tmp_path)


@EACH
def test_something_else_after_the_stream_is_refused(kind: Compression, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is damaged"):
        unpack(kind, pack(kind, CONTENT, tmp_path) + b"something else", tmp_path)


@EACH
def test_a_file_that_grows_beyond_the_limit_is_refused(kind: Compression, tmp_path: Path) -> None:
    packed = pack(kind, bytes(SIZE), tmp_path)
    assert len(packed) < MIB
    with pytest.raises(Refused, match=r"unpacks to more than 11 MiB.*made to fill disks"):
        unpack(kind, packed, tmp_path, limit=11 * MIB)
    with pytest.raises(Refused, match="unpacks to more than"):
        unpack(kind, packed, tmp_path, limit=SIZE - 1)
    assert unpack(kind, packed, tmp_path, limit=SIZE) == bytes(SIZE)


@EACH
def test_it_stops_when_the_process_has_to_end(kind: Compression, tmp_path: Path) -> None:
    work = Work()
    work.stop.set()
    with pytest.raises(Stopped):
        unpack(kind, pack(kind, CONTENT, tmp_path), tmp_path, work=work)


@pytest.mark.parametrize("packed", [gzip.compress(b"") * 1000, gzip.compress(b"") + bytes(MIB)])
def test_it_also_stops_where_nothing_comes_out(packed: bytes, tmp_path: Path) -> None:
    work, times = Work(), iter([0.0, 1.0])

    def clock() -> float:
        now = next(times)
        if now:
            work.stop.set()
        return now

    work.clock = clock
    with pytest.raises(Stopped):
        unpack(Compression.GZIP, packed, tmp_path, work=work)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(gzip.compress(CONTENT))
    with pytest.raises(Unavailable, match="cannot be unpacked: No such file"):
        unpacking.unpack(
            tmp_path / "packed", Compression.GZIP, tmp_path / "missing" / "file", limit=SIZE, work=Work()
        )


def test_a_stream_without_an_end_mark_is_truncated(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(CONTENT) + packer.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(Refused, match="ends within its compressed data"):
        unpack(Compression.GZIP, packed, tmp_path)
