"""Errors of the array have the code of their reason, so that a sidecar can tell them apart.

Dell's driver answers INTERNAL to all of these for a volume, and ALREADY_EXISTS for a snapshot.
"""

from __future__ import annotations

import grpc
import pytest

from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from tests.controller.driver import mount, refused
from tests.controller.world import World

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED

FAILURES = {
    "permission denied": (
        Fault(kind=FaultKind.ERROR, status=403, code=168),
        grpc.StatusCode.PERMISSION_DENIED,
    ),
    "no resources": (Fault(kind=FaultKind.ERROR, code=67), EXHAUSTED),
    "too many volumes in the pool": (Fault(kind=FaultKind.ERROR, code=96), EXHAUSTED),
    "too many volumes": (Fault(kind=FaultKind.ERROR, code=97), EXHAUSTED),
    "too many members in the tree": (Fault(kind=FaultKind.ERROR, code=182), EXHAUSTED),
    "busy": (Fault(kind=FaultKind.ERROR, code=28), grpc.StatusCode.ABORTED),
    "overloaded": (Fault(kind=FaultKind.ERROR, status=503), UNAVAILABLE),
    "an HTML page of a proxy": (Fault(kind=FaultKind.HTML, status=502), UNAVAILABLE),
}


@pytest.mark.parametrize("name", FAILURES)
def test_an_error_when_a_volume_is_created_has_the_code_of_its_reason(array45: World, name: str) -> None:
    fault, code = FAILURES[name]
    array45.driver.create("pvc-warm")
    array45.simulator.gateway.inject(at(fault, "/api/types/Volume/instances"))
    request = csi_pb2.CreateVolumeRequest(name="pvc-1", volume_capabilities=[mount()])
    refused(code, lambda: array45.driver.controller.CreateVolume(request, timeout=3))


@pytest.mark.parametrize("name", FAILURES)
def test_an_error_when_a_snapshot_is_taken_has_the_code_of_its_reason(array45: World, name: str) -> None:
    fault, code = FAILURES[name]
    volume = array45.driver.create().volume_id
    array45.simulator.gateway.inject(at(fault, "*/action/snapshotVolumes"))
    request = csi_pb2.CreateSnapshotRequest(source_volume_id=volume, name="snapshot-1")
    refused(code, lambda: array45.driver.controller.CreateSnapshot(request, timeout=3))


def at(fault: Fault, path: str) -> Fault:
    return Fault(kind=fault.kind, status=fault.status, code=fault.code, method="POST", path=path)
