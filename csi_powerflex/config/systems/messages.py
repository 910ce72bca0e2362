"""Translates msgspec's messages about the systems file: which key, what is wrong, what to do."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

import msgspec

from csi_powerflex.config.systems import dell
from csi_powerflex.config.systems.schema import SystemSettings, SystemsFile, ZoneSettings
from csi_powerflex.hints import did_you_mean

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


def translated(message: str) -> str:
    """msgspec's message as ``<key path>: <what is wrong>; <what to do>``, on one line."""
    match = _AT.fullmatch(message)
    where, what = (match["where"], match["what"]) if match else (None, message)
    if match and match["key"]:
        what = "a key is not text; put quotes around it"
    elif unknown := _UNKNOWN.fullmatch(what):
        what = _unknown_key(unknown["key"], _keys(_kind(where)))
    elif missing := _MISSING.fullmatch(what):
        what = f"the key {missing['key']} is missing; it must be given"
    elif types := _TYPES.fullmatch(what):
        what = _wrong_type(types["wanted"], types["found"])
    return f"{where}: {what}" if where else what


def _kind(where: str | None) -> type[msgspec.Struct]:
    if not where:
        return SystemsFile
    return ZoneSettings if ".zones[" in where else SystemSettings


def unknown_keys(content: object) -> list[str]:
    """A message for each unknown key of the systems in a file, each key once.

    Args:
        content: the file as lists and mappings. A list in place of the whole file is read as its systems.
    """
    prefix, systems = ("", content) if isinstance(content, list) else ("systems", _value(content, "systems"))
    found: dict[str, str] = {}
    for index, system in enumerate(systems if isinstance(systems, list) else ()):
        where = f"{prefix}[{index}]"
        _collect(found, system, where, [*_keys(SystemSettings), "url"])
        zones = _value(system, "zones")
        for number, zone in enumerate(zones if isinstance(zones, list) else ()):
            _collect(found, zone, f"{where}.zones[{number}]", _keys(ZoneSettings))
    return list(found.values())


def _collect(found: dict[str, str], item: object, where: str, known: Collection[str]) -> None:
    """Add the unknown keys of ``item`` that are not in ``found``."""
    for key in item if isinstance(item, dict) else ():
        if isinstance(key, str) and key not in known and key not in found:
            found[key] = f"{where}: {_unknown_key(key, known)}"


def _value(content: object, key: str) -> object:
    return content.get(key) if isinstance(content, dict) else None


def _keys(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _unknown_key(key: str, known: Iterable[str]) -> str:
    name, colon, _ = key.partition(":")
    if colon:
        # The text after the colon is the value, and may be a password.
        return f"unknown key {name!r} with a colon in it; put a space after the colon"
    return f"unknown key {key!r}; {dell.hint(key) or did_you_mean(key, known)}"


def _wrong_type(wanted: str, found: str) -> str:
    # For an optional key, msgspec writes "str | null".
    expected = _NAMES.get(wanted.removesuffix(" | null"), wanted)
    remedy = {"text": "; put quotes around it", "a list": "; begin each entry with a dash"}.get(expected, "")
    return f"expected {expected}, found {_NAMES.get(found, found)}{remedy}"
