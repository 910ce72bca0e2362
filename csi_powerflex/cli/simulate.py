"""``csi-powerflex simulate``: a simulated PowerFlex system on this machine."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from csi_powerflex import signals
from csi_powerflex.cli import settings
from csi_powerflex.simulator.atomic import write_atomically
from csi_powerflex.simulator.dialect import DIALECTS
from csi_powerflex.simulator.initial_state import InitialState
from csi_powerflex.simulator.ownership import clear_orphans
from csi_powerflex.simulator.scenario import BadScenario, read_faults, read_systems
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import CannotSimulate, Simulator, SystemPlan

if TYPE_CHECKING:
    from csi_powerflex.simulator.server import Server

_DEFAULTS = Settings()
_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options, as given."""

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
    config: Path | None
    faults: Path | None
    admin_port: int
    ready_file: Path | None


@click.command(
    name="simulate",
    short_help="Run a simulated PowerFlex gateway with real block devices.",
    context_settings=settings.of("simulate"),
)
@click.option(
    "--state",
    type=_FOLDER,
    help="Folder that holds everything: objects, the data of volumes, certificates, hosts. Made when "
    "missing; a later run goes on with it, even after kill -9. Without it a temporary folder serves, "
    "which is removed at the end; after kill -9, by the next run without it.",
)
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="IPv4 address to serve on; 0.0.0.0 for every one of this machine. Whoever reaches it and knows the "
    "password can do everything.",
)
@click.option(
    "--name",
    "names",
    metavar="NAME",
    multiple=True,
    help="Host name or address by which clients call it: for the certificate, the first also for the URL. "
    "Repeatable.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Port at that address; 0 takes a free one. Further systems take the ports that follow.",
)
@click.option(
    "--tls-dir",
    type=_FOLDER,
    help="Folder with tls.crt, tls.key and ca.crt to serve with, such as a mounted Secret. Without it the "
    "simulator makes an authority of its own.",
)
@click.option(
    "--host",
    "hosts",
    metavar="NAME",
    multiple=True,
    help="Simulate a host with block devices: volumes mapped to it appear in STATE/hosts/NAME/by-id. "
    "Repeatable. Needs root and loop devices.",
)
@click.option(
    "--hosts-by-folder",
    is_flag=True,
    help="Whoever makes a folder STATE/hosts/NAME while the simulator runs is a host of that name from then "
    "on, as with --host; it can be used once drv_cfg is there.",
)
@click.option(
    "--sdc",
    "sdcs",
    metavar="NAME",
    multiple=True,
    help="Let the system know an SDC that has no devices here. Repeatable; needs no root.",
)
@click.option(
    "--version",
    type=click.Choice(list(DIALECTS)),
    default="4.5",
    show_default=True,
    help="The PowerFlex version to speak.",
)
@click.option("--username", default=_DEFAULTS.username, show_default=True, help="Who may log in.")
@click.option(
    "--password",
    default=_DEFAULTS.password,
    show_default=True,
    help="The password of that user. It guards nothing but this simulator.",
)
@click.option(
    "--volumes",
    type=click.IntRange(0, 131072),
    default=0,
    show_default=True,
    help="How many volumes a new system has from the start.",
)
@click.option(
    "--systems",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="How many systems to simulate. Every host is connected to all of them.",
)
@click.option(
    "--config",
    type=_FILE,
    help="YAML that describes the systems in full: versions, protection domains, pools, settings. Takes "
    "the place of --version, --volumes and --systems.",
)
@click.option("--faults", type=_FILE, help="YAML with trouble that the first system meets from the start.")
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
    help="Write URL, credentials, ids and paths to this file, as JSON, once the systems can be used; it is "
    "removed at the end.",
)
def command(**options: object) -> None:
    """Run a simulated PowerFlex gateway, with simulated hosts whose volumes are real block devices.

    It serves HTTPS, on 127.0.0.1 and with a certificate of its own authority unless told otherwise, until
    it gets SIGTERM or SIGINT; then devices are detached and links removed, and what is in the state folder
    stays.
    """
    asked = _Asked(**options)  # type: ignore[arg-type]  # click gives the types that its options declare
    _allow_connections()
    if asked.ready_file is not None:
        asked.ready_file.unlink(missing_ok=True)  # of a run that was killed: it would name what is not there
    if asked.state is None:
        for folder in clear_orphans():
            click.echo(f"removed {folder}, left by a simulator that was killed", err=True)
    with signals.caught(signal.SIGTERM, signal.SIGINT) as stopped:
        _simulate(asked, stopped)


