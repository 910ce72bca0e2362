"""The identity of this host for NVMe: its NQN and its host id, which always belong together.

The kernel binds an NQN to a host id at the first connection, and refuses any other pair until its module is
unloaded. So this driver uses the files that nvme-cli uses too. Strings of them become part of a line to the
kernel, in which commas separate options. So both are checked strictly.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.ids import is_nqn
from csi_powerflex.observability.log import Log

log = Log(__name__)

_UUID_NQN = "nqn.2014-08.org.nvmexpress:uuid:"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_MAX_NQN_BYTES = 223
# Boards of several makers are shipped with these numbers instead of one of their own.
_DEFAULT_UUIDS = frozenset(
    {
        "00020003-0004-0005-0006-000700080009",
        "03000200-0400-0500-0006-000700080009",
        "12345678-1234-5678-90ab-cddeefaabbcc",
    }
)
_READABLE = 0o644


@dataclass(frozen=True, slots=True)
class HostPair:
    """The identity of this host.

    Attributes:
        nqn: as in its file.
        host_id: a UUID in lower case.
    """

    nqn: str
    host_id: str

    @property
    def key(self) -> str:
        """The NQN for comparison: case does not matter."""
        return self.nqn.lower()


class HostFiles:
    """The files ``hostnqn`` and ``hostid``.

    Args:
        folder: where they are.
        create: whether to create them where this host has no NQN.
        sysfs: the folder where sysfs is mounted, which has the UUID of the machine.
    """

    def __init__(self, folder: Path, *, create: bool, sysfs: Path) -> None:
        self._nqn = folder / "hostnqn"
        self._id = folder / "hostid"
        self._create = create
        self._machine = sysfs / "class/dmi/id/product_uuid"

    def pair(self) -> HostPair:
        """The identity of this host. It is read each time, because it may be created at any time.

        Raises:
            FailedPrecondition: there is none, or a file holds something else.
        """
        if self._create and not _first_line(self._nqn):
            self._make()
        return self.existing()

    def existing(self) -> HostPair:
        """As ``pair``, but it creates nothing."""
        nqn = _first_line(self._nqn)
        if not nqn:
            raise FailedPrecondition(
                f"this host has no NQN: {self._nqn} is missing or empty; on the host, run `nvme gen-hostnqn "
                f"> {self._nqn}` as root, or let the driver create it (--nvme-create-hostnqn)"
            )
        if not is_nqn(nqn):
            raise FailedPrecondition(f"{self._nqn} holds {nqn[:80]!r}, which {_objection(nqn)}; correct it")
        return HostPair(nqn, self._host_id(nqn))

    def _host_id(self, nqn: str) -> str:
        """The host id of the file, or the UUID in the NQN."""
        text = _first_line(self._id).lower()
        if text:
            if not _is_uuid(text):
                raise FailedPrecondition(f"{self._id} holds {text[:80]!r}, which is not a UUID; correct it")
            return text
        derived = nqn.lower().removeprefix(_UUID_NQN)
        if _is_uuid(derived):
            return derived
        raise FailedPrecondition(
            f"this host has no host id: {self._id} is missing or empty, and the NQN {nqn} has no UUID; on "
            f"the host, run `uuidgen > {self._id}` as root"
        )

    def _make(self) -> None:
        """Create the files from the UUID of the machine. Files that exist are never replaced.

        Raises:
            FailedPrecondition: the machine has no UUID of its own, or the files cannot be written.
        """
        machine = _first_line(self._machine).lower()
        if not _is_uuid(machine) or machine in _DEFAULT_UUIDS:
            raise FailedPrecondition(
                f"this host has no NQN, and none can be made: {self._machine} holds {machine[:80]!r}, which "
                f"is not the UUID of one machine; on the host, run `nvme gen-hostnqn > {self._nqn}` as root"
            )
        try:
            self._id.parent.mkdir(parents=True, exist_ok=True)
            if not _first_line(self._id):
                _write_new(self._id, machine)
            _write_new(self._nqn, _UUID_NQN + machine)
        except OSError as error:
            raise FailedPrecondition(
                f"this host has no NQN, and {self._nqn} cannot be written: {error.strerror}; mount the "
                f"folder writable, or run `nvme gen-hostnqn > {self._nqn}` on the host as root"
            ) from error
        log.info("NQN of this host created", file=self._nqn, nqn=_UUID_NQN + machine)


def _objection(nqn: str) -> str:
    """Why a text is not an NQN that can be used."""
    if len(nqn.encode()) > _MAX_NQN_BYTES:
        return f"has more than {_MAX_NQN_BYTES} bytes"
    if "," in nqn:
        return "has a comma, which separates options for the kernel"
    return "is not an NVMe qualified name (nqn.<year>-<month>.<reversed domain>:<name>, without blanks)"


def _is_uuid(text: str) -> bool:
    """Whether ``text`` is a UUID that can belong to one host: not the same digit everywhere."""
    return _UUID.fullmatch(text) is not None and len(set(text) - {"-"}) > 1


def _first_line(file: Path) -> str:
    """The first line of a file without the space around it; empty if the file is missing or empty.

    Raises:
        FailedPrecondition: it cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise FailedPrecondition(f"cannot read {file}: {error.strerror}") from error
    return text.splitlines()[0].strip() if text else ""


def _write_new(file: Path, text: str) -> None:
    """Write ``file`` in one step. A file that another program has written meanwhile stays.

    An empty file is replaced.
    """
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(f"{text}\n")
            out.flush()
            os.fchmod(out.fileno(), _READABLE)
            os.fsync(out.fileno())
        if file.exists() and not file.read_text(errors="replace").strip():
            Path(name).replace(file)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(name, file)
    finally:
        Path(name).unlink(missing_ok=True)


def host_id_bytes(host_id: str) -> bytes:
    """A host id as NVMe sends it: 16 bytes."""
    return uuid.UUID(host_id).bytes
