"""The keys of the systems file, as frozen values."""

from __future__ import annotations

from pathlib import Path

import msgspec

from csi_powerflex.config.secret import Secret
from csi_powerflex.errors import FailedPrecondition


class ZoneSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True, kw_only=True
):
    """The part of a system that lies in one zone.

    Attributes:
        name: the zone, as the nodes there call it.
        protection_domain: name or id of its domain.
        storage_pools: names or ids of its pools, the ones to prefer first.
    """

    name: str
    protection_domain: str | None = None
    storage_pools: tuple[str, ...]


class SystemSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True, kw_only=True
):
    """One PowerFlex system: a key of the YAML file for each field, in camelCase.

    Attributes:
        endpoints: base URLs of its gateways, tried in order when one does not answer.
        username: the array's user.
        password: the password itself; give this or passwordFile.
        password_file: a file that holds the password, such as one key of a mounted Secret.
        id: the system's id, 16 hexadecimal digits; asked of the gateway when it is not given.
        name: what StorageClasses may call the system; its id always works as well.
        ca_file: PEM file of the authority that signed the gateway's certificate; the system's own list
            of authorities by default.
        verify_certificate: set to false only for a gateway on a network you trust.
        protection_domain: name or id of the domain for volumes whose parameters name none.
        storage_pool: name or id of the pool for volumes whose parameters name none.
        zones: where the system spans several zones, or a zone several systems: which pools lie where.
        approve_hosts: approve an SDC in a restricted mode when a volume is to be mapped to it.
        request_timeout: seconds for one request where the call leaves more.
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
    request_timeout: float = 60.0

    @property
    def label(self) -> str:
        """How messages call this system."""
        return self.name or self.id or self.endpoints[0]

    def read_password(self) -> Secret:
        """The password, read from its file at each use, so that a changed one is taken up.

        Raises:
            FailedPrecondition: the file cannot be read or is empty.
        """
        if self.password is not None:
            return self.password
        path = Path(self.password_file or "")
        try:
            password = path.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise FailedPrecondition(
                f"system {self.label}: cannot read passwordFile {path}: {error.strerror}"
            ) from error
        except ValueError:
            # Without a cause: its text would quote the password in a stack.
            raise FailedPrecondition(
                f"system {self.label}: passwordFile {path} is not text in UTF-8"
            ) from None
        if not password:
            raise FailedPrecondition(f"system {self.label}: passwordFile {path} is empty")
        return Secret(password)


class SystemsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The whole file: a list ``systems``."""

    systems: tuple[SystemSettings, ...]
