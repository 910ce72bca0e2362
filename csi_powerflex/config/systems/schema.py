"""The keys of the systems file, as frozen values."""

from __future__ import annotations

from pathlib import Path

import msgspec

from csi_powerflex.config.secret import Secret
from csi_powerflex.errors import FailedPrecondition

# What editors, shells and YAML add to a password by accident.
_UNPRINTABLE = {
    "\n": "a line break",
    "\r": "a line break",
    "\t": "a tab",
    "\ufeff": "a byte order mark",
    "\0": "a NUL",
    "\b": "a backspace",
}


class ZoneSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True, kw_only=True
):
    """The part of a system that is in one zone.

    Attributes:
        name: the zone, as its nodes tell it (--zone or --zone-file).
        protection_domain: name or id of its protection domain.
        storage_pools: names or ids of its storage pools, in the order of preference.
    """

    name: str
    protection_domain: str | None = None
    storage_pools: tuple[str, ...]


class TrashSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True, kw_only=True
):
    """How a system keeps deleted volumes.

    Attributes:
        keep: how long, such as 24h or 7d; 0 to remove volumes at once, unless their class says otherwise.
        max_bytes: the most bytes of all volumes in the trash, by their sizes; the oldest leave it first. By
            default there is no limit.
    """

    keep: str = "24h"
    max_bytes: int | None = None


class SystemSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True, kw_only=True
):
    """One PowerFlex system. Each field is a key of the YAML file, in camelCase.

    Attributes:
        endpoints: base URLs of its gateways. When one does not answer, the next one is tried.
        username: the array's user.
        password: the password; give this or passwordFile.
        password_file: a file that holds the password, such as one key of a mounted Secret.
        id: the system's id, 16 hexadecimal digits; by default the gateway is asked for it.
        name: the name that StorageClasses may use for the system. They may always use its id.
        ca_file: PEM file of the authority that signed the gateway's certificate, or of the certificate
            itself; by default the list of the operating system, or of the image, is trusted.
        verify_certificate: set to false only for a gateway on a network you trust.
        protection_domain: name or id of the protection domain for volumes whose parameters name none.
        storage_pool: name or id of the storage pool for volumes whose parameters name none.
        zones: which storage pools are in which zone, where a system spans several zones or a zone several
            systems.
        approve_hosts: approve an SDC in a restricted mode when a volume is mapped to it.
        adopt_volumes: beginnings of names of volumes that were moved from another driver; this driver may
            delete them.
        adopt_snapshots: beginnings of names of snapshots that were moved from another driver; this driver may
            delete them.
        nvme_max_paths: the most paths that a new NVMe host gets to a volume; by default the array decides.
        nvme_max_ports: the most ports in a protection domain that a new NVMe host uses; by default the array
            decides.
        trash: keep deleted volumes for some time, so that they can be undeleted; by default they are removed
            at once.
        request_timeout: the most seconds that one request may take, within the deadline of the call.
    """

    endpoints: tuple[str, ...]
    username: str
    password: Secret | None = None
    password_file: str | None = None
    id: str | None = None
    name: str | None = None
    ca_file: str | None = None
    verify_certificate: bool = True
    protection_domain: str | None = None
    storage_pool: str | None = None
    zones: tuple[ZoneSettings, ...] = ()
    approve_hosts: bool = False
    adopt_volumes: tuple[str, ...] = ()
    adopt_snapshots: tuple[str, ...] = ()
    nvme_max_paths: int | None = None
    nvme_max_ports: int | None = None
    trash: TrashSettings | None = None
    request_timeout: float = 60.0

    @property
    def label(self) -> str:
        """The name of this system in messages, metrics and the log."""
        return self.name or self.id or self.endpoints[0]

    def read_password(self) -> Secret:
        """The password. It is read from its file at each use, so a change takes effect.

        Raises:
            FailedPrecondition: the file cannot be read or is empty, or the password has a character that
                cannot be printed. The message does not have the password.
        """
        if self.password is not None:
            self._require_printable(self.password.reveal(), "password")
            return self.password
        path = Path(self.password_file or "")
        try:
            password = path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise FailedPrecondition(
                f"system {self.label}: cannot read passwordFile {path}: {error.strerror}"
            ) from error
        except ValueError:
            # Without a cause: in a stack, the text of the cause would quote the password.
            raise FailedPrecondition(
                f"system {self.label}: passwordFile {path} is not text in UTF-8"
            ) from None
        if not password:
            raise FailedPrecondition(f"system {self.label}: passwordFile {path} is empty")
        self._require_printable(password, f"passwordFile {path}")
        return Secret(password)

    def _require_printable(self, password: str, where: str) -> None:
        found = next((name for mark, name in _UNPRINTABLE.items() if mark in password), None)
        if found is None and password.isprintable():
            return
        raise FailedPrecondition(
            f"system {self.label}: {where} holds {found or 'a character that cannot be printed'}, which the "
            "password cannot have; write it again, in one line and without anything before or after it"
        )


class SystemsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The whole file: a list ``systems``."""

    systems: tuple[SystemSettings, ...]