def _allow_connections() -> None:
    """As many open files as may be had: the usual limit of 1,024 would be one on clients' connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _simulate(asked: _Asked, stopped: Callable[[], object]) -> None:
    try:
        from csi_powerflex.simulator.server import ServeAddress, Server  # noqa: PLC0415 - needs the extra
    except ImportError as error:
        raise click.ClickException(
            f"the simulator needs packages that are not installed ({error}): "
            "in a clone of the project, run pip install '.[simulator]'"
        ) from error
    with _simulated(asked) as simulator:
        ports = [asked.port + number if asked.port else 0 for number in range(len(simulator.gateways))]
        try:
            address = ServeAddress(asked.address, asked.names, asked.tls_dir)
            server = Server(simulator, ports, asked.admin_port, address=address)
        except FileNotFoundError as error:
            raise click.ClickException(f"--tls-dir: there is no {error.filename}") from error
        except OSError as error:
            raise click.ClickException(_about_ports(asked, error)) from error
        with server, _announced(server, asked):
            stopped()


@contextmanager
def _simulated(asked: _Asked) -> Iterator[Simulator]:
    try:
        faults = read_faults(asked.faults) if asked.faults else []
        simulator = Simulator(
            _plans(asked),
            folder=asked.state,
            hosts=asked.hosts,
            sdcs=asked.sdcs,
            hosts_by_folder=asked.hosts_by_folder,
        )
    except (BadScenario, CannotSimulate) as error:
        raise click.ClickException(str(error)) from error
    try:
        for fault in faults:
            simulator.gateway.inject(fault)
        yield simulator
    finally:
        for device in simulator.close():
            click.echo(f"{device} is still open somewhere; it has no content any more", err=True)


def _about_ports(asked: _Asked, error: OSError) -> str:
    wanted = [f"{asked.address}:{asked.port}" if asked.port else asked.address]
    if asked.admin_port:
        wanted.append(f"127.0.0.1:{asked.admin_port}")
    return f"cannot listen on {' or '.join(wanted)}: {os.strerror(error.errno or 0)}"


def _plans(asked: _Asked) -> list[SystemPlan]:

    settings = Settings(username=asked.username, password=asked.password)
    if asked.config is not None:
        return read_systems(asked.config, settings)
    return [
        SystemPlan(
            version=asked.version,
            initial_state=InitialState(name=f"sim{number + 1}", volumes=asked.volumes),
            settings=settings,
        )
        for number in range(asked.systems)
    ]


@contextmanager
def _announced(server: Server, asked: _Asked) -> Iterator[None]:
    """The ready file is there, and tells the truth, exactly as long as the systems can be used."""
    systems = [_described(server, number, asked) for number in range(len(server.urls))]
    text = json.dumps({**systems[0], "systems": systems}, indent=2) + "\n"
    if asked.ready_file is not None:
        _write(asked.ready_file, text)
    try:
        click.echo(_ready_block(server, asked, systems))
        yield
    finally:
        if asked.ready_file is not None:
            _remove_if_ours(asked.ready_file, text)


def _write(ready_file: Path, text: str) -> None:
    try:
        write_atomically(ready_file, text)
    except OSError as error:
        raise click.ClickException(f"cannot write {ready_file}: {os.strerror(error.errno or 0)}") from error


def _remove_if_ours(ready_file: Path, text: str) -> None:
    """Another simulator may have been given the same file since, or somebody removed it."""
    with suppress(FileNotFoundError):
        if ready_file.read_text(encoding="utf-8") == text:
            ready_file.unlink()


def _described(server: Server, number: int, asked: _Asked) -> dict[str, object]:
    array = server.simulator.gateways[number].array
    domain = next(iter(array.domains.values()))
    return {
        "url": server.urls[number],
        "username": asked.username,
        "password": asked.password,
        "caFile": str(server.certificates.authority),
        "adminUrl": server.admin_url,
        "version": array.dialect.version,
        "systemId": array.system.id,
        "protectionDomain": domain.name,
        "storagePool": array.pools_of_domain(domain.id)[0].name,
        "hosts": {
            host.name: {"guid": host.guid, "drvCfg": str(host.drv_cfg), "byIdDir": str(host.by_id)}
            for host in server.simulator.hosts.values()
        },
    }


def _ready_block(server: Server, asked: _Asked, systems: Sequence[dict[str, object]]) -> str:
    lines = []
    for system in systems:
        lines += [
            f"PowerFlex {system['version']}, system {system['systemId']}, is ready at {system['url']}",
            f"  pool           {system['protectionDomain']}/{system['storagePool']}",
        ]
    lines += [
        f"  user           {asked.username}",
        f"  password       {asked.password}",
        f"  CA certificate {server.certificates.authority}",
        f"  admin port     {server.admin_url}",
    ]
    lines += [f"  host {host.name:<9} {host.by_id}" for host in server.simulator.hosts.values()]
    return "\n".join(lines)
