"""The kopf application against an API server: objects are led, also after watches and tokens have ended."""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from csi_powerflex.app import operator
from csi_powerflex.cli.operator import command
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.kube.client import Client
from csi_powerflex.kube.config import ClusterConfig
from csi_powerflex.operator import application
from csi_powerflex.operator.api import Key
from csi_powerflex.operator.definitions import DEFINITIONS
from tests.kube.api_server import Answer, ApiServer, Request

pytestmark = pytest.mark.usefixtures("untouched_logging")

CLAIMS = "/api/v1/persistentvolumeclaims"
REVERTS = "/apis/powerflex.dev/v1alpha1/volumereverts"
SECONDS = 20.0
WATCHES = len(DEFINITIONS) + 1
"""One for each resource, and one for claims."""


class DiscoveringServer(ApiServer):
    """Also answers what kopf asks about the resources that the API has."""

    def received(self, request: Request) -> Answer | None:
        answer = super().received(request)
        return answer or self.listed(request) or self.discovered(request.path)

    def listed(self, request: Request) -> Answer | None:
        """kopf lists without a limit."""
        if request.is_watch or request.method != "GET" or "limit" in request.query:
            return None
        if request.path not in (CLAIMS, *(definition.path() for definition in DEFINITIONS)):
            return None
        whole = Request(request.method, request.path, {"limit": "1000"}, request.headers, request.user)
        return Answer.of(self.page(whole))

    def discovered(self, path: str) -> Answer | None:
        version = {"groupVersion": "powerflex.dev/v1alpha1", "version": "v1alpha1"}
        verbs = ["get", "list", "watch"]
        core = [
            {"name": name, "singularName": kind.lower(), "kind": kind, "namespaced": within, "verbs": verbs}
            for name, kind, within in (
                ("namespaces", "Namespace", False),
                ("events", "Event", True),
                ("persistentvolumeclaims", "PersistentVolumeClaim", True),
            )
        ]
        crds = {"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"}
        own = [
            {
                "name": item.plural,
                "singularName": item.kind.lower(),
                "kind": item.kind,
                "namespaced": True,
                "verbs": ["get", "list", "watch", "patch"],
            }
            for item in DEFINITIONS
        ]
        definitions = [
            {
                "name": "customresourcedefinitions",
                "singularName": "customresourcedefinition",
                "kind": "CustomResourceDefinition",
                "namespaced": False,
                "verbs": ["get", "list", "watch"],
            }
        ]
        found: dict[str, object] = {
            "/version": {"major": "1", "minor": "36"},
            "/api": {"versions": ["v1"]},
            "/api/v1": {"groupVersion": "v1", "resources": core},
            "/apis": {
                "groups": [
                    {"name": "powerflex.dev", "versions": [version], "preferredVersion": version},
                    {"name": "apiextensions.k8s.io", "versions": [crds], "preferredVersion": crds},
                ]
            },
            "/apis/powerflex.dev/v1alpha1": {**version, "resources": own},
            "/apis/apiextensions.k8s.io/v1": {**crds, "resources": definitions},
        }
        return Answer.of(found[path]) if path in found else None


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ApiServer]:
    with DiscoveringServer(tmp_path) as server:
        yield server


