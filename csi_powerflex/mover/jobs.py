"""The jobs of the mover, from what the command line gives to their outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import InvalidArgument
from csi_powerflex.model.mover import Exit, Outcome
from csi_powerflex.mover import copying, exporting, importing, web
from csi_powerflex.mover.copying import Copied, TargetState, Verify
from csi_powerflex.mover.disk import Disk
from csi_powerflex.mover.exporting import ExportRequest
from csi_powerflex.mover.formats import Format
from csi_powerflex.mover.importing import Found, ImportRequest
from csi_powerflex.mover.mark import Job
from csi_powerflex.mover.outcome import Work
from csi_powerflex.mover.web import Server
from csi_powerflex.units import readable

_LONGEST_FILE = 1024 * 1024
_LONGEST_URL = 16 * 1024


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """The files that describe a server; None for those that are not needed.

    Attributes:
        url: holds the URL.
        authorities: holds certificates in PEM.
        credentials: see ``web.authorization_in``.
    """

    url: Path
    authorities: Path | None = None
    credentials: Path | None = None

    def read(self) -> Server:
        """The server.

        Raises:
            InvalidArgument: a file cannot be read, or has another form.
        """
        url = _content(self.url, _LONGEST_URL).decode("utf-8", "replace").strip()
        authorities = None if self.authorities is None else _content(self.authorities, _LONGEST_FILE)
        authorization = ""
        if self.credentials is not None:
            content = _content(self.credentials, _LONGEST_FILE)
            authorization = web.authorization_in(content, str(self.credentials))
        return Server(url, authorities, authorization)


def copy_job(
    source: Path, target: Path, job: Job, *, state: TargetState, verify: Verify
) -> Callable[[Work], Outcome]:
    """Copy a disk, see ``copying.copy``."""

    def act(work: Work) -> Outcome:
        with Disk.source(source) as read, Disk.target(target) as written:
            copied = copying.copy(read, written, job, state=state, verify=verify, work=work)
        return Outcome(
            Exit.DONE, _words("copied", copied), size=copied.size, written=copied.written, format="raw"
        )

    return act


def import_job(request: Callable[[], ImportRequest], target: Path, job: str) -> Callable[[Work], Outcome]:
    """Import an image, see ``importing.import_image``."""

    def act(work: Work) -> Outcome:
        asked = request()
        with Disk.target(target) as written:
            done = importing.import_image(asked, written, job, work)
        return Outcome(
            Exit.DONE,
            _words(f"imported a {done.format} image with", done.copied),
            size=done.copied.size,
            written=done.copied.written,
            format=done.format,
            digest=done.digest,
        )

    return act


def export_job(request: Callable[[], ExportRequest]) -> Callable[[Work], Outcome]:
    """Export a disk, see ``exporting.export_disk``."""

    def act(work: Work) -> Outcome:
        asked = request()
        done = exporting.export_disk(asked, work)
        return Outcome(
            Exit.DONE,
            f"exported a disk of {readable(done.size)} as {asked.format}",
            size=done.size,
            written=done.written,
            format=asked.format,
            digest=done.digest,
        )

    return act


def inspect_job(image: Path, wanted: Format) -> Callable[[Work], Outcome]:
    """Say what an image is, see ``importing.inspect_image``."""

    def act(work: Work) -> Outcome:
        found = importing.inspect_image(image, wanted, work)
        if not found.accepted:
            return Outcome(Exit.REFUSED, found.reason)
        return Outcome(Exit.DONE, _described(found), size=found.size, format=found.format)

    return act


def _described(found: Found) -> str:
    if not found.format:
        return f"a file compressed with {found.compression}; its format is known only when it is unpacked"
    return f"a {found.format} image with a disk of {readable(found.size)}"


def _words(action: str, copied: Copied) -> str:
    resumed = f", continued at {readable(copied.resumed)}" if copied.resumed else ""
    return f"{action} a disk of {readable(copied.size)}, wrote {readable(copied.written)}{resumed}"


def _content(file: Path, most: int) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(most + 1)
    except OSError as error:
        raise InvalidArgument(f"the file {file} cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise InvalidArgument(f"the file {file} has more than {readable(most)}; is it the right one?")
    return content
