"""The kopf application: watches the operator's objects, and begins a round when one changes.

kopf has the watches, their renewal and the life of the process. It keeps no state and writes nothing: no
handler of it that would need its own annotations, finalizers or counters is used. After a restart kopf
reports each object once, so each is looked at.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import re
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import kopf

from csi_powerflex.errors import DriverError
from csi_powerflex.kube.config import ClusterConfig, Source
from csi_powerflex.kube.http import tls_context
from csi_powerflex.observability.log import Log
from csi_powerflex.operator.api import GROUP, NAME_PATTERN, VERSION, Definition, Key
from csi_powerflex.operator.turns import Lead, Turns

log = Log(__name__)

# kopf calls getpass.getuser() for a name of its own, which fails for a user id without a name.
_IDENTITY = "csi-powerflex-operator"
_NAME = re.compile(NAME_PATTERN)
_THREADS = 8
_SERVER_SECONDS = 240
_CLIENT_SECONDS = 270
_CONNECT_SECONDS = 10
_CLOSE_SECONDS = 0.25
# Kubernetes replaces the token of a ServiceAccount long before it expires.
_TOKEN_SECONDS = 600.0


def serve(
    config: ClusterConfig,
    definitions: Sequence[Definition],
    lead: Lead,
    *,
    stop: threading.Event | None = None,
    ready: threading.Event | None = None,
) -> None:
    """Lead the objects of the resources until SIGTERM or SIGINT, or until ``stop`` is set.

    Args:
        config: how to reach the cluster.
        definitions: the resources.
        lead: one round.
        stop: ends it; for other threads.
        ready: is set once the handlers are there.
    """
    _quieten()
    registry = kopf.OperatorRegistry()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="round") as executor:
        turns = Turns(lead, executor)
        _register(registry, config, definitions, turns)
        loop = asyncio.new_event_loop()
        try:
            kopf.run(
                loop=loop,
                registry=registry,
                identity=cast("Any", _IDENTITY),
                standalone=True,
                clusterwide=True,
                stop_flag=stop,
                ready_flag=ready,
            )
        finally:
            # The connections of aiohttp end in the loop, some time after their session is closed.
            loop.run_until_complete(asyncio.sleep(_CLOSE_SECONDS))
            loop.close()


def _register(
    registry: kopf.OperatorRegistry, config: ClusterConfig, definitions: Sequence[Definition], turns: Turns
) -> None:
    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.watching.server_timeout = _SERVER_SECONDS
        settings.watching.client_timeout = _CLIENT_SECONDS
        settings.watching.connect_timeout = _CONNECT_SECONDS
        settings.posting.enabled = False
        # Resources and namespaces that come later are not looked for, which would need more rights.
        settings.scanning.disabled = True

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return connection(config)

    @kopf.on.cleanup(registry=registry)
    async def finish(**_: Any) -> None:
        await turns.stop()

    for definition in definitions:
        kopf.on.event(GROUP, VERSION, definition.plural, registry=registry)(
            _changed(definition.plural, turns)
        )
    populators = {item.kind: item.plural for item in definitions if item.populates}
    if populators:
        kopf.on.event("", "v1", "persistentvolumeclaims", registry=registry)(_claimed(populators, turns))


def _changed(plural: str, turns: Turns) -> Callable[..., Any]:
    async def changed(namespace: str | None, name: str, meta: Mapping[str, Any], **given: Any) -> None:
        # A status that a round has written changes none of these, so it does not end the round's pause.
        version = (meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"))
        turns.changed(Key(plural, namespace or "", name), version, removed=given["type"] == "DELETED")

    return changed


@dataclass(frozen=True, kw_only=True)
class _Connection(kopf.ConnectionInfo):
    """Verifies the cluster as the driver's own client does: kopf refuses authorities that clusters have."""

    tls: ssl.SSLContext

    def as_ssl_context(self) -> ssl.SSLContext:
        return self.tls


def _claimed(populators: Mapping[str, str], turns: Turns) -> Callable[..., Any]:
    """A claim without a volume begins a round with the object that it names as its source."""

    async def claimed(namespace: str | None, spec: Mapping[str, Any], **_: Any) -> None:
        source = spec.get("dataSourceRef") or {}
        plural, name = populators.get(source.get("kind", "")), source.get("name", "")
        # Kubernetes accepts any name here. With "copy/status" an object would have two rounds at a time.
        here = source.get("namespace") in (None, "", namespace) and _NAME.fullmatch(name)
        if plural and here and source.get("apiGroup") == GROUP and not spec.get("volumeName"):
            turns.wake(Key(plural, namespace or "", name))

    return claimed


def connection(config: ClusterConfig) -> kopf.ConnectionInfo:
    """What kopf needs to reach the cluster, with the files as they are now. It asks again after ten minutes.

    Raises:
        kopf.PermanentError: a file cannot be read.
    """
    try:
        tls, token = tls_context(config), _content(config.token)
    except (OSError, DriverError) as error:
        raise kopf.PermanentError(f"cannot reach Kubernetes: {error}") from error
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=_TOKEN_SECONDS)
    return _Connection(
        server=config.server,
        tls=tls,
        scheme="Bearer" if token else None,
        token=token.decode().strip() if token else None,
        expiration=until,
    )


def _content(source: Source | None) -> bytes | None:
    return source.read_bytes() if isinstance(source, Path) else source


def _quieten() -> None:
    """Let kopf log only what needs attention. It logs each attempt to reach an API server that is down."""
    logging.getLogger("kopf").setLevel(logging.ERROR)
    logging.getLogger("aiohttp").setLevel(logging.ERROR)
