"""The systems file: which PowerFlex systems the controller serves, and how it reaches them.

A YAML file, because people write it; decoded into frozen values with every key checked, so that a typing
error is found at start-up and by name.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from csi_powerflex.config.secret import Secret
from csi_powerflex.errors import InvalidArgument
from csi_powerflex.ids import is_object_id


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
        password: the password itself; give this or ``password_file``.
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
            InvalidArgument: the file cannot be read.
        """
        if self.password is not None:
            return self.password
        path = Path(self.password_file or "")
        try:
            return Secret(path.read_text(encoding="utf-8").rstrip("\r\n"))
        except OSError as error:
            raise InvalidArgument(
                f"system {self.label}: cannot read passwordFile {path}: {error.strerror}"
            ) from error


class SystemsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The whole file: a list ``systems``."""

    systems: tuple[SystemSettings, ...]


def load(path: Path) -> tuple[SystemSettings, ...]:
    """Read and check the systems file.

    Raises:
        InvalidArgument: it cannot be read or is wrong; the message names the file, the key and the remedy.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{path}: cannot be read: {error.strerror}") from error
    try:
        systems = msgspec.yaml.decode(text, type=SystemsFile, dec_hook=_decode_secret).systems
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{path}: {_located(str(error))}") from error
    except msgspec.DecodeError as error:
        # PyYAML spreads its message over several lines.
        raise InvalidArgument(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not systems:
        raise InvalidArgument(f"{path}: systems: the list is empty; name at least one PowerFlex system")
    for index, system in enumerate(systems):
        _check(f"{path}: systems[{index}]", system)
    _check_unique(path, systems)
    return systems


def _decode_secret(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str) and value:
        return Secret(value)
    raise ValueError("expected a non-empty text; put quotes around a password that looks like a number")


def _check(where: str, system: SystemSettings) -> None:
    if not system.endpoints:
        raise InvalidArgument(f"{where}.endpoints: the list is empty; give the gateway's URL")
    for endpoint in system.endpoints:
        parts = urlsplit(endpoint)
        if parts.scheme != "https" or not parts.hostname or parts.username or parts.query:
            raise InvalidArgument(
                f"{where}.endpoints: {parts.scheme}://{parts.hostname or ''} is not usable; "
                "give https://<host>[:<port>], with the user under username"
            )
    if (system.password is None) == (system.password_file is None):
        raise InvalidArgument(f"{where}: give exactly one of password and passwordFile")
    if system.id is not None and not is_object_id(system.id):
        raise InvalidArgument(
            f"{where}.id: a system id is 16 lower-case hexadecimal digits, not {system.id!r}"
        )
    if system.ca_file is not None and not Path(system.ca_file).is_file():
        raise InvalidArgument(f"{where}.caFile: there is no file {system.ca_file}")
    if system.ca_file is not None and not system.verify_certificate:
        raise InvalidArgument(f"{where}: caFile has no use with verifyCertificate: false; drop one of them")
    if not system.request_timeout > 0:
        raise InvalidArgument(f"{where}.requestTimeout: must be more than 0 seconds")


def _check_unique(path: Path, systems: tuple[SystemSettings, ...]) -> None:
    for key in ("id", "name"):
        seen: set[str] = set()
        for index, system in enumerate(systems):
            value = getattr(system, key)
            if value is not None and value in seen:
                raise InvalidArgument(f"{path}: systems[{index}].{key}: {value!r} is used twice")
            seen.add(value)


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`")
_AT = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?")


def _located(message: str) -> str:
    """msgspec's message as ``<key path>: <what is wrong>``, with a suggestion for a misspelt key."""
    match = _AT.fullmatch(message)
    where, what = (match["where"], match["what"]) if match else (None, message)
    unknown = _UNKNOWN.fullmatch(what)
    if unknown:
        kind = SystemSettings if where else SystemsFile
        known = [field.encode_name for field in msgspec.structs.fields(kind)]
        close = difflib.get_close_matches(unknown["key"], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(known)}"
        what = f"unknown key {unknown['key']!r}; {hint}"
    return f"{where}: {what}" if where else what
