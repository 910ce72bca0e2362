"""Reading the systems file: YAML in, checked settings out.

Every key is checked. So a typing error is found at the start, and the message names the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from csi_powerflex.config import document
from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems import checks, messages
from csi_powerflex.config.systems.schema import SystemSettings, SystemsFile
from csi_powerflex.errors import InvalidArgument


def load(path: Path) -> tuple[SystemSettings, ...]:
    """Read and check the systems file, and check that the files that it names can be read.

    Raises:
        InvalidArgument: the file cannot be read or is wrong. The message names the file, the key and the
            remedy.
    """
    content = document.load(path)
    _check_keys(path, content)
    try:
        _expand_urls(content)
    except ValueError as error:
        # Without a cause: an inner error may quote the URL, which holds the password.
        raise InvalidArgument(f"{path}: {error}") from None
    try:
        systems = msgspec.convert(content, type=SystemsFile, dec_hook=_decode_secret).systems
    except msgspec.ValidationError as error:
        # Without a cause: msgspec quotes the key, and a password may follow in it after a missing space.
        raise InvalidArgument(f"{path}: {messages.translated(str(error))}") from None
    if not systems:
        raise InvalidArgument(f"{path}: systems: the list is empty; name at least one PowerFlex system")
    for index, system in enumerate(systems):
        found = next(checks.problems(system), None)
        if found:
            key, problem = found
            where = f"systems[{index}].{key}" if key else f"systems[{index}]"
            raise InvalidArgument(f"{path}: {where}: {problem}")
    for problem in _shared(enumerate(systems)):
        raise InvalidArgument(f"{path}: {problem}")
    return systems


def _check_keys(path: Path, content: object) -> None:
    """Refuse a list in place of the file, and all unknown keys of its systems in one message.

    Raises:
        InvalidArgument: there are some.
    """
    found = messages.unknown_keys(content)
    if isinstance(content, list):
        found.insert(0, "expected a mapping of keys to values, found a list; put `systems:` above the list")
    if found:
        raise InvalidArgument(f"{path}: {'; '.join(found)}")


@dataclass(frozen=True, slots=True)
class Examined:
    """What is in a systems file.

    Attributes:
        problems: every problem of it, as ``load`` words them; empty if ``load`` accepts the file.
        systems: the settings of those systems that have no problem of their own.
    """

    problems: tuple[str, ...]
    systems: tuple[SystemSettings, ...]


def examine(path: Path) -> Examined:
    """Find every problem of the systems file. ``load`` stops at the first one."""
    try:
        return Examined((), load(path))
    except InvalidArgument as error:
        first = str(error)
    try:
        content = document.load(path)
        _expand_urls(content)
        entries = content["systems"]
        examined = [_examined(path, index, dict(entry)) for index, entry in enumerate(entries)]
    except (InvalidArgument, ValueError, TypeError, LookupError):
        # Without a list of systems there is nothing more to look at.
        return Examined((first,), ())
    problems = [problem for found, _ in examined for problem in found]
    usable = [(index, system) for index, (_, system) in enumerate(examined) if system is not None]
    problems += [f"{path}: {problem}" for problem in _shared(usable)]
    # If there are unknown keys, the first message lists them, and each has a message of its own here.
    if first not in problems and not messages.unknown_keys(content):
        problems.insert(0, first)
    return Examined(tuple(problems), tuple(system for _, system in usable))


def _examined(path: Path, index: int, entry: dict[Any, Any]) -> tuple[list[str], SystemSettings | None]:
    """The problems of one entry of the list, and its settings if it has none."""
    where = f"systems[{index}]"
    found = [f"{path}: {messages.translated(text)}" for text in _wrong_keys(where, entry)]
    if found:
        return found, None
    system = msgspec.convert(entry, type=SystemSettings, dec_hook=_decode_secret)
    found = [
        f"{path}: {where}.{key}: {text}" if key else f"{path}: {where}: {text}"
        for key, text in checks.problems(system)
    ]
    return found, None if found else system


def _wrong_keys(where: str, entry: dict[Any, Any]) -> Iterator[str]:
    """A message of msgspec's form for each key that is unknown, missing or has a value of a wrong type."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(SystemSettings)}
    for key, value in entry.items():
        if key not in fields:
            yield f"Object contains unknown field `{key}` - at `$.{where}`"
            continue
        try:
            msgspec.convert(value, type=fields[key].type, dec_hook=_decode_secret)
        except msgspec.ValidationError as error:
            text, found, below = str(error).partition(" - at `$")
            yield f"{text} - at `$.{where}.{key}{below if found else '`'}"
    for key, field in fields.items():
        if field.required and key not in entry:
            yield f"Object missing required field `{key}` - at `$.{where}`"


def _expand_urls(content: Any) -> None:
    """Replace the ``url`` of each system by the keys that it stands for.

    The form is that in which CloudStack registers pools: ``powerflex://user:password@gateway[:port]/pool``.
    Reserved characters of user, password and pool are percent-encoded.

    Raises:
        ValueError: the URL has another form, or the system also has one of those keys. The text shows no
            password.
    """
    systems = content.get("systems") if isinstance(content, dict) else None
    for index, system in enumerate(systems if isinstance(systems, list) else ()):
        if not (isinstance(system, dict) and "url" in system):
            continue
        keys = _keys_of_url(system.pop("url"))
        if keys is None:
            raise ValueError(
                f"systems[{index}].url: must be powerflex://user:password@gateway[:port]/pool, "
                "with reserved characters of user, password and pool percent-encoded"
            )
        double = sorted(keys.keys() & system.keys())
        if double:
            raise ValueError(f"systems[{index}]: the url gives {', '.join(double)} already; give it once")
        system.update(keys)


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


def _shared(systems: Iterable[tuple[int, SystemSettings]]) -> Iterator[str]:
    """What two systems have in common though they must not. ``systems`` have their numbers in the list."""
    # A name must also differ from every id: the parameter systemID of a StorageClass may be either.
    seen: set[str] = set()
    gateways: set[tuple[str, int, str]] = set()
    for index, system in systems:
        for key, value in (("id", system.id), ("name", system.name)):
            if value in seen:
                yield (
                    f"systems[{index}].{key}: {value!r} stands for another system already; "
                    "each name and id must be of one system"
                )
        seen |= {value for value in (system.id, system.name) if value is not None}
        for position, endpoint in enumerate(system.endpoints):
            if _gateway(endpoint) in gateways:
                yield (
                    f"systems[{index}].endpoints[{position}]: {endpoint!r} is an endpoint of another "
                    "system already; a gateway manages one system, so remove one of the two entries"
                )
        gateways |= {_gateway(endpoint) for endpoint in system.endpoints}


def _gateway(endpoint: str) -> tuple[str, int, str]:
    """Host, port and path of a checked endpoint, in one spelling."""
    parts = urlsplit(endpoint)
    return (parts.hostname or "").rstrip("."), parts.port or 443, parts.path.rstrip("/")
