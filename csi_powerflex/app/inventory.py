"""The commands that show volumes and snapshots: a fleet, and what Kubernetes has."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from csi_powerflex import call_context
from csi_powerflex.config.inventory import InventorySettings
from csi_powerflex.errors import DriverError
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.kube import config
from csi_powerflex.kube.client import Client
from csi_powerflex.kube_objects import reader as kube_objects
from csi_powerflex.kube_objects.custody import KubernetesCustody
from csi_powerflex.model.cluster import ClusterObjects
from csi_powerflex.model.hold import Custody
from csi_powerflex.operations.controller.inventory.reading import Reader

# Enough for a gateway that answers. One that hangs must not delay the end of the command.
_LOGOUT_SECONDS = 3.0


@contextlib.contextmanager
def opened(settings: InventorySettings) -> Iterator[Reader]:
    """A reader of the arrays' objects during the block. At its end, the driver logs out of the arrays."""
    # Kubernetes is asked first: an object that is created in between is young, and so is no orphan.
    cluster = cluster_objects(settings)
    fleet = GatewayFleet(settings.systems)
    try:
        yield Reader(fleet, cluster, cluster_id=settings.cluster_id, driver_name=settings.driver_name)
    finally:
        with call_context.background("shutdown", _LOGOUT_SECONDS):
            fleet.close()


def cluster_objects(settings: InventorySettings) -> ClusterObjects:
    """What Kubernetes has. Where it is not asked, or does not answer, that is unknown, with the reason."""
    if settings.in_kubernetes is False:
        return ClusterObjects(unknown=("Kubernetes was not asked, because of --no-kubernetes",))
    if not _asks(settings):
        return ClusterObjects(
            unknown=("Kubernetes was not asked, because this is no pod and there is no --kubeconfig",)
        )
    try:
        with contextlib.closing(Client(config.load(settings.kubeconfig))) as client:
            return kube_objects.read(client, settings.driver_name)
    except DriverError as error:
        return ClusterObjects(unknown=(str(error),))


@contextlib.contextmanager
def custody(settings: InventorySettings) -> Iterator[Custody | None]:
    """What a command needs of the cluster to have a volume for itself; None where it is not to be asked."""
    if not _asks(settings):
        yield None
        return
    with contextlib.closing(Client(config.load(settings.kubeconfig))) as client:
        yield KubernetesCustody(client, settings.driver_name)


def _asks(settings: InventorySettings) -> bool:
    """Whether Kubernetes is to be asked."""
    if settings.in_kubernetes is not None:
        return settings.in_kubernetes
    return settings.kubeconfig is not None or bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
