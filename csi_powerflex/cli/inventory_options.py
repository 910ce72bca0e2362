"""What the commands about volumes and snapshots have in common: their options, and how they begin."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from csi_powerflex import names
from csi_powerflex.app import inventory
from csi_powerflex.cli import options
from csi_powerflex.config.inventory import InventorySettings
from csi_powerflex.config.systems import loader
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.model.capability import FILESYSTEMS
from csi_powerflex.model.cluster import ObjectName
from csi_powerflex.model.hold import Custody
from csi_powerflex.observability import log
from csi_powerflex.operations.controller.inventory import importing
from csi_powerflex.operations.controller.inventory.importing import VolumeImportRequest
from csi_powerflex.operations.controller.inventory.reading import Reader

_SYSTEMS = Path("/etc/powerflex/systems.yaml")
# Kubernetes, "Object Names and IDs": a namespace is a label, other names are subdomains.
_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_OBJECT = re.compile(rf"{_LABEL}/{_LABEL}(\.{_LABEL})*")

arrays = options.together(
    click.option(
        "--systems",
        type=click.Path(dir_okay=False, path_type=Path),
        default=_SYSTEMS,
        show_default=True,
        envvar="POWERFLEX_CSI_CONTROLLER_SYSTEMS",
        help="YAML file with the PowerFlex systems, as for the controller.",
    ),
    click.option(
        "--cluster-id",
        required=True,
        metavar="ID",
        envvar="POWERFLEX_CSI_CONTROLLER_CLUSTER_ID",
        help="The cluster id of the controller.",
    ),
    click.option(
        "--driver-name",
        default=options.DEFAULT_DRIVER_NAME,
        show_default=True,
        metavar="NAME",
        envvar="POWERFLEX_CSI_CONTROLLER_DRIVER_NAME",
        help="Name of the CSI driver, as in the cluster's CSIDriver object.",
    ),
    click.option(
        "--kubernetes/--no-kubernetes",
        "in_kubernetes",
        default=None,
        envvar="POWERFLEX_CSI_CONTROLLER_KUBERNETES",
        help="Ask the Kubernetes cluster that this process runs in for claims and nodes, or ask none. "
        "By default it is asked in a pod. A check that needs Kubernetes is left out only if "
        "--no-kubernetes is in the command line, not in the environment.",
    ),
    click.option(
        "--kubeconfig",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="POWERFLEX_CSI_CONTROLLER_KUBECONFIG",
        help="A kubeconfig file, to ask its cluster instead.",
    ),
)
"""How to reach the arrays and Kubernetes."""

select = options.together(
    click.option("--system", metavar="NAME", help="Only objects on this system, by name or id."),
    click.option(
        "--pool", metavar="NAME", help="Only objects in this pool: its name, its id, or DOMAIN/POOL."
    ),
)
"""Which objects to list."""

ours = click.option(
    "--ours/--all",
    "ours",
    default=True,
    show_default=True,
    help="Only objects of this cluster: by the name on the array, by adoptVolumes or adoptSnapshots, or "
    "because Kubernetes uses them. Or also those of other clusters, other drivers and people.",
)

output = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "wide", "json", "yaml"]),
    default="table",
    show_default=True,
    help="How to print: a table, a table with more columns, or everything that is known, for programs.",
)

manifests = click.option(
    "-o",
    "--output",
    type=click.Choice(["yaml", "json"]),
    default="yaml",
    show_default=True,
    help="How to print the objects.",
)

least_age = click.option(
    "--older-than",
    type=click.IntRange(0),
    default=15,
    show_default=True,
    metavar="MINUTES",
    help="Leave out younger objects: the call that creates one may not have ended.",
)


def object_name(_context: click.Context, _option: click.Parameter, value: str) -> ObjectName:
    """Read the value of an option that is NAMESPACE/NAME."""
    if _OBJECT.fullmatch(value) is None:
        raise click.BadParameter(f"{value!r} is not NAMESPACE/NAME of an object in Kubernetes")
    namespace, _, name = value.partition("/")
    return ObjectName(namespace, name)


as_claim = options.together(
    click.option(
        "--claim",
        metavar="NAMESPACE/NAME",
        callback=object_name,
        required=True,
        help="The new claim that gets the volume.",
    ),
    click.option("--fs-type", type=click.Choice(FILESYSTEMS), help="The filesystem that the volume has."),
    click.option("--block", is_flag=True, help="The volume is used as a block device, without a filesystem."),
    click.option(
        "--access-mode",
        type=click.Choice(list(importing.ACCESS_MODES)),
        default="ReadWriteOnce",
        show_default=True,
        help="The access mode of the claim.",
    ),
    click.option(
        "--storage-class", default="", metavar="NAME", help="The StorageClass of the claim, if any."
    ),
    click.option(
        "--reclaim-policy",
        type=click.Choice([importing.RETAIN, importing.DELETE]),
        default=importing.RETAIN,
        show_default=True,
        help="What happens to the volume when the claim is deleted.",
    ),
)
"""How a volume is to be used in Kubernetes."""


def does_without_kubernetes() -> bool:
    """Whether a check that needs Kubernetes is to be left out.

    The caller must say so in the command line. The environment may say so for the controller.
    """
    context = click.get_current_context()
    given = context.get_parameter_source("in_kubernetes") is ParameterSource.COMMANDLINE
    return given and context.params["in_kubernetes"] is False


def import_request(
    given: dict[str, Any], *, pool: str | None = None, clone: bool = False
) -> VolumeImportRequest:
    """What the options of ``as_claim`` ask for. They are removed from ``given``.

    Raises:
        click.UsageError: the use of the volume is not given, or is contradictory.
    """
    filesystem = given.pop("fs_type")
    if given.pop("block") == (filesystem is not None):
        raise click.UsageError("Give either --fs-type with the filesystem that the volume has, or --block.")
    return VolumeImportRequest(
        given.pop("claim"),
        filesystem,
        access_mode=given.pop("access_mode"),
        storage_class=given.pop("storage_class"),
        policy=given.pop("reclaim_policy"),
        pool=pool,
        clone=clone,
        unchecked=does_without_kubernetes(),
    )


@contextlib.contextmanager
def opened(**given: Any) -> Iterator[Reader]:
    """A reader during the block. A ``DriverError`` becomes one line on standard error and exit status 1.

    ``given`` are the options of ``arrays``.
    """
    log.configure(level="warning", form=log.Format.TEXT)
    with options.one_line_errors(), inventory.opened(_settings(**given)) as reader:
        yield reader


@contextlib.contextmanager
def opened_for_itself(**given: Any) -> Iterator[tuple[Reader, Custody | None]]:
    """As ``opened``, with what the command needs of the cluster to have a volume for itself."""
    log.configure(level="warning", form=log.Format.TEXT)
    with options.one_line_errors():
        settings = _settings(**given)
        with inventory.opened(settings) as reader, inventory.custody(settings) as custody:
            yield reader, custody


def _settings(
    *,
    systems: Path,
    cluster_id: str,
    driver_name: str,
    in_kubernetes: bool | None,
    kubeconfig: Path | None,
) -> InventorySettings:
    if in_kubernetes is False and kubeconfig is not None:
        raise FailedPrecondition("--no-kubernetes and --kubeconfig exclude each other; give one of them")
    return InventorySettings(
        systems=loader.load(systems),
        cluster_id=names.require_cluster_id(cluster_id),
        driver_name=driver_name,
        in_kubernetes=in_kubernetes,
        kubeconfig=kubeconfig,
    )
