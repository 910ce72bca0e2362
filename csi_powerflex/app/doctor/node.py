"""The doctor of the node's side."""

from __future__ import annotations

from csi_powerflex import call_context
from csi_powerflex.app.node import ALWAYS_NEEDED
from csi_powerflex.config.node import NodeSettings
from csi_powerflex.host import facts
from csi_powerflex.model.checks import Check, guarded
from csi_powerflex.operations.node import doctor
from csi_powerflex.transport.sdc import doctor as sdc_doctor

_SECONDS = 60.0


def run(settings: NodeSettings) -> list[Check]:
    """Check this host, for at most a minute."""
    with call_context.background("doctor", _SECONDS):
        return [
            *doctor.examine(settings, facts.read(), always_needed=ALWAYS_NEEDED),
            *guarded(doctor.HOST, lambda: sdc_doctor.examine(settings)),
        ]
