"""A strict reader of YAML files. Its error messages have one line and quote nothing of the file.

PyYAML's own messages have several lines and quote the text around the error, which may be a password. And
PyYAML accepts a key twice in one mapping, which is the result of a missing dash. This module knows no key of
any file.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import yaml

from csi_powerflex.errors import InvalidArgument

# What PyYAML's constructors raise for a scalar that does not have the form of its tag: ``!!timestamp soon``.
_WRONG_FOR_ITS_TAG = (ValueError, LookupError, AttributeError, TypeError, OverflowError)
# A folder with more files is not one that was made for this file.
_FEW_FILES = 8
# What PyYAML quotes from the file. Single characters remain: they belong to YAML, such as ':'.
_QUOTED = re.compile(r"""(['"]).{2,}\1""")


def load(path: Path) -> Any:
    """The content of the file as lists, mappings and scalars.

    Raises:
        InvalidArgument: the file cannot be read, or is not YAML. The message names the file and the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{path}: cannot be read: {error.strerror}{_others(path, error)}") from error
    try:
        return yaml.load(content, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reasons = ", ".join(_QUOTED.sub("…", part) for part in (error.context, error.problem) if part)
        # Without a cause: in a stack, the text of the cause would quote the file.
        raise InvalidArgument(
            f"{path}: {position}not valid YAML: {reasons}; "
            "check the indentation, and put quotes around a value with special characters"
        ) from None
    except RecursionError:
        raise InvalidArgument(f"{path}: lists or mappings are nested too deeply") from None
    except yaml.YAMLError:
        raise InvalidArgument(f"{path}: not a text file in UTF-8, or one with control characters") from None


def _others(path: Path, error: OSError) -> str:
    """What is in the folder of a file that is missing: such as a key of a Secret with another name."""
    if not isinstance(error, FileNotFoundError):
        return ""
    try:
        names = sorted(other.name for other in path.parent.iterdir() if not other.name.startswith("."))
    except OSError:
        return f"; there is no folder {path.parent}"
    close = difflib.get_close_matches(path.name, names, n=1)
    if not close and (not names or len(names) > _FEW_FILES):
        return ""
    return f"; its folder has {', '.join(close or names)}"


class _Loader(yaml.SafeLoader):
    """Loads YAML's plain types, and refuses a key that is twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002, RUF100 - PyYAML's signature
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None,
                        None,
                        "this key is twice in one mapping (is a dash missing?)",
                        key.start_mark,
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002, RUF100 - PyYAML's signature
        try:
            return super().construct_object(node, deep)
        except _WRONG_FOR_ITS_TAG:
            raise yaml.constructor.ConstructorError(
                None, None, "this looks like a number or a date but is none", node.start_mark
            ) from None
