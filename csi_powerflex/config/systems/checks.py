"""Checks of the systems file that its schema cannot express."""

from __future__ import annotations

import math
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec

from csi_powerflex import units
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.config.systems.trust import trust_of
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.ids import ZONE_RULE, is_object_id, is_zone

# The array's limit pathsPerVolume, and its SDTs in a protection domain times their addresses.
_MOST_PATHS, _MOST_PORTS = 8, 1024
# A shorter beginning could fit names that no one thought of.
_LEAST_BEGINNING = 3
_GIVE_MORE = f"give at least {_LEAST_BEGINNING} characters that only names of the other driver begin with"


def problems(system: SystemSettings) -> Iterator[tuple[str, str]]:
    """The problems of one system: for each the key, or "" for the whole system, and a text."""
    for field in msgspec.structs.fields(SystemSettings):
        value = getattr(system, field.name)
        if isinstance(value, str) and not value.strip():
            yield field.encode_name, "must not be empty; give a value or leave the key out"
        elif isinstance(value, str) and not value.isprintable():
            yield field.encode_name, "holds a character that cannot be printed; type the value again"
    if not system.endpoints:
        yield "endpoints", "the list is empty; give the gateway's URL"
    for index, endpoint in enumerate(system.endpoints):
        if not _is_base_url(endpoint):
            # The part before an @ or after a ? may be a password.
            harmless = endpoint.rpartition("@")[2].partition("?")[0]
            remedy = "give https://<host>[:<port>] without /api, with the user under username"
            yield f"endpoints[{index}]", f"{harmless!r} is not usable; {remedy}"
    if system.id is not None and not is_object_id(system.id):
        yield (
            "id",
            f"a system id is 16 lower-case hexadecimal digits, not {system.id!r}; {_id_remedy(system.id)}",
        )
    if not (math.isfinite(system.request_timeout) and system.request_timeout > 0):
        yield "requestTimeout", "must be a number of seconds above 0"
    yield from _nvme_problems(system)
    yield from _zone_problems(system)
    yield from _adoption_problems(system)
    yield from _trash_problems(system)
    yield from _trust_problems(system)
    yield from _password_problems(system)


def _id_remedy(found: str) -> str:
    if is_object_id(found.lower()):
        return "write it in lower case"
    return "a name of the system goes to the key name"


def _is_base_url(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        _ = parts.port  # raises where it is not a number
    except ValueError:
        return False
    # The driver adds these to the base URL itself.
    of_api = parts.path.strip("/").partition("/")[0].lower() in ("api", "rest", "dtapi")
    usable = parts.scheme == "https" and bool(parts.hostname) and not of_api
    return usable and endpoint.isprintable() and not any(mark in endpoint for mark in "@?# ")


def _nvme_problems(system: SystemSettings) -> Iterator[tuple[str, str]]:
    for key, number, most in (
        ("nvmeMaxPaths", system.nvme_max_paths, _MOST_PATHS),
        ("nvmeMaxPorts", system.nvme_max_ports, _MOST_PORTS),
    ):
        if number is not None and not 1 <= number <= most:
            yield key, f"must be a whole number from 1 to {most}, or left out for the array's default"


def _zone_problems(system: SystemSettings) -> Iterator[tuple[str, str]]:
    for index, zone in enumerate(system.zones):
        if not is_zone(zone.name):
            yield f"zones[{index}].name", f"{zone.name!r} is not usable; give {ZONE_RULE}"
        if not zone.storage_pools:
            yield f"zones[{index}].storagePools", "the list is empty; name at least one storage pool"


def _adoption_problems(system: SystemSettings) -> Iterator[tuple[str, str]]:
    for key, beginnings in (
        ("adoptVolumes", system.adopt_volumes),
        ("adoptSnapshots", system.adopt_snapshots),
    ):
        for index, beginning in enumerate(beginnings):
            if len(beginning) < _LEAST_BEGINNING or not beginning.isprintable():
                yield f"{key}[{index}]", f"{beginning!r} fits too many names; {_GIVE_MORE}"
    for volumes in system.adopt_volumes:
        for snapshots in system.adopt_snapshots:
            if volumes.startswith(snapshots) or snapshots.startswith(volumes):
                yield "adoptSnapshots", f"{snapshots!r} and {volumes!r} in adoptVolumes fit the same names"


def _trash_problems(system: SystemSettings) -> Iterator[tuple[str, str]]:
    if system.trash is None:
        return
    try:
        units.duration(system.trash.keep)
    except ValueError as error:
        yield "trash.keep", f"{system.trash.keep!r} is not usable: it {error}"
    if system.trash.max_bytes is not None and system.trash.max_bytes < 0:
        yield "trash.maxBytes", "must be a number of bytes, 0 or more"


def _trust_problems(system: SystemSettings) -> Iterator[tuple[str, str]]:
    if system.ca_file is None:
        return
    if not system.verify_certificate:
        yield "caFile", "has no use with verifyCertificate: false; remove one of them"
    try:
        trust_of(system)
    except FailedPrecondition as error:
        yield "caFile", str(error)


def _password_problems(system: SystemSettings) -> Iterator[tuple[str, str]]:
    if (system.password is None) == (system.password_file is None):
        yield "", "give exactly one of password and passwordFile"
    try:
        system.read_password()
    except FailedPrecondition as error:
        yield "passwordFile" if system.password is None else "password", str(error)
