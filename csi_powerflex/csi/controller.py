"""The Controller service: each call converts, runs its operation, and builds its answer."""

from __future__ import annotations

import grpc

from csi_powerflex.csi import convert
from csi_powerflex.errors import InvalidArgument, NotFound
from csi_powerflex.ids import NodeIdentity, VolumeHandle
from csi_powerflex.observability.log import Log
from csi_powerflex.operations.attachment import Attachment
from csi_powerflex.operations.volumes import Volumes
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc

log = Log(__name__)

_Rpc = csi_pb2.ControllerServiceCapability.RPC

CAPABILITIES = (
    _Rpc.CREATE_DELETE_VOLUME,
    _Rpc.PUBLISH_UNPUBLISH_VOLUME,
    _Rpc.PUBLISH_READONLY,
    _Rpc.SINGLE_NODE_MULTI_WRITER,
)


class Controller(csi_pb2_grpc.ControllerServicer):
    """Volumes and mappings, through the operations."""

    def __init__(self, driver_name: str, volumes: Volumes, attachment: Attachment) -> None:
        self._driver_name = driver_name
        self._volumes = volumes
        self._attachment = attachment

    def CreateVolume(
        self, request: csi_pb2.CreateVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.CreateVolumeResponse:
        """Create the volume, or return it if it exists and fits."""
        volume = self._volumes.create(convert.volume_request(request))
        return csi_pb2.CreateVolumeResponse(volume=convert.volume(volume, self._driver_name))

    def DeleteVolume(
        self, request: csi_pb2.DeleteVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.DeleteVolumeResponse:
        """Delete the volume; one that cannot exist is deleted."""
        try:
            handle = VolumeHandle.parse(request.volume_id)
        except NotFound as error:
            log.info("nothing to delete", reason=error)
        else:
            self._volumes.delete(handle)
        return csi_pb2.DeleteVolumeResponse()

    def ControllerPublishVolume(
        self, request: csi_pb2.ControllerPublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerPublishVolumeResponse:
        """Map the volume to the node."""
        ticket = self._attachment.publish(
            VolumeHandle.parse(request.volume_id),
            NodeIdentity.parse(request.node_id),
            convert.capability(request.volume_capability),
            read_only=request.readonly,
        )
        return csi_pb2.ControllerPublishVolumeResponse(publish_context=ticket.to_context())

    def ControllerUnpublishVolume(
        self, request: csi_pb2.ControllerUnpublishVolumeRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerUnpublishVolumeResponse:
        """Unmap the volume from the node, or from every node where none is named."""
        try:
            handle = VolumeHandle.parse(request.volume_id)
            node = NodeIdentity.parse(request.node_id) if request.node_id else None
        except NotFound as error:
            log.info("nothing to unmap", reason=error)
        else:
            self._attachment.unpublish(handle, node)
        return csi_pb2.ControllerUnpublishVolumeResponse()

    def ValidateVolumeCapabilities(
        self, request: csi_pb2.ValidateVolumeCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ValidateVolumeCapabilitiesResponse:
        """Confirm the capabilities, or say why not."""
        asked = convert.capabilities(request.volume_capabilities)
        self._volumes.get(VolumeHandle.parse(request.volume_id))
        try:
            for capability in asked:
                capability.check()
        except InvalidArgument as error:
            return csi_pb2.ValidateVolumeCapabilitiesResponse(message=str(error))
        return csi_pb2.ValidateVolumeCapabilitiesResponse(
            confirmed=csi_pb2.ValidateVolumeCapabilitiesResponse.Confirmed(
                volume_context=request.volume_context,
                volume_capabilities=request.volume_capabilities,
                parameters=request.parameters,
                mutable_parameters=request.mutable_parameters,
            )
        )

    def ControllerGetCapabilities(
        self, request: csi_pb2.ControllerGetCapabilitiesRequest, context: grpc.ServicerContext
    ) -> csi_pb2.ControllerGetCapabilitiesResponse:
        """Exactly what this service does."""
        return csi_pb2.ControllerGetCapabilitiesResponse(
            capabilities=[
                csi_pb2.ControllerServiceCapability(rpc=csi_pb2.ControllerServiceCapability.RPC(type=kind))
                for kind in CAPABILITIES
            ]
        )
