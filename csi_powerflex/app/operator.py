"""The operator's process: which parts it has, and how they are connected."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from csi_powerflex import call_context
from csi_powerflex.app import first_line
from csi_powerflex.config.operator import OperatorSettings
from csi_powerflex.config.systems import loader
from csi_powerflex.errors import FailedPrecondition, NotFound
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.kube import config
from csi_powerflex.kube.client import Client, KubeObject
from csi_powerflex.kube_objects import reader as kube_objects
from csi_powerflex.kube_objects.custody import KubernetesCustody
from csi_powerflex.observability import endpoint
from csi_powerflex.observability.log import toggle_debug_by_signal
from csi_powerflex.operations.controller.inventory.reading import Reader
from csi_powerflex.operator import application
from csi_powerflex.operator.copies.work import Copies
from csi_powerflex.operator.definitions import DEFINITIONS
from csi_powerflex.operator.exports.work import Exports
from csi_powerflex.operator.happenings import Happenings
from csi_powerflex.operator.images.work import Images
from csi_powerflex.operator.moves.work import Moves
from csi_powerflex.operator.reverts.work import Reverts
from csi_powerflex.operator.rounds import Rounds
from csi_powerflex.operator.schedules.work import Schedules
from csi_powerflex.operator.work import Work

_LOGOUT_SECONDS = 3.0


def run(settings: OperatorSettings) -> None:
    """Lead the objects until the process is told to stop.

    Raises:
        FailedPrecondition: the cluster cannot be reached as configured, or does not have the resources.
        DriverError: the cluster does not answer, or the systems file cannot be used.
    """
    toggle_debug_by_signal()
    first_line.write("operator", settings.driver_name)
    loader.load(settings.systems_file)
    cluster = config.load(settings.kubeconfig)
    with contextlib.closing(Client(cluster)) as client:
        require_definitions(client)
        rounds = Rounds(client, works(client, settings), Happenings(client, _now))
        with endpoint.serving(settings.metrics_address, settings.metrics_tls):
            application.serve(cluster, DEFINITIONS, rounds.lead)


def works(client: Client, settings: OperatorSettings) -> Sequence[Work[Any, Any]]:
    """The work of each resource."""

    @contextlib.contextmanager
    def opened() -> Iterator[Reader]:
        with reader(client, settings) as found:
            yield found

    custody = KubernetesCustody(client, settings.driver_name)
    return (
        Reverts(client, opened, custody, driver_name=settings.driver_name, now=_now),
        Copies(client, settings.mover, driver_name=settings.driver_name, now=_now),
        Exports(client, settings.mover, driver_name=settings.driver_name, now=_now),
        Images(
            client,
            settings.mover,
            driver_name=settings.driver_name,
            namespace=settings.namespace,
            now=_now,
        ),
        Moves(client, custody, settings.mover, driver_name=settings.driver_name, now=_now),
        Schedules(client, driver_name=settings.driver_name, now=_now),
    )


@contextlib.contextmanager
def reader(client: Client, settings: OperatorSettings) -> Iterator[Reader]:
    """A reader of the arrays' objects during the block, with the systems file as it is now.

    At its end the operator logs out, so it has no session while there is nothing to do.
    """
    cluster = kube_objects.read(client, settings.driver_name)
    fleet = GatewayFleet(loader.load(settings.systems_file))
    try:
        yield Reader(fleet, cluster, cluster_id=settings.cluster_id, driver_name=settings.driver_name)
    finally:
        with call_context.background("shutdown", _LOGOUT_SECONDS):
            fleet.close()


def require_definitions(client: Client) -> None:
    """Check that the cluster has the resources. kopf would wait for them without a word.

    Raises:
        FailedPrecondition: it does not have one.
        DriverError: it does not answer, or the operator may not list one.
    """
    missing = []
    for definition in DEFINITIONS:
        try:
            client.list(definition.path(), KubeObject)
        except NotFound:
            missing.append(definition.plural)
    if missing:
        raise FailedPrecondition(
            f"the cluster does not have {', '.join(missing)}: install the CustomResourceDefinitions, with "
            "the chart's operator.enabled, or those in charts/csi-powerflex/files/crds"
        )


def _now() -> datetime.datetime:
    """In whole seconds, as Kubernetes writes times."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)
