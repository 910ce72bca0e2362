"""The figures of the run, and fixtures for logs and signals."""

import io
import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from csi_powerflex.observability import log
from tests.distribution import Workers
from tests.figures import Figures

pytest_plugins = ["tests.needs"]

_FIGURES = pytest.StashKey[Figures]()
_OF_A_WORKER = "figures"  # the key of the figures that a worker of pytest-xdist sends to the run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--floors",
        action="store_true",
        help="fail when a figure of the run is below its floor in tests/floors.toml",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = Figures()
    if config.pluginmanager.has_plugin("xdist"):
        config.pluginmanager.register(Workers())


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_OF_A_WORKER] = session.config.stash[_FIGURES].handed_over()
    elif session.config.getoption("--floors") and session.config.stash[_FIGURES].fallen():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the figures of a worker that has ended. A crashed one has none, so they are below the floors."""
    handed = getattr(node, "workeroutput", {}).get(_OF_A_WORKER)
    if handed is not None:
        node.config.stash[_FIGURES].take(handed)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[_FIGURES]
    if figures.lines():
        terminalreporter.section("figures")
        for line in figures.lines():
            terminalreporter.line(line)
    if config.getoption("--floors"):
        for line in figures.fallen():
            terminalreporter.line(f"FALLEN {line}", red=True)


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    """The figures of this run."""
    return request.config.stash[_FIGURES]


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let SIGINT interrupt this process. A process in the background may ignore it by inheritance."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Restores the logging of the process after each test: the commands of the driver configure it."""
    root, driver = logging.getLogger(), logging.getLogger("csi_powerflex")
    handlers, levels = list(root.handlers), (root.level, driver.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    driver.setLevel(levels[1])


@pytest.fixture
def text_log(untouched_logging: None) -> io.StringIO:
    """The driver's log at debug level, as text."""
    stream = io.StringIO()
    log.configure(level="debug", form=log.Format.TEXT, stream=stream)
    return stream


@pytest.fixture
def json_log(untouched_logging: None) -> io.StringIO:
    """The driver's log at debug level, as JSON."""
    stream = io.StringIO()
    log.configure(level="debug", form=log.Format.JSON, stream=stream)
    return stream
