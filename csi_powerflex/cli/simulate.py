"""``csi-powerflex simulate``: a simulated PowerFlex system on this machine."""

from __future__ import annotations

import ipaddress
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import click

from csi_powerflex import stop_signals
from csi_powerflex.cli import settings
from csi_powerflex.simulator.dialect import DIALECTS
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, SdtPlan
from csi_powerflex.simulator.ownership import clear_orphans
from csi_powerflex.simulator.scenario import BadScenario, read_faults, read_systems
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import CannotSimulate, Simulator, SystemPlan

_DEFAULTS = Settings()
_FOLDER = click.Path(file_okay=False, path_type=Path)
_MAX_PORT = 65535
_FILE = click.Path(dir_okay=False, path_type=Path)


def _portals(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> tuple[SdtPlan, ...]:
    """The values of ``--nvme-portal``: an SDT with one address for each."""
    return tuple(map(_portal, values))


def _portal(text: str) -> SdtPlan:
    address, port = _split(text)
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError:
        raise click.BadParameter(f"{text!r} does not begin with an IP address") from None
    if port == "":
        return SdtPlan((address,))
    if not (port.isascii() and port.isdecimal()) or int(port) > _MAX_PORT:
        raise click.BadParameter(f"{text!r} does not end in a port from 0 to {_MAX_PORT}")
    return SdtPlan((address,), int(port), 0)


def _split(portal: str) -> tuple[str, str]:
    """The address and the port of a portal; the port is empty if there is none."""
    if portal.startswith("["):
        address, _, port = portal[1:].partition("]")
        return address, port.removeprefix(":")
    if portal.count(":") == 1:
        address, _, port = portal.partition(":")
        return address, port
    return portal, ""


@dataclass(frozen=True, slots=True)
class _Options:
    """The values of the options."""

    state: Path | None
    address: str
    names: tuple[str, ...]
    port: int
    tls_dir: Path | None
    hosts: tuple[str, ...]
    hosts_by_folder: bool
    sdcs: tuple[str, ...]
    version: str
    username: str
    password: str
    volumes: int
    systems: int
    nvme_portals: tuple[SdtPlan, ...]
    config: Path | None
    faults: Path | None
    admin_port: int
    ready_file: Path | None


@click.command(
    name="simulate",
    cls=settings.RoleCommand,
    short_help="Run a simulated PowerFlex gateway with real block devices.",
    context_settings=settings.of("simulate"),
)
@click.option(
    "--state",
    type=_FOLDER,
    help="Folder for all data of the simulator: objects, data of volumes, certificates, hosts. It is "
    "created if it is missing. A later run continues with it, even after kill -9. Without this option "
    "the simulator uses a temporary folder and removes it at the end. After kill -9, the next run "
    "without this option removes it.",
)
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="IPv4 address to listen on; 0.0.0.0 for all addresses of this machine. Anyone who can reach it and "
    "knows the password can do everything.",
)
@click.option(
    "--name",
    "names",
    metavar="NAME",
    multiple=True,
    help="Host name or address that clients use. The certificate contains it. The first one is also in the "
    "URL. Repeatable.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port to listen on; 0 takes a free one. Further systems take the next ports.",
)
@click.option(
    "--tls-dir",
    type=_FOLDER,
    help="Folder with tls.crt, tls.key and ca.crt for HTTPS, such as a mounted Secret. Without this option "
    "the simulator makes its own certificate authority.",
)
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Simulate a host with block devices. Volumes that are mapped to it appear in "
    "STATE/hosts/NAME/by-id. Repeatable. Needs root and loop devices.",
)
@click.option(
    "--hosts-by-folder",
    is_flag=True,
    help="Every new folder STATE/hosts/NAME becomes a host of that name while the simulator runs, as with "
    "--host. The host is ready when drv_cfg appears in the folder.",
)
@click.option(
    "--sdc",
    "sdcs",
    metavar="NAME",
    multiple=True,
    help="Add an SDC without devices to the systems. Repeatable. Needs no root.",
)
@click.option(
    "--version",
    type=click.Choice(list(DIALECTS)),
    default="4.5",
    show_default=True,
    help="PowerFlex version to simulate.",
)
@click.option(
    "--username", default=_DEFAULTS.username, show_default=True, help="Name of the user who may log in."
)
@click.option(
    "--password",
    default=_DEFAULTS.password,
    show_default=True,
    help="Password of that user. It protects only this simulator. Other processes can read the arguments of "
    "a command, so give it in the environment.",
)
@click.option(
    "--volumes",
    type=click.IntRange(0, 131072),
    default=0,
    show_default=True,
    help="Number of volumes that a new system has at first.",
)
@click.option(
    "--systems",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Number of systems. Every host is connected to all of them.",
)
@click.option(
    "--nvme-portal",
    "nvme_portals",
    metavar="ADDRESS[:PORT]",
    callback=_portals,
    multiple=True,
    help="Address of this machine at which a new system serves volumes over NVMe/TCP; an IPv6 address with a "
    "port stands in brackets. Each one is an SDT. Without a port these are 4420 and, for discovery, 8009. "
    "Port 0 takes free ones. With another port, that for discovery is a free one. Repeatable; no root.",
)
@click.option(
    "--config",
    type=_FILE,
    help="YAML file that describes the systems: versions, protection domains, pools, SDTs, settings. It "
    "replaces --version, --volumes, --systems and --nvme-portal.",
)
@click.option("--faults", type=_FILE, help="YAML file with faults for the first system.")
@click.option(
    "--admin-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port on 127.0.0.1 for faults and the request log, plain HTTP; 0 takes a free one.",
)
@click.option(
    "--ready-file",
    type=_FILE,
    help="Write URL, credentials, ids and paths to this file, as JSON, when the systems are ready. The file "
    "is removed at the end.",
)
def command(**values: object) -> None:
    """Run a simulated PowerFlex gateway, with simulated hosts whose volumes are real block devices.

    It serves HTTPS until it gets SIGTERM or SIGINT. By default it listens on 127.0.0.1 and makes its own
    certificate authority. At the end it detaches the devices and removes their links. The state folder stays.
    """
    options = _Options(**values)  # type: ignore[arg-type]  # click gives values of the declared types
    _allow_connections()
    if options.ready_file is not None:
        # A killed run can leave it. Its content is not true any more.
        options.ready_file.unlink(missing_ok=True)
    if options.state is None:
        for folder in clear_orphans():
            click.echo(f"removed {folder}, which a killed simulator left", err=True)
    with stop_signals.wait_for_signals(signal.SIGTERM, signal.SIGINT) as wait:
        _simulate(options, wait)


