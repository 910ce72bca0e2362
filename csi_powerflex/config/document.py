"""YAML files that people write, read strictly and refused in one line that quotes nothing of the file.

PyYAML's own messages span several lines and repeat the text around the fault, which may be a password; and
it lets a key that stands twice silently replace the first, which is what a forgotten dash looks like. Knows
no key of any file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from csi_powerflex.errors import InvalidArgument

# What PyYAML's constructors raise for a scalar that is not what its tag says, such as ``!!timestamp soon``.
_NOT_OF_THE_TAG = (ValueError, LookupError, AttributeError, TypeError, OverflowError)
# What PyYAML quotes from the file. Single characters stay: they are YAML's own, such as ':'.
_QUOTED = re.compile(r"""(['"]).{2,}\1""")


def load(path: Path) -> Any:
    """The file's content as lists, mappings and scalars.

    Raises:
        InvalidArgument: it cannot be read, or is not YAML; the message names the file and the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return yaml.load(content, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reasons = ", ".join(_QUOTED.sub("…", part) for part in (error.context, error.problem) if part)
        # Without a cause: that one's text would quote the file again in a stack.
        raise InvalidArgument(
            f"{path}: {place}not valid YAML: {reasons}; check the indentation, and put quotes around a value "
            "with special characters"
        ) from None
    except RecursionError:
        raise InvalidArgument(f"{path}: nested too deeply to be a file that a person wrote") from None
    except yaml.YAMLError:
        raise InvalidArgument(f"{path}: not a text file in UTF-8, or one with control characters") from None


class _Loader(yaml.SafeLoader):
    """YAML's plain types, each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002, RUF100 - PyYAML's signature
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None,
                        None,
                        "this key stands twice in one mapping (is a dash missing?)",
                        key.start_mark,
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002, RUF100 - PyYAML's signature
        try:
            return super().construct_object(node, deep)
        except _NOT_OF_THE_TAG:
            raise yaml.constructor.ConstructorError(
                None, None, "this looks like a number or a date but is none", node.start_mark
            ) from None
