"""Unpacking of compressed images, with a limit for what comes out."""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from csi_powerflex.errors import Unavailable
from csi_powerflex.host.run import CommandFailed, Limits, run_limited
from csi_powerflex.model.mover import Phase
from csi_powerflex.mover.formats import Compression
from csi_powerflex.mover.outcome import Refused, Work
from csi_powerflex.units import GIB, KIB, MIB, readable

_PIECE = 4 * MIB
# What follows a stream is copied once for each stream, and a hostile file has millions of empty ones.
_PACKED_PIECE = 64 * KIB
_GRAIN = 64 * 1024
_ZEROS = bytes(_GRAIN)
_LZMA_MEMORY = 256 * MIB
_ZSTD_WINDOW = 31
_LONGEST_SECONDS = 24 * 3600


class _Decoder(Protocol):
    """One compressed stream."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def unpack(packed: Path, kind: Compression, into: Path, *, limit: int, work: Work) -> int:
    """Unpack a file into a sparse file; returns the size of the result in bytes.

    Args:
        packed: the compressed file.
        kind: how it is compressed.
        into: the file to write; it is replaced.
        limit: the largest result.
        work: takes the progress.

    Raises:
        Refused: the file is damaged or truncated, or the result is larger than ``limit``.
        Unavailable: the result cannot be written.
        Stopped: the process has to end.
    """
    work.begin(Phase.UNPACKING, None)
    into.unlink(missing_ok=True)
    if kind is Compression.ZSTD:
        _by_zstd(packed, into, limit=limit, work=work)
    else:
        try:
            _by_python(packed, kind, into, limit=limit, work=work)
        except OSError as error:
            raise Unavailable(f"{packed.name} cannot be unpacked: {error.strerror}") from error
    size = into.stat().st_size
    work.end(size)
    return size


def _by_python(packed: Path, kind: Compression, into: Path, *, limit: int, work: Work) -> None:
    new = _gzip if kind is Compression.GZIP else _xz
    size = 0
    with packed.open("rb") as source, into.open("wb") as result:
        try:
            for piece in _pieces(iter(lambda: source.read(_PACKED_PIECE), b""), new, packed.name):
                size += len(piece)
                if size > limit:
                    raise _too_large(packed, limit)
                _write_sparsely(result.fileno(), piece, size - len(piece))
                work.at(size)
        except (zlib.error, lzma.LZMAError) as error:
            raise Refused(
                f"{packed.name} is damaged: {error}; get it again, and compare its checksum"
            ) from error
        os.ftruncate(result.fileno(), size)


def _write_sparsely(descriptor: int, piece: bytes, offset: int) -> None:
    """Write what is not zero."""
    for at in range(0, len(piece), _GRAIN):
        part = piece[at : at + _GRAIN]
        if part != _ZEROS[: len(part)]:
            os.pwrite(descriptor, part, offset + at)


def _gzip() -> _Decoder:
    return _Gzip()


class _Gzip:
    """One member of a gzip file, with the interface of the decoder of lzma."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail + data, max_length)


def _xz() -> _Decoder:
    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)


def _pieces(source: Iterator[bytes], new: Callable[[], _Decoder], name: str) -> Iterator[bytes]:
    """What all streams of a file contain, each piece at most 4 MiB. Empty ones let the caller stop.

    Raises:
        Refused: the file ends within a stream, or has something else after one.
    """
    decoder, data = new(), b""
    while True:
        if decoder.eof:
            rest = decoder.unused_data.lstrip(b"\0")
            while not rest:  # padding is allowed after a stream
                more = next(source, b"")
                if not more:
                    return
                yield b""
                rest = more.lstrip(b"\0")
            decoder, data = new(), rest
        piece = decoder.decompress(data, _PIECE)
        data = b""
        yield piece
        if not piece and not decoder.eof:
            data = next(source, b"")
            if not data:
                raise Refused(f"{name} ends within its compressed data; it is truncated; get it again")


def _by_zstd(packed: Path, into: Path, *, limit: int, work: Work) -> None:
    # The kernel ends the program at the limit, so one more byte shows a result that is too large.
    limits = Limits(memory=4 * GIB, processor=_LONGEST_SECONDS, file=limit + 1)
    command = ["zstd", "-d", "-q", "--sparse", f"--long={_ZSTD_WINDOW}", "-o", str(into), "--", str(packed)]
    try:
        run_limited(command, limits=limits, cap=_LONGEST_SECONDS, meanwhile=lambda: work.at(_size(into)))
    except CommandFailed as error:
        if "No space left" in error.stderr:
            raise Unavailable(f"{packed.name} cannot be unpacked: {error.stderr}") from error
        if error.code < 0 or "File too large" in error.stderr:
            raise _too_large(packed, limit) from error
        raise Refused(
            f"{packed.name} is damaged: {error.stderr}; get it again, and compare its checksum"
        ) from error
    if _size(into) > limit:
        raise _too_large(packed, limit)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _too_large(packed: Path, limit: int) -> Refused:
    return Refused(
        f"{packed.name} unpacks to more than {readable(limit)}, which is what the target can take; give a "
        "larger volume, or check the image: it may be made to fill disks"
    )
