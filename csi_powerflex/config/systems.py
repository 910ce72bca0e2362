"""The systems file: which PowerFlex systems the controller serves, and how it reaches them.

A YAML file, because people write it; decoded into frozen values with every key checked, so that a typing
error is found at start-up and by name.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from csi_powerflex.config import document
from csi_powerflex.config.secret import Secret
from csi_powerflex.errors import FailedPrecondition, InvalidArgument
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


def load(path: Path) -> tuple[SystemSettings, ...]:
    """Read and check the systems file, and that the files it names can be read.

    Raises:
        InvalidArgument: it cannot be read or is wrong; the message names the file, the key and the remedy.
    """
    content = document.load(path)
    try:
        _expand_urls(content)
    except ValueError as error:
        # Without a cause: an inner error may quote the URL, which holds the password.
        raise InvalidArgument(f"{path}: {error}") from None
    try:
        systems = msgspec.convert(content, type=SystemsFile, dec_hook=_decode_secret).systems
    except msgspec.ValidationError as error:
        # Without a cause: a key may have the password glued to it, which msgspec quotes.
        raise InvalidArgument(f"{path}: {_located(str(error))}") from None
    if not systems:
        raise InvalidArgument(f"{path}: systems: the list is empty; name at least one PowerFlex system")
    for index, system in enumerate(systems):
        found = next(_faults(system), None)
        if found:
            key, fault = found
            where = f"systems[{index}].{key}" if key else f"systems[{index}]"
            raise InvalidArgument(f"{path}: {where}: {fault}")
    _check_unique(path, systems)
    return systems


def _expand_urls(content: Any) -> None:
    """Replace each system's ``url`` by the keys it stands for.

    The form is the one that CloudStack registers pools with: ``powerflex://user:password@gateway[:port]/pool``,
    user, password and pool percent-encoded where they hold reserved characters.

    Raises:
        ValueError: a URL that is none, or keys beside it that it stands for; the text shows no password.
    """
    systems = content.get("systems") if isinstance(content, dict) else None
    for index, system in enumerate(systems if isinstance(systems, list) else ()):
        if not (isinstance(system, dict) and "url" in system):
            continue
        meant = _keys_of_url(system.pop("url"))
        if meant is None:
            raise ValueError(
                f"systems[{index}].url: must read powerflex://user:password@gateway[:port]/pool, with "
                "reserved characters of user, password and pool percent-encoded"
            )
        double = sorted(meant.keys() & system.keys())
        if double:
            raise ValueError(f"systems[{index}]: the url gives {', '.join(double)} already; give it once")
        system.update(meant)


def _keys_of_url(url: object) -> dict[str, object] | None:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    pool = parts.path.strip("/")
    if parts.scheme != "powerflex" or not (parts.hostname and parts.username and parts.password and pool):
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return {
        "endpoints": [f"https://{host}{port}"],
        "username": unquote(parts.username),
        "password": unquote(parts.password),
        "storagePool": unquote(pool),
    }


def _decode_secret(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str) and value:
        return Secret(value)
    raise ValueError("expected a non-empty text; put quotes around a password that looks like a number")


def _faults(system: SystemSettings) -> Iterator[tuple[str, str]]:
    """What is wrong with one system: the key, or "" for the whole of it, and the fault with its remedy."""
    for field in msgspec.structs.fields(SystemSettings):
        value = getattr(system, field.name)
        if isinstance(value, str) and not value.strip():
            yield field.encode_name, "must not be empty; give a value or leave the key out"
        elif isinstance(value, str) and not value.isprintable():
            yield field.encode_name, "holds a character that cannot be printed; write it anew"
    if not system.endpoints:
        yield "endpoints", "the list is empty; give the gateway's URL"
    for index, endpoint in enumerate(system.endpoints):
        if not _is_base_url(endpoint):
            # What stands before an @ or after a ? may be a password.
            harmless = endpoint.rpartition("@")[2].partition("?")[0]
            remedy = "give https://<host>[:<port>], with the user under username"
            yield f"endpoints[{index}]", f"{harmless!r} is not usable; {remedy}"
    if system.id is not None and not is_object_id(system.id):
        yield "id", f"a system id is 16 lower-case hexadecimal digits, not {system.id!r}"
    if not (math.isfinite(system.request_timeout) and system.request_timeout > 0):
        yield "requestTimeout", "must be a number of seconds above 0"
    yield from _trust_faults(system)
    yield from _password_faults(system)


def _is_base_url(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        _ = parts.port  # only asking shows whether it is a number
    except ValueError:
        return False
    usable = parts.scheme == "https" and bool(parts.hostname)
    return usable and endpoint.isprintable() and not any(mark in endpoint for mark in "@?# ")


def _trust_faults(system: SystemSettings) -> Iterator[tuple[str, str]]:
    if system.ca_file is None:
        return
    if not system.verify_certificate:
        yield "caFile", "has no use with verifyCertificate: false; drop one of them"
    try:
        Path(system.ca_file).read_bytes()
    except OSError as error:
        yield "caFile", f"cannot read {system.ca_file}: {error.strerror}"


def _password_faults(system: SystemSettings) -> Iterator[tuple[str, str]]:
    if (system.password is None) == (system.password_file is None):
        yield "", "give exactly one of password and passwordFile"
    try:
        system.read_password()
    except FailedPrecondition as error:
        yield "passwordFile", str(error)


def _check_unique(path: Path, systems: tuple[SystemSettings, ...]) -> None:
    # Names and ids share one space: a StorageClass may use either under systemID.
    seen: set[str] = set()
    for index, system in enumerate(systems):
        for key, value in (("id", system.id), ("name", system.name)):
            if value in seen:
                raise InvalidArgument(
                    f"{path}: systems[{index}].{key}: {value!r} stands for another system already; "
                    "each name and id must be of one system"
                )
        seen |= {value for value in (system.id, system.name) if value is not None}


_AT = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$\.?(?P<where>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<key>[^`]*)`")
_TYPES = re.compile(r"Expected `(?P<wanted>[^`]*)`, got `(?P<found>[^`]*)`")
_NAMES = {
    "array": "a list",
    "object": "a mapping of keys to values",
    "str": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "null": "nothing",
}


def _located(message: str) -> str:
    """msgspec's message as ``<key path>: <what is wrong>; <what to do>``, on one line."""
    match = _AT.fullmatch(message)
    where, what = (match["where"], match["what"]) if match else (None, message)
    if match and match["key"]:
        what = "a key is not text; put quotes around it"
    elif unknown := _UNKNOWN.fullmatch(what):
        kind = SystemSettings if where else SystemsFile
        what = _unknown_key(unknown["key"], [field.encode_name for field in msgspec.structs.fields(kind)])
    elif missing := _MISSING.fullmatch(what):
        what = f"the key {missing['key']} is missing; it must be given"
    elif types := _TYPES.fullmatch(what):
        what = _wrong_type(types["wanted"], types["found"])
    return f"{where}: {what}" if where else what


def _unknown_key(key: str, known: Iterable[str]) -> str:
    name, colon, _ = key.partition(":")
    if colon:
        # The rest is the value, and may be the password.
        return f"unknown key {name!r} with a colon in it; put a space after the colon"
    by_lower_case = {name.lower(): name for name in known}
    close = difflib.get_close_matches(key.lower(), by_lower_case, n=1)
    if close:
        return f"unknown key {key!r}; did you mean {by_lower_case[close[0]]}?"
    return f"unknown key {key!r}; known keys: {', '.join(by_lower_case.values())}"


def _wrong_type(wanted: str, found: str) -> str:
    # "str | null" is said of a key that may be left out.
    expected = _NAMES.get(wanted.removesuffix(" | null"), wanted)
    remedy = {"text": "; put quotes around it", "a list": "; begin each entry with a dash"}.get(expected, "")
    return f"expected {expected}, found {_NAMES.get(found, found)}{remedy}"
