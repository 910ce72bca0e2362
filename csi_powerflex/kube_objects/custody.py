"""Having a volume for oneself: who uses it in the cluster, and the hold on its PersistentVolume.

It needs the permission to get and patch PersistentVolumes, and to list VolumeAttachments and pods.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from csi_powerflex.errors import AlreadyExists, FailedPrecondition, NotFound
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.kube.held import HeldMeta
from csi_powerflex.kube_objects.reader import VOLUMES
from csi_powerflex.model.cluster import ObjectName, PersistentVolume
from csi_powerflex.model.hold import annotation

ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"
# The attacher and other controllers change PersistentVolumes too, in other fields.
_ATTEMPTS = 4
_ENDED = ("Succeeded", "Failed")


class _Held(KubeObject, frozen=True):
    metadata: HeldMeta = HeldMeta()


class _AttachmentSource(msgspec.Struct, frozen=True, rename="camel"):
    persistent_volume_name: str | None = None


class _AttachmentSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str = ""
    source: _AttachmentSource = _AttachmentSource()


class _Attachment(KubeObject, frozen=True):
    spec: _AttachmentSpec = _AttachmentSpec()


class _ClaimSource(msgspec.Struct, frozen=True, rename="camel"):
    claim_name: str = ""


class _PodVolume(msgspec.Struct, frozen=True, rename="camel"):
    name: str = ""
    persistent_volume_claim: _ClaimSource | None = None
    ephemeral: dict[str, object] | None = None


class _PodSpec(msgspec.Struct, frozen=True):
    volumes: tuple[_PodVolume, ...] | None = None


class _PodStatus(msgspec.Struct, frozen=True):
    phase: str = ""


class _Pod(KubeObject, frozen=True):
    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()


class KubernetesCustody:
    """A Custody for the volumes of one driver.

    Args:
        client: how to reach the cluster.
        driver_name: the driver's CSI name.
    """

    def __init__(self, client: Client, driver_name: str) -> None:
        self._client = client
        self._driver = driver_name

    def users(self, volume: PersistentVolume) -> Sequence[str]:
        """See ``Custody.users``."""
        attached = [
            f"VolumeAttachment {item.metadata.name} attaches it to node {item.spec.node_name}"
            for item in self._client.list(ATTACHMENTS, _Attachment).items
            if item.spec.source.persistent_volume_name == volume.name
        ]
        return [*attached, *(self._pods(volume.claim) if volume.claim else ())]

    def _pods(self, claim: ObjectName) -> list[str]:
        pods = self._client.list(f"/api/v1/namespaces/{claim.namespace}/pods", _Pod).items
        return [
            f"pod {claim.namespace}/{pod.metadata.name} uses its claim {claim.name}"
            for pod in pods
            if pod.status.phase not in _ENDED and claim.name in _claims_of(pod)
        ]

    def hold_of(self, volume: PersistentVolume) -> str:
        """See ``Custody.hold_of``."""
        return self._read(volume).hold(self._driver)

    def take(self, volume: PersistentVolume, text: str, *, instead_of: str) -> None:
        """See ``Custody.take``."""
        for _ in range(_ATTEMPTS):
            found = self._read(volume)
            before = found.hold(self._driver)
            if before not in (instead_of, text):
                state = f"is held: {before}" if before else "is not held any more"
                raise FailedPrecondition(f"PersistentVolume {volume.name} {state}; try again")
            if before == text or self._set(found, text):
                return
        raise _contended(volume)

    def release(self, volume: PersistentVolume, text: str) -> None:
        """See ``Custody.release``."""
        for _ in range(_ATTEMPTS):
            try:
                found = self._read(volume)
            except NotFound:
                return
            if found.hold(self._driver) != text or self._set(found, None):
                return
        raise _contended(volume)

    def _read(self, volume: PersistentVolume) -> HeldMeta:
        return self._client.get(VOLUMES, volume.name, _Held).metadata

    def _set(self, found: HeldMeta, text: str | None) -> bool:
        """Set or remove the annotation. Returns False if the object is not as it was found any more."""
        changed = {annotation(self._driver): text}
        version = {"resourceVersion": found.resource_version, "annotations": changed}
        try:
            self._client.patch(VOLUMES, found.name, {"metadata": version})
        except AlreadyExists:
            return False
        return True


def _contended(volume: PersistentVolume) -> FailedPrecondition:
    return FailedPrecondition(
        f"PersistentVolume {volume.name} was changed at the same time again and again; try again"
    )


def _claims_of(pod: _Pod) -> set[str]:
    """The names of the claims of a pod. That of an ephemeral volume has the pod's name and its own."""
    return {
        volume.persistent_volume_claim.claim_name
        if volume.persistent_volume_claim
        else f"{pod.metadata.name}-{volume.name}"
        for volume in pod.spec.volumes or ()
        if volume.persistent_volume_claim or volume.ephemeral is not None
    }


# msgspec crashes if two threads are the first to decode a type.
for _type in (_Held, _Attachment, _Pod):
    msgspec.json.Decoder(_type)
