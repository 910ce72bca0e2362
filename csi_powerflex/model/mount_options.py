"""The mount options of a volume: the user's, checked, and those that its state requires."""

from __future__ import annotations

from collections.abc import Iterable

from csi_powerflex.errors import InvalidArgument

# Groups of options that exclude each other.
_OPPOSITES = (
    ("ro", "rw"),
    ("exec", "noexec"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("sync", "async"),
    ("discard", "nodiscard"),
    ("barrier", "nobarrier"),
    ("atime", "noatime", "relatime", "norelatime", "strictatime"),
    ("diratime", "nodiratime"),
)
# These make another kind of mount, name other devices or files, or belong to fstab.
_REFUSED = frozenset(
    {
        "remount",
        "bind",
        "rbind",
        "move",
        "loop",
        "user",
        "users",
        "owner",
        "group",
        "auto",
        "noauto",
        "nofail",
    }
    | {
        "shared",
        "rshared",
        "private",
        "rprivate",
        "slave",
        "rslave",
        "unbindable",
        "runbindable",
        "sizelimit",
    }
    | {"offset", "encryption", "logdev", "rtdev", "journal_path", "journal_dev", "device", "degraded"}
)
_SELINUX = ("context", "fscontext", "defcontext", "rootcontext")


def split(options: str) -> tuple[str, ...]:
    """The single options in ``options``, which is written as for mount(8).

    Commas within quotes do not separate.
    """
    parts, quoted = [""], False
    for character in options:
        quoted ^= character == '"'
        if character == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return tuple(part for part in parts if part)


def checked(flags: Iterable[str]) -> tuple[str, ...]:
    """The user's mount options, each once, in their order. An element of ``flags`` may hold several options.

    Raises:
        InvalidArgument: two options contradict each other, or one is not allowed for a volume.
    """
    options = tuple(dict.fromkeys(part.strip() for flag in flags for part in split(flag)))
    options = tuple(option for option in options if option and option != "defaults")
    names: dict[str, str] = {}
    for option in options:
        name = option.partition("=")[0]
        if name in _REFUSED or name.startswith("X-") or not option.isprintable():
            raise InvalidArgument(f"mount option {option!r} is not allowed for a volume")
        if option.count('"') % 2:
            # Joined with other options, its quotation mark would end their quotation.
            raise InvalidArgument(f"mount option {option!r} has a quotation mark that is not closed")
        if name in ("ro", "rw") and name != option:
            raise InvalidArgument(f"mount option {option!r} is not allowed for a volume; use {name}")
        if name in names and names[name] != option and name in _SELINUX:
            raise InvalidArgument(f"mount options {names[name]!r} and {option!r} contradict each other")
        names[name] = option
    for group in _OPPOSITES:
        meant = [name for name in group if name in names]
        if len(meant) > 1:
            raise InvalidArgument(f"mount options {' and '.join(map(repr, meant))} contradict each other")
    return options


def selinux_context(options: Iterable[str]) -> str | None:
    """The SELinux label that ``context=`` gives, without quotes; None where there is none."""
    for option in options:
        name, _, value = option.partition("=")
        if name == "context":
            return value.strip('"')
    return None
