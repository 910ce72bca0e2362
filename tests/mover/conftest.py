from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mover.devices import Loop, loop
from tests.mover.web_server import WebServer, web_server

MakeLoop = Callable[[int], Loop]


@pytest.fixture
def make_loop(tmp_path: Path) -> Iterator[MakeLoop]:
    """Makes an empty loop device of a size in bytes."""
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:
        yield lambda size: stack.enter_context(loop(tmp_path / f"loop{next(numbers)}.img", size))


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """An HTTPS server on loopback."""
    with web_server(tmp_path / "tls") as server:
        yield server


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A scratch folder."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder
