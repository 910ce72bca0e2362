"""The doctor of the node's side."""

from __future__ import annotations

from csi_powerflex import call_context
from csi_powerflex.app.node import ALWAYS_NEEDED
from csi_powerflex.config.node import NodeSettings
from csi_powerflex.host import facts
from csi_powerflex.model.checks import Check, guarded
from csi_powerflex.model.transport import AUTO, SDC
from csi_powerflex.operations.node import doctor
from csi_powerflex.transport.nvme import doctor as nvme_doctor
from csi_powerflex.transport.sdc import doctor as sdc_doctor
from csi_powerflex.transport.sdc.drv_cfg import DrvCfg

_SECONDS = 60.0


def run(settings: NodeSettings) -> list[Check]:
    """Check this host, for at most a minute."""
    with call_context.background("doctor", _SECONDS):
        return [
            *doctor.examine(settings, facts.read(), always_needed=ALWAYS_NEEDED),
            *(guarded(doctor.HOST, lambda: sdc_doctor.examine(settings)) if _needs_sdc(settings) else ()),
            *guarded(doctor.HOST, lambda: nvme_doctor.examine(settings)),
        ]


def _needs_sdc(settings: NodeSettings) -> bool:
    """Whether this host is to have an SDC: not if it uses NVMe/TCP, and nothing of an SDC is there."""
    if settings.transport != AUTO:
        return settings.transport == SDC.name
    return not settings.nvme.systems or DrvCfg(settings.sdc).present or settings.sdc.control_device.exists()
