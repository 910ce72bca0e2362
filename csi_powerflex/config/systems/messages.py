"""Translates msgspec's messages about the systems file: which key, what is wrong, what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from csi_powerflex.config.systems.schema import SystemSettings, SystemsFile
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
        # The text after the colon is the value, and may be a password.
        return f"unknown key {name!r} with a colon in it; put a space after the colon"
    return f"unknown key {key!r}; {did_you_mean(key, known)}"


def _wrong_type(wanted: str, found: str) -> str:
    # For an optional key, msgspec writes "str | null".
    expected = _NAMES.get(wanted.removesuffix(" | null"), wanted)
    remedy = {"text": "; put quotes around it", "a list": "; begin each entry with a dash"}.get(expected, "")
    return f"expected {expected}, found {_NAMES.get(found, found)}{remedy}"
