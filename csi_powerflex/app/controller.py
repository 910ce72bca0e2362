"""The controller process, put together."""

from __future__ import annotations

import contextlib

from csi_powerflex.config.controller import ControllerSettings
from csi_powerflex.csi import server
from csi_powerflex.csi.controller import Controller
from csi_powerflex.csi.identity import Identity
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.operations.attachment import Attachment
from csi_powerflex.operations.volumes import Volumes
from csi_powerflex.pb import csi_pb2_grpc


def run(settings: ControllerSettings) -> None:
    """Serve until told to stop. Nothing is asked of an array before the first call needs it.

    Raises:
        DriverError: the endpoint cannot be served on.
    """
    with contextlib.closing(GatewayFleet(settings.systems)) as fleet:
        _serve(settings, fleet)


def _serve(settings: ControllerSettings, fleet: GatewayFleet) -> None:
    identity = Identity(settings.driver_name)
    controller = Controller(settings.driver_name, Volumes(fleet, settings.cluster_id), Attachment(fleet))
    server.serve(
        settings.endpoint,
        [
            lambda grpc_server: csi_pb2_grpc.add_IdentityServicer_to_server(identity, grpc_server),
            lambda grpc_server: csi_pb2_grpc.add_ControllerServicer_to_server(controller, grpc_server),
        ],
    )
