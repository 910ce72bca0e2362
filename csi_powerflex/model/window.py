"""Window PersistentVolumes: a second PersistentVolume of a volume, by which a data mover reaches its device.

A filesystem claim shows its users a mounted filesystem. A mover needs the block device. So the operator makes
a second PersistentVolume with the same handle for a while, in block mode, and marks it by a volume attribute.
The volume belongs to the other PersistentVolume: a window requests no limits and no policy.
"""

from __future__ import annotations

WINDOW = "window"
"""The volume attribute that marks a window. Its value is ``true``."""


def is_window(value: str | None) -> bool:
    """Whether this value of the attribute marks a window. None: the attribute is absent."""
    return (value or "").casefold() == "true"
