"""What all tests share: the log as a stream, put back afterwards."""

import io
import logging
from collections.abc import Iterator

import pytest

from csi_powerflex.observability import log


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
