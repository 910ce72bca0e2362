"""A controller and a simulated array: gRPC and HTTPS are both real."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from csi_powerflex.config.secret import Secret
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.simulator import certificates
from csi_powerflex.simulator.initial_state import InitialState
from csi_powerflex.simulator.server import Server
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.controller.changed_answers import ChangeAnswer, changed_answers
from tests.controller.driver import Driver
from tests.controller.moving import several_pools
from tests.controller.world import World
from tests.figures import Figures

VERSIONS = ("3.6", "4.5", "5.0")

MakeWorld = Callable[..., World]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates. They are generated once, since this takes most of the time of a start."""
    folder = tmp_path_factory.mktemp("authority")
    certificates.ensure(folder)
    return folder


@pytest.fixture
def make_world(authority: Path, figures: Figures) -> Iterator[MakeWorld]:
    """Start one or more simulated systems, and a controller for them."""
    with contextlib.ExitStack() as stack:

        def make(
            *plans: SystemPlan,
            settings: Settings | None = None,
            sdcs: tuple[str, ...] = ("a", "b", "c"),
            **options: Any,
        ) -> World:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="c-")))
            shutil.copytree(authority, folder / "array" / "tls")
            wanted = plans or (SystemPlan(settings=settings or Settings()),)
            simulator = stack.enter_context(Simulator(wanted, folder=folder / "array", sdcs=sdcs))
            server = stack.enter_context(Server(simulator))
            systems = tuple(
                SystemSettings(
                    name=f"array{number}",
                    endpoints=(url,),
                    username="admin",
                    password=Secret("Simulated1!"),
                    ca_file=str(server.certificates.authority),
                    **{"protection_domain": "pd1", "storage_pool": "sp1", **options},
                )
                for number, url in enumerate(server.urls)
            )
            world = World(folder, simulator, server, systems)
            stack.enter_context(world)
            stack.callback(lambda: figures.add("final errors that left nothing", world.final_codes.checked))
            return world

        yield make


@pytest.fixture(params=VERSIONS)
def world(request: pytest.FixtureRequest, make_world: MakeWorld) -> World:
    """One system of each generation, and its controller."""
    return make_world(SystemPlan(version=request.param))


@pytest.fixture
def driver(world: World) -> Driver:
    """The controller's CSI endpoint."""
    return world.driver


@pytest.fixture
def array45(make_world: MakeWorld) -> World:
    """One system, for tests that are the same for each generation."""
    return make_world()


@pytest.fixture
def pair(make_world: MakeWorld) -> World:
    """Two systems of one generation: array0 and array1."""
    return make_world(
        SystemPlan(initial_state=InitialState(name="one")), SystemPlan(initial_state=InitialState(name="two"))
    )


@pytest.fixture
def change_answer(array45: World) -> Iterator[ChangeAnswer]:
    """Change what a route of ``array45`` answers."""
    with changed_answers(array45) as change:
        yield change


@pytest.fixture
def unreachable_url() -> Iterator[str]:
    """The URL of a gateway that refuses connections: its port is bound, but nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def moving(make_world: MakeWorld) -> World:
    """A system with several pools in two protection domains, whose moves take a second for each GiB."""
    return make_world(several_pools())


@pytest.fixture
def kept(moving: World) -> World:
    """The same system, and a controller that keeps in a file which volumes were moved."""
    moving.more["state_file"] = moving.folder / "state.db"
    moving.restart()
    return moving
