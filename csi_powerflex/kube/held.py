"""The metadata of an object that may be held (see ``model.hold``)."""

from __future__ import annotations

import msgspec

from csi_powerflex.kube.client import ObjectMeta
from csi_powerflex.model.hold import SUFFIX, annotation


class HeldMeta(ObjectMeta, frozen=True, rename="camel"):
    """Metadata with its annotations of holds. All other annotations are dropped, because they may be long."""

    annotations: dict[str, str] | None = None

    def __post_init__(self) -> None:
        kept = {key: text for key, text in (self.annotations or {}).items() if key.endswith(SUFFIX)}
        msgspec.structs.force_setattr(self, "annotations", kept or None)

    def hold(self, driver_name: str) -> str:
        """The text of the hold; empty if there is none."""
        return (self.annotations or {}).get(annotation(driver_name), "")
