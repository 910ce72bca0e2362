"""The Identity service, the same for every role."""

from __future__ import annotations

import grpc
from google.protobuf.wrappers_pb2 import BoolValue

from csi_powerflex import __version__
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc

_Service = csi_pb2.PluginCapability.Service
_Expansion = csi_pb2.PluginCapability.VolumeExpansion


class Identity(csi_pb2_grpc.IdentityServicer):
    """The name, version and capabilities of the driver.

    The answers of controller and node are equal, as the specification requires (GetPluginCapabilities).
    """

    def __init__(self, driver_name: str) -> None:
        self._name = driver_name

    def GetPluginInfo(
        self, request: csi_pb2.GetPluginInfoRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetPluginInfoResponse:
        """The driver's name and version."""
        return csi_pb2.GetPluginInfoResponse(name=self._name, vendor_version=__version__)

    def GetPluginCapabilities(
        self, request: csi_pb2.GetPluginCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.GetPluginCapabilitiesResponse:
        """What the whole plugin can do. Not every node reaches every system, so volumes have a topology."""
        services = (
            _Service.CONTROLLER_SERVICE,
            _Service.VOLUME_ACCESSIBILITY_CONSTRAINTS,
            _Service.GROUP_CONTROLLER_SERVICE,
        )
        online = csi_pb2.PluginCapability.VolumeExpansion(type=_Expansion.ONLINE)
        return csi_pb2.GetPluginCapabilitiesResponse(
            capabilities=[
                *(
                    csi_pb2.PluginCapability(service=csi_pb2.PluginCapability.Service(type=service))
                    for service in services
                ),
                csi_pb2.PluginCapability(volume_expansion=online),
            ]
        )

    def Probe(self, request: csi_pb2.ProbeRequest, context: grpc.ServicerContext) -> csi_pb2.ProbeResponse:
        """Always ready. Probe does not call the array."""
        return csi_pb2.ProbeResponse(ready=BoolValue(value=True))
