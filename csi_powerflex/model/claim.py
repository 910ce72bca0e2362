"""The names in Kubernetes of what a volume is for.

The external-provisioner adds them to the parameters of CreateVolume if it has the option
``--extra-create-metadata`` (README of the external-provisioner). They are only information: no call depends
on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from csi_powerflex.model.parameters import SIDECAR_PREFIX


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """The names of a PersistentVolume and of its claim; empty where they are not known."""

    persistent_volume: str = ""
    claim: str = ""
    namespace: str = ""

    @classmethod
    def parse(cls, parameters: Mapping[str, str]) -> Self:
        """The names in the parameters of CreateVolume. Each one may be missing."""
        return cls(
            persistent_volume=parameters.get(f"{SIDECAR_PREFIX}pv/name", ""),
            claim=parameters.get(f"{SIDECAR_PREFIX}pvc/name", ""),
            namespace=parameters.get(f"{SIDECAR_PREFIX}pvc/namespace", ""),
        )


NO_CLAIM = ClaimNames()
"""The names of a volume that was not created for a claim, or by a sidecar that tells none."""
