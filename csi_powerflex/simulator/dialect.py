"""The differences between PowerFlex versions on the wire, as one table."""

from __future__ import annotations

from dataclasses import dataclass

MIRRORING = "Mirroring"
ERASURE_CODING = "EC"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One version.

    ``platform`` says whether clients reach the array through PowerFlex Manager (4.0 and newer), with
    /rest/auth, bearer tokens and 401 as HTML. ``generation`` is that of the protection domain of a new
    system: "Mirroring" (first generation) or "EC" (second). ``already_mapped`` and ``not_mapped`` are error
    codes.
    """

    version: str
    release: str
    platform: bool
    generation: str
    already_mapped: int
    not_mapped: int
    no_compression: str

    @property
    def system_version_name(self) -> str:
        """``systemVersionName`` of the system object."""
        return f"DellEMC PowerFlex Version: {self.release}"

    @property
    def second_generation(self) -> bool:
        """Whether objects carry ``genType`` and erasure-coded pools exist."""
        return self.generation == ERASURE_CODING

    @property
    def nvme(self) -> bool:
        """Whether the system has NVMe targets and hosts."""
        return self.platform


def _dialect(version: str, release: str, *, generation: str = MIRRORING) -> Dialect:
    platform = not version.startswith("3.")
    return Dialect(
        version=version,
        release=release,
        platform=platform,
        generation=generation,
        already_mapped=4037 if platform else 81,
        not_mapped=4039 if platform else 84,
        no_compression="NotApplicable" if platform else "Invalid",
    )


DIALECTS = {
    dialect.version: dialect
    for dialect in (
        _dialect("3.6", "R3_6.500.113"),
        _dialect("4.0", "R4_0.2000.113"),
        _dialect("4.5", "R4_5.2100.105"),
        _dialect("4.6", "R4_6.1000.107"),
        _dialect("5.0", "R5_0.0.118", generation=ERASURE_CODING),
    )
}
"""The supported versions, by their name on the command line."""
