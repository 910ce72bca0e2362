"""What all tests share: the figures of the run, and the log as a stream, put back afterwards."""

import io
import logging
from collections.abc import Iterator

import pytest

from csi_powerflex.observability import log
from tests.figures import Figures

_FIGURES = pytest.StashKey[Figures]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--floors",
        action="store_true",
        help="fail when a figure of the run is below its floor in tests/floors.toml",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = Figures()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--floors") and session.config.stash[_FIGURES].fallen():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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
    """Where tests count what they tried."""
    return request.config.stash[_FIGURES]


@pytest.fixture
def untouched_logging() -> Iterator[None]:
    """Puts the process's logging back as it was, for tests that configure it."""
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