def _allow_connections() -> None:
    """Raise the limit of open files to its maximum. The usual 1,024 would limit clients' connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _simulate(options: _Options, wait: Callable[[], object]) -> None:
    try:
        # Both need packages of the extra "simulator".
        from csi_powerflex.simulator import ready  # noqa: PLC0415
        from csi_powerflex.simulator.server import ServeAddress, Server  # noqa: PLC0415
    except ImportError as error:
        raise click.ClickException(
            f"the simulator needs packages that are not installed ({error}); "
            "run pip install '.[simulator]' in a clone of the project"
        ) from error
    with _simulated(options) as simulator:
        with _listening(options):
            address = ServeAddress(options.address, options.names, options.tls_dir)
            ports = [
                options.port + number if options.port else 0 for number in range(len(simulator.gateways))
            ]
            server = Server(simulator, ports, options.admin_port, address=address)
        path = options.ready_file
        try:
            with server, ready.ready_file(path, server) if path else nullcontext():
                click.echo(ready.summary(server))
                wait()
        except ready.CannotWrite as error:
            raise click.ClickException(str(error)) from error


@contextmanager
def _simulated(options: _Options) -> Iterator[Simulator]:
    try:
        faults = read_faults(options.faults) if options.faults else []
        simulator = Simulator(
            _plans(options),
            folder=options.state,
            hosts=options.hosts,
            sdcs=options.sdcs,
            hosts_by_folder=options.hosts_by_folder,
        )
    except (BadScenario, CannotSimulate) as error:
        raise click.ClickException(str(error)) from error
    try:
        for fault in faults:
            simulator.gateway.inject(fault)
        yield simulator
    finally:
        for device in simulator.close():
            click.echo(f"a process still has {device} open; the device is empty now", err=True)


@contextmanager
def _listening(options: _Options) -> Iterator[None]:
    """Turn errors of starting the server into errors of the command."""
    try:
        yield
    except FileNotFoundError as error:
        raise click.ClickException(f"--tls-dir: there is no file {error.filename}") from error
    except OSError as error:
        addresses = [f"{options.address}:{options.port}" if options.port else options.address]
        if options.admin_port:
            addresses.append(f"127.0.0.1:{options.admin_port}")
        reason = os.strerror(error.errno or 0)
        raise click.ClickException(f"cannot listen on {' or '.join(addresses)}: {reason}") from error


def _plans(options: _Options) -> list[SystemPlan]:
    defaults = Settings(username=options.username, password=options.password)
    if options.config is not None:
        return read_systems(options.config, defaults)
    return [
        SystemPlan(
            version=options.version,
            initial_state=InitialState(
                name=f"sim{number + 1}",
                volumes=options.volumes,
                domains=(DomainPlan(sdts=options.nvme_portals),),
            ),
            settings=defaults,
        )
        for number in range(options.systems)
    ]
