"""Options that several commands share, and the error message of a command that cannot start."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from csi_powerflex.call_context import SLOW_CALL_SECONDS
from csi_powerflex.errors import DriverError
from csi_powerflex.observability import log
from csi_powerflex.observability.endpoint import TlsFiles

DEFAULT_DRIVER_NAME = "csi.powerflex.dev"

# CSI's rules for a plugin's name (specification, GetPluginInfoResponse).
_DRIVER_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")


def _driver_name(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if _DRIVER_NAME.fullmatch(value) is None:
        raise click.BadParameter(
            f"{value!r} is not usable; give at most 63 letters, digits, dots and dashes, "
            "beginning and ending with a letter or digit"
        )
    return value


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def together(*given: Decorator) -> Decorator:
    """Several options as one decorator, for the options of a role that several commands have."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(given):
            function = option(function)
        return function

    return decorate


endpoint: Decorator = click.option(
    "--endpoint",
    envvar="CSI_ENDPOINT",
    required=True,
    metavar="URL",
    help="Unix socket to serve CSI on, such as unix:///csi/csi.sock.",
)
driver_name: Decorator = click.option(
    "--driver-name",
    default=DEFAULT_DRIVER_NAME,
    show_default=True,
    callback=_driver_name,
    metavar="NAME",
    help="Name of the CSI driver, as in the cluster's CSIDriver object.",
)
metrics_address: Decorator = together(
    click.option(
        "--metrics-address",
        metavar="HOST:PORT",
        help="Address to serve /metrics and /healthz on, such as :9808. Without it they are not served.",
    ),
    click.option(
        "--metrics-tls-cert",
        type=click.Path(dir_okay=False, path_type=Path),
        help="With --metrics-address: serve HTTPS with the certificate chain in this file, in PEM. A changed "
        "file is read again.",
    ),
    click.option(
        "--metrics-tls-key",
        type=click.Path(dir_okay=False, path_type=Path),
        help="With --metrics-tls-cert: the file with its private key, in PEM, without a passphrase.",
    ),
)


def metrics_tls(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    """The files of the two options; None if neither is given.

    Raises:
        click.UsageError: only one is given.
    """
    if (certificate is None) != (key is None):
        raise click.UsageError(
            "--metrics-tls-cert and --metrics-tls-key belong together; give both or neither"
        )
    return TlsFiles(certificate, key) if certificate is not None and key is not None else None


log_level: Decorator = click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="Lowest level of the log lines that are written.",
)
log_format: Decorator = click.option(
    "--log-format",
    type=click.Choice([form.value for form in log.Format]),
    default=log.Format.TEXT.value,
    show_default=True,
    help="key=value text for people, or JSON for machines.",
)

slow_call_seconds: Decorator = click.option(
    "--slow-call-seconds",
    type=click.FloatRange(0),
    default=SLOW_CALL_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="A call that changes nothing is logged at level debug. If it takes at least this long, it is logged "
    "at level info; 0 for all of them. A call that fails is always logged.",
)

log_lines = together(log_level, log_format)


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn a ``DriverError`` into one line on standard error and exit status 1."""
    try:
        yield
    except DriverError as error:
        raise click.ClickException(str(error)) from error
