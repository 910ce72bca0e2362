"""The controller process, put together."""

from __future__ import annotations

import time

from csi_powerflex import scope
from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.csi import server
from csi_powerflex.csi.controller import Controller, Operations
from csi_powerflex.csi.identity import Identity
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.operations.attachment import Attachment
from csi_powerflex.operations.expansion import Expansion
from csi_powerflex.operations.placement import Placement
from csi_powerflex.operations.quality import Quality
from csi_powerflex.operations.snapshots import Snapshots
from csi_powerflex.operations.volumes import Volumes
from csi_powerflex.pb import csi_pb2_grpc
from csi_powerflex.wishes.local import LocalWishes

# Long enough for a gateway that answers; one that hangs must not hold up a shutdown.
_LOGOUT_SECONDS = 3.0


def run(settings: ControllerSettings) -> None:
    """Serve until told to stop. Nothing is asked of an array before the first call needs it.

    Raises:
        DriverError: the endpoint cannot be served on.
    """
    fleet = GatewayFleet(settings.systems)
    try:
        _serve(settings, fleet)
    finally:
        with scope.entered(scope.Scope("shutdown", "", deadline=time.monotonic() + _LOGOUT_SECONDS)):
            fleet.close()


def _serve(settings: ControllerSettings, fleet: GatewayFleet) -> None:
    identity = Identity(settings.driver_name)
    placement = Placement(fleet, settings.driver_name)
    quality = Quality(fleet, LocalWishes(settings.state_file))
    controller = Controller(
        Operations(
            placement=placement,
            volumes=Volumes(fleet, placement, settings.cluster_id),
            attachment=Attachment(fleet, quality),
            expansion=Expansion(fleet, quality),
            quality=quality,
            snapshots=Snapshots(fleet, settings.cluster_id),
        )
    )
    server.serve(
        settings.endpoint,
        [
            lambda grpc_server: csi_pb2_grpc.add_IdentityServicer_to_server(identity, grpc_server),
            lambda grpc_server: csi_pb2_grpc.add_ControllerServicer_to_server(controller, grpc_server),
        ],
    )
