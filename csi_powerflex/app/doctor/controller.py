"""The doctor of the controller's side: the systems file, then each system in it."""

from __future__ import annotations

from pathlib import Path

from csi_powerflex.config.systems import loader
from csi_powerflex.gateway.inspection import SystemInspection
from csi_powerflex.hints import first_of
from csi_powerflex.model.checks import Check, fault, ok
from csi_powerflex.operations.controller import doctor
from csi_powerflex.operations.controller.doctor import DoctorSettings


def run(systems_file: Path, settings: DoctorSettings) -> list[Check]:
    """Check the systems file and each system in it that is described without a mistake."""
    examined = loader.examine(systems_file)
    checks = [
        fault(
            "systems file",
            str(systems_file),
            problem.removeprefix(f"{systems_file}: "),
            _remedy(systems_file),
        )
        for problem in examined.problems
    ]
    if not checks:
        labels = [system.label for system in examined.systems]
        checks.append(ok("systems file", str(systems_file), f"without mistakes; systems: {first_of(labels)}"))
    return checks + doctor.examine([SystemInspection(system) for system in examined.systems], settings)


def _remedy(systems_file: Path) -> str:
    """What to do about a problem of the file. A Secret may have the file under another name."""
    try:
        there = sorted(path.name for path in systems_file.parent.iterdir())
    except OSError:
        return "name a file that this process may read, with --systems"
    if systems_file.name not in there:
        visible = [name for name in there if not name.startswith(".")]
        return f"name the right file; the folder has: {first_of(visible) or 'nothing'}"
    return "correct it; a running controller keeps the previous file until then"