class Led:
    """The rounds that begin."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        self._changed = threading.Condition()

    def __call__(self, key: Key) -> float:
        with self._changed:
            self.keys.append(key)
            self._changed.notify_all()
        return float("inf")

    def wait(self, many: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.keys) >= many, SECONDS), self.keys


@contextlib.contextmanager
def served(cluster: ApiServer, led: Led, config: ClusterConfig | None = None) -> Iterator[None]:
    stop = threading.Event()
    given = (config or cluster.config, DEFINITIONS, led)
    thread = threading.Thread(target=application.serve, args=given, kwargs={"stop": stop})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        # The server reads the end of a connection only after its watch.
        while thread.is_alive():
            cluster.end_watches()
            thread.join(0.1)


def put(cluster: ApiServer, name: str, generation: int = 1) -> None:
    metadata = {"namespace": "shop", "name": name, "generation": generation}
    content = {"apiVersion": "powerflex.dev/v1alpha1", "kind": "VolumeRevert", "metadata": metadata}
    cluster.put(REVERTS, name, {**content, "spec": {}})


def test_objects_that_exist_and_that_appear_are_led(cluster: ApiServer) -> None:
    put(cluster, "first")
    led = Led()
    with served(cluster, led):
        led.wait(1)
        put(cluster, "second")
        led.wait(2)
        put(cluster, "first", generation=2)
        led.wait(3)
    assert [key.name for key in led.keys] == ["first", "second", "first"]
    assert {key.plural for key in led.keys} == {"volumereverts"}


def test_it_writes_nothing_by_itself(cluster: ApiServer) -> None:
    put(cluster, "first")
    led = Led()
    with served(cluster, led):
        led.wait(1)
    assert {request.method for request in cluster.requests} == {"GET"}


def test_it_asks_only_for_its_own_resources_and_for_what_there_is(cluster: ApiServer) -> None:
    put(cluster, "first")
    led = Led()
    with served(cluster, led):
        led.wait(1)
    own = {definition.path() for definition in DEFINITIONS}
    asked = {
        request.path for request in cluster.requests if "/namespaces" in request.path or "v1/" in request.path
    }
    assert asked <= own | {CLAIMS}


def claim(cluster: ApiServer, name: str, **spec: object) -> None:
    cluster.put(CLAIMS, name, {"metadata": {"namespace": "shop", "name": name}, "spec": spec})


def test_a_claim_without_a_volume_begins_a_round_with_its_source(cluster: ApiServer) -> None:
    source = {"apiGroup": "powerflex.dev", "kind": "VolumeCopy", "name": "copy"}
    claim(cluster, "bound", dataSourceRef=source, volumeName="pv")
    claim(cluster, "none")
    claim(cluster, "another", dataSourceRef={**source, "kind": "VolumeRevert"})
    claim(cluster, "foreign", dataSourceRef={**source, "apiGroup": "example.org"})
    claim(cluster, "elsewhere", dataSourceRef={**source, "namespace": "other"})
    for number, name in enumerate(("copy/status", "..", "../../other/volumecopies/copy", "c" * 254)):
        claim(cluster, f"odd-{number}", dataSourceRef={**source, "name": name})
    led = Led()
    with served(cluster, led):
        claim(cluster, "first", dataSourceRef=source)
        led.wait(1)
        claim(cluster, "second", dataSourceRef={**source, "name": "next", "namespace": "shop"})
        led.wait(2)
    assert led.keys == [Key("volumecopies", "shop", "copy"), Key("volumecopies", "shop", "next")]


def test_it_goes_on_after_the_watches_have_ended_or_broken(cluster: ApiServer) -> None:
    led = Led()
    with served(cluster, led):
        cluster.wait_for_watches(WATCHES)
        cluster.end_watches()
        cluster.wait_for_watches(WATCHES)
        cluster.break_watches()
        put(cluster, "first")
        led.wait(1)


def test_a_token_that_was_replaced_is_read_again(cluster: ApiServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    cluster.token = "one"
    led = Led()
    config = ClusterConfig(cluster.url, authority=cluster.authority.certificate, token=token)
    with served(cluster, led, config):
        cluster.wait_for_watches(WATCHES)
        token.write_text("two")
        cluster.token = "two"
        cluster.end_watches()
        put(cluster, "first")
        led.wait(1)


def test_a_user_without_a_name_is_no_obstacle(cluster: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr("getpass.getuser", nameless)
    led = Led()
    put(cluster, "first")
    with served(cluster, led):
        led.wait(1)


def test_a_cluster_without_the_definitions_is_refused_with_what_to_do(
    client: Client, cluster: ApiServer
) -> None:
    cluster.refused[REVERTS] = 404
    with pytest.raises(FailedPrecondition, match="does not have volumereverts: install"):
        operator.require_definitions(client)


@pytest.mark.parametrize("role", ["controller", "node"])
def test_the_driver_s_processes_load_nothing_of_the_operator(role: str) -> None:
    code = (
        f"import sys, csi_powerflex.cli.{role}, csi_powerflex.app.{role}; "
        "print([name for name in sys.modules if name.split('.')[0] in ('kopf', 'cronsim', 'aiohttp') "
        "or name.startswith('csi_powerflex.operator')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_its_packages_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "kopf" else os)
    arguments = ["--cluster-id", "test", "--systems", str(tmp_path / "systems.yaml")]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 1
    assert "install csi-powerflex[operator]" in result.output


def test_authorities_that_the_drivers_client_accepts_are_accepted_too(cluster: ApiServer) -> None:
    # Python 3.13 refuses authorities without a key identifier by default.
    context = application.connection(cluster.config).as_ssl_context()
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
