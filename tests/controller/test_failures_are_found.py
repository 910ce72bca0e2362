"""Failures as an operator meets them: each is caused in a process of the controller with a simulated array.

For each one, the test looks at all that an operator has: the error of the call, which Kubernetes shows as an
event, the line of the log, the metric and its alert, and the line of the doctor. Each of them has to lead to
a place in the documentation that exists. docs/conformance.md lists the tests.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from csi_powerflex.app.doctor import controller as doctor
from csi_powerflex.model.checks import Check, Level
from csi_powerflex.observability import metrics
from csi_powerflex.operations.controller.doctor import DoctorSettings
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator import certificates
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.server import LOOPBACK, Server
from csi_powerflex.simulator.settings import Settings
from tests import leads
from tests.controller.conftest import MakeWorld
from tests.controller.driver import Driver, Mode, block, mount, refused
from tests.controller.eventually import eventually
from tests.controller.issued import issue
from tests.controller.systems_file import SystemsFile, replace
from tests.controller.world import World
from tests.controller_process import ControllerProcess
from tests.observed import Observed

Code = grpc.StatusCode
Call = Callable[[], object]


class Site(Observed):
    """A controller that checks its array all the time, and what an operator sees of it."""

    def __init__(self, world: World, file: SystemsFile, process: ControllerProcess) -> None:
        self.world, self.file, self.process = world, file, process
        self.gateway = world.simulator.gateway

    @property
    def driver(self) -> Driver:
        """A client of the controller."""
        return self.process.driver

    def reconfigure(self, **changes: object) -> None:
        """Change keys of the system, and let the controller read the file now."""
        self.file.entries[0].update(changes)
        self.file.write()
        self.reload()

    def reload(self) -> None:
        """Let the controller compare its files now."""
        os.kill(self.process.pid, signal.SIGHUP)

    # --- the log -----------------------------------------------------------------------------------

    def log_text(self) -> str:
        return self.process.output().decode()

    def line(self, event: str, **fields: str) -> dict[str, Any]:
        """Wait for a line with this event, in whose fields these texts occur."""

        def found() -> list[dict[str, Any]]:
            return [
                line
                for line in self.lines(event)
                if all(text in str(line.get(name, "")) for name, text in fields.items())
            ]

        eventually(lambda: bool(found()))
        return found()[-1]

    # --- metrics -----------------------------------------------------------------------------------

    def metrics_text(self) -> str:
        return self.process.metrics().decode()

    def has_documented_labels(self) -> None:
        """Assert that docs/metrics.md names each error and result that the metrics have."""
        listed = {described.name: described.labels for described in metrics.TABLE}
        for family in text_string_to_metric_families(self.metrics_text()):
            for sample in family.samples:
                for label in {"reason", "result"} & sample.labels.keys():
                    assert re.search(rf"\b{sample.labels[label]}\b", listed[sample.name][label]), sample

    # --- the doctor --------------------------------------------------------------------------------

    def doctor(self) -> dict[str, Check]:
        """What the doctor finds, without what is ok."""
        return leads.problems(doctor.run(self.file.path, DoctorSettings(step_seconds=5)))

    # --- calls -------------------------------------------------------------------------------------

    def refused(self, code: Code, call: Call, entry: str, rpc: str = "CreateVolume") -> str:
        """Make a call that fails. Its message leads to ``entry`` of the page about troubleshooting.

        The log has the message in the line of the call, with the call's request id, and the metric of calls
        counts it.
        """
        counted = {"method": rpc, "code": code.name}
        before = self.metric("csi_powerflex_rpc_duration_seconds_count", **counted)
        text = refused(code, call)
        assert entry in leads.entries(text), (text, leads.entries(text))
        line = self.line("call failed", error=text, rpc=rpc)
        assert line["level"] == "warning"
        assert line["request_id"]
        assert self.metric("csi_powerflex_rpc_duration_seconds_count", **counted) == before + 1
        return text

    def is_down(self, reason: str, entry: str) -> None:
        """Assert that the system is shown as one that does not answer. The reason leads to ``entry``."""
        line = self.line("system does not answer", system="array0", reason=reason)
        assert line["level"] == "warning"
        assert entry in leads.entries(line["reason"]), (line, leads.entries(line["reason"]))
        self.is_alerted("CSIPowerFlexSystemDown", "csi_powerflex_system_up", 0, system="array0")


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[[World], Site]]:
    """Start a process for the array of a world."""
    running: list[Site] = []

    def make(world: World) -> Site:
        file = SystemsFile(world)
        options = {"watch-seconds": "0.1", "log-format": "json"}
        process = ControllerProcess(world.folder / "process", file.path, options)
        process.__enter__()
        running.append(Site(world, file, process))
        process.wait_for("system found")
        return running[-1]

    yield make
    for site in running:
        site.has_documented_labels()
        site.process.__exit__(None, None, None)


@pytest.fixture
def site(array45: World, make_site: Callable[[World], Site]) -> Site:
    """A site with one system."""
    assert array45.driver is not None
    return make_site(array45)


# --- credentials and certificates ------------------------------------------------------------------


def test_a_wrong_password_and_its_correction(site: Site) -> None:
    replace(site.file.password, "wrong")
    site.reload()
    site.is_down("refused user 'admin'", "The array refuses the user or password")
    site.refused(Code.UNAUTHENTICATED, site.driver.create, "The array refuses the user or password")
    check = site.doctor()["login"]
    assert check.level is Level.FAULT
    assert "The array refuses the user or password" in leads.entries(check.found)
    replace(site.file.password, "Simulated1!")
    site.reload()
    site.line("system answers again", system="array0")
    eventually(lambda: site.metric("csi_powerflex_system_up", system="array0") == 1)
    assert site.lines("configuration changed")
    assert site.driver.create().volume_id
    assert site.doctor() == {}


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A certificate that the driver does not accept."""

    hours: int
    trusted: bool
    entry: str
    check: str


CERTIFICATES = {
    "expired": Certificate(-1, True, "The gateway's certificate is out of its time", "certificate"),
    "of another authority": Certificate(1000, False, "The gateway's certificate is not accepted", "tls"),
}


@pytest.fixture
def other_gateway(array45: World, request: pytest.FixtureRequest) -> Iterator[Server]:
    """Another gateway of the array. Its certificate ends some hours from now."""
    folder = array45.folder / "given"
    issue(folder, server=datetime.timedelta(hours=request.param))
    with Server(array45.simulator, address=dataclasses.replace(LOOPBACK, tls=folder)) as server:
        yield server


@pytest.mark.parametrize(
    ("other_gateway", "wanted"),
    [pytest.param(kind.hours, kind, id=name) for name, kind in CERTIFICATES.items()],
    indirect=["other_gateway"],
)
def test_a_certificate_that_is_not_accepted(other_gateway: Server, site: Site, wanted: Certificate) -> None:
    ca_file = other_gateway.certificates.authority
    if not wanted.trusted:
        ca_file = certificates.ensure(site.world.folder / "other").authority
    site.reconfigure(endpoints=list(other_gateway.urls), caFile=str(ca_file))
    site.is_down("the certificate was not accepted", wanted.entry)
    site.refused(Code.UNAVAILABLE, site.driver.create, wanted.entry)
    found = site.doctor()
    assert found[wanted.check].level is Level.FAULT
    assert wanted.entry in leads.entries(found["tls"].found)


@pytest.mark.parametrize("content", [None, "garbage"])
def test_a_ca_file_that_is_missing_or_broken(site: Site, content: str | None) -> None:
    ca_file = site.file.folder / "ca.pem"
    ca_file.write_bytes(Path(site.file.entries[0]["caFile"]).read_bytes())
    site.reconfigure(caFile=str(ca_file))
    site.line("configuration changed")
    if content is None:
        ca_file.unlink()
    else:
        replace(ca_file, content)
    site.reload()
    line = site.line("configuration not changed", reason=str(ca_file))
    assert "The CA file cannot be used" in leads.entries(line["reason"])
    site.is_alerted("CSIPowerFlexConfigurationRefused", "csi_powerflex_configuration_valid", 0)
    check = site.doctor()["systems file"]
    assert check.level is Level.FAULT
    assert "The CA file cannot be used" in leads.entries(check.found)
    # The content that was read before is used further.
    assert site.driver.create().volume_id


# --- gateways that do not answer -------------------------------------------------------------------


def test_a_gateway_that_is_down_or_has_another_port(site: Site, unreachable_url: str) -> None:
    site.reconfigure(endpoints=[unreachable_url])
    site.is_down("cannot connect: Connection refused", "The gateway does not answer")
    site.refused(Code.UNAVAILABLE, site.driver.create, "The gateway does not answer")
    assert site.doctor()["tcp"].level is Level.FAULT


def test_a_gateway_whose_name_the_dns_does_not_know(site: Site) -> None:
    site.reconfigure(endpoints=["https://gateway.invalid"])
    site.is_down("cannot connect", "The gateway does not answer")
    site.refused(Code.UNAVAILABLE, site.driver.create, "The gateway does not answer")
    assert site.doctor()["dns"].level is Level.FAULT


def test_a_gateway_that_hangs(site: Site) -> None:
    site.reconfigure(requestTimeout=1)
    site.line("configuration changed")
    site.gateway.inject(Fault(kind=FaultKind.FREEZE))
    site.is_down("no answer within", "The gateway does not answer")
    site.driver.seconds = 3
    code = refused_with(site.driver.create)
    site.refused(code, site.driver.create, "The gateway does not answer")
    found = site.doctor()
    site.gateway.faults.clear()
    assert any("no answer within" in check.found for check in found.values()), found


def test_a_gateway_that_answers_503(site: Site) -> None:
    retries = {"system": "array0", "reason": "overloaded"}
    site.gateway.inject(Fault(kind=FaultKind.HTML, status=503, route="StoragePool.*"))
    eventually(lambda: site.metric("csi_powerflex_gateway_retries_total", **retries) > 0)
    site.gateway.inject(Fault(kind=FaultKind.HTML, status=503))
    site.is_down("HTTP 503", "The gateway is overloaded")
    site.refused(Code.UNAVAILABLE, site.driver.create, "The gateway is overloaded")
    assert "HTTP 503" in site.doctor()["login"].found


def refused_with(call: Call) -> Code:
    """The code of a call that fails."""
    with pytest.raises(grpc.RpcError) as error:
        call()
    code = error.value.code()
    assert isinstance(code, Code)
    return code


# --- capacity and limits ---------------------------------------------------------------------------


def test_a_full_pool(site: Site) -> None:
    site.gateway.set_full("sp1", full=True)
    text = site.refused(Code.RESOURCE_EXHAUSTED, site.driver.create, "The pool is full")
    assert "pd1/sp1" in text
    pool = {"system": "array0", "pool": "pd1/sp1"}
    site.is_alerted(
        "CSIPowerFlexCallsFail", "csi_powerflex_rpc_duration_seconds_count", 1, code="RESOURCE_EXHAUSTED"
    )
    eventually(lambda: site.metric("csi_powerflex_pool_free_bytes", **pool) == 0)
    assert "system_pool:csi_powerflex_pool_used:ratio" in leads.alert("CSIPowerFlexPoolFull")
    assert site.doctor()["capacity"].level is Level.FAULT


def test_a_tree_without_a_place_for_another_snapshot(
    make_world: MakeWorld, make_site: Callable[[World], Site]
) -> None:
    site = make_site(make_world(settings=Settings(max_snapshots_per_vtree=4)))
    volume = site.driver.create()
    for number in range(4):
        site.driver.snapshot(volume.volume_id, f"snapshot-{number}")
    text = site.refused(
        Code.RESOURCE_EXHAUSTED,
        lambda: site.driver.snapshot(volume.volume_id, "one-more"),
        "The tree of a volume is full",
        "CreateSnapshot",
    )
    assert volume.volume_id in text
    site.driver.controller.ListVolumes(csi_pb2.ListVolumesRequest(), timeout=30)
    site.is_alerted("CSIPowerFlexTreesNearLimit", "csi_powerflex_trees_near_limit", 1, system="array0")
    assert site.doctor()["tree members"].level is Level.WARNING


def test_a_secure_snapshot_that_is_to_be_deleted(site: Site) -> None:
    volume = site.driver.create()
    snapshot = site.driver.snapshot(volume.volume_id, retentionMinutes="60")
    site.refused(
        Code.FAILED_PRECONDITION,
        lambda: site.driver.delete_snapshot(snapshot.snapshot_id),
        "A secure snapshot cannot be removed",
        "DeleteSnapshot",
    )
    # Nothing is wrong with the array.
    assert site.doctor() == {}


# --- hosts and mappings ----------------------------------------------------------------------------


def test_a_host_that_has_lost_the_array(site: Site) -> None:
    volume = site.driver.create()
    site.gateway.set_connected("a", connected=False)
    host = {"system": "array0", "host": "a"}
    eventually(lambda: site.metric("csi_powerflex_host_connected", **host) == 0)
    context = site.driver.publish(volume, site.world.node("a"))
    line = site.line("volume mapped to a host that the array is not connected to", host="a")
    assert line["level"] == "warning"
    assert "The SDC has lost the array" in leads.entries(line["event"])
    # From this the node knows what to say if the device does not appear.
    assert "false" in str(context).lower()
    site.is_alerted("CSIPowerFlexHostLost", "csi_powerflex_host_connected", 0, **host)
    check = site.doctor()["hosts"]
    assert "1 of 3 SDCs are not connected: a" in check.found
    assert "csi-powerflex doctor node" in check.remedy


def test_a_volume_that_is_mapped_to_another_node(site: Site) -> None:
    volume = site.driver.create()
    site.driver.publish(volume, site.world.node("a"))
    text = site.refused(
        Code.FAILED_PRECONDITION,
        lambda: site.driver.publish(volume, site.world.node("b")),
        "The volume is mapped to another node",
        "ControllerPublishVolume",
    )
    assert "'a'" in text or " a" in text
    site.is_alerted(
        "CSIPowerFlexCallsFail", "csi_powerflex_rpc_duration_seconds_count", 1, code="FAILED_PRECONDITION"
    )
    assert site.doctor() == {}


REMOVED: dict[str, tuple[str, Callable[[Site, csi_pb2.Volume], object]]] = {
    "ControllerPublishVolume": (
        "The volume was removed at the array",
        lambda site, volume: site.driver.publish(volume, site.world.node("a")),
    ),
    "ControllerExpandVolume": (
        "The volume was removed at the array",
        lambda site, volume: site.driver.expand(volume.volume_id, gib=16),
    ),
    "CreateSnapshot": (
        "The source of a copy was removed at the array",
        lambda site, volume: site.driver.snapshot(volume.volume_id),
    ),
    "CreateVolume": (
        "The source of a copy was removed at the array",
        lambda site, volume: site.driver.clone("pvc-copy", volume.volume_id, gib=8),
    ),
}


def test_a_volume_that_someone_removed_at_the_array(site: Site) -> None:
    volume = site.driver.create()
    array, array_id = site.world.array, volume.volume_id.partition("-")[2]
    with array.lock:
        array.volumes.pop(array_id)
    for rpc, (entry, call) in REMOVED.items():
        text = site.refused(Code.NOT_FOUND, lambda call=call: call(site, volume), entry, rpc)  # type: ignore[misc]  # called at once
        assert array_id in text


def test_a_system_that_was_taken_out_of_the_secret(pair: World, make_site: Callable[[World], Site]) -> None:
    site = make_site(pair)
    parameters = {"systemID": "array1"}
    volume = site.driver.create(parameters=parameters)
    site.file.entries.pop()
    site.file.write()
    site.reload()
    site.line("configuration changed")
    site.refused(
        Code.FAILED_PRECONDITION,
        lambda: site.driver.delete(volume.volume_id),
        "The system is not in the systems file any more",
        "DeleteVolume",
    )
    site.is_alerted(
        "CSIPowerFlexCallsFail", "csi_powerflex_rpc_duration_seconds_count", 1, code="FAILED_PRECONDITION"
    )


# --- wrong requests --------------------------------------------------------------------------------

MANY_WRITERS = Mode.MULTI_NODE_MULTI_WRITER
WRONG: dict[str, tuple[Code, str, dict[str, Any]]] = {
    "parameter": (
        Code.INVALID_ARGUMENT,
        "Unknown parameter of a class",
        {"parameters": {"storagepol": "sp1"}},
    ),
    "pool": (
        Code.INVALID_ARGUMENT,
        "The storage pool does not exist",
        {"parameters": {"storagepool": "sp9"}},
    ),
    "domain": (
        Code.INVALID_ARGUMENT,
        "The storage pool does not exist",
        {"parameters": {"protectiondomain": "pd9"}},
    ),
    "system": (Code.INVALID_ARGUMENT, "The system does not exist", {"parameters": {"systemID": "nowhere"}}),
    "exact size": (
        Code.OUT_OF_RANGE,
        "The size needs rounding",
        {"gib": 9, "parameters": {"sizePolicy": "strict"}},
    ),
    "size": (Code.OUT_OF_RANGE, "The volume is too large", {"gib": 10**7}),
    "mode": (
        Code.INVALID_ARGUMENT,
        "ReadWriteMany with a filesystem",
        {"capabilities": [mount(MANY_WRITERS)]},
    ),
    "filesystem": (
        Code.INVALID_ARGUMENT,
        "The filesystem is not supported",
        {"capabilities": [mount(filesystem="ntfs")]},
    ),
    "limit": (Code.INVALID_ARGUMENT, "A limit has a wrong value", {"parameters": {"iopsLimit": "5"}}),
}


def test_a_class_or_a_claim_with_a_mistake(site: Site) -> None:
    for code, entry, request in WRONG.values():
        site.refused(code, lambda request=request: site.driver.create(**request), entry)  # type: ignore[misc]  # called at once
    # Nothing is wrong with the array.
    assert site.doctor() == {}


def test_a_volume_attributes_class_with_an_unknown_key(site: Site) -> None:
    volume = site.driver.create(capabilities=[block()])
    site.refused(
        Code.INVALID_ARGUMENT,
        lambda: site.driver.modify(volume.volume_id, iopslimt="500"),
        "Unknown parameter of a VolumeAttributesClass",
        "ControllerModifyVolume",
    )


def test_a_pool_that_has_lost_a_copy_of_its_data(site: Site) -> None:
    pool = {"system": "array0", "pool": "pd1/sp1"}
    for health, level in (("degraded", Level.WARNING), ("failed", Level.FAULT)):
        site.gateway.set_health("sp1", health)
        alert = f"CSIPowerFlexPool{health.capitalize()}"
        site.is_alerted(alert, "csi_powerflex_pool_state", 1, **pool, state=health)
        assert site.doctor()["pool"].level is level


# --- messages of Kubernetes ------------------------------------------------------------------------

OF_KUBERNETES = {
    "A node is not registered": (
        "driver name csi.powerflex.dev not found in the list of registered CSI drivers"
    ),
    "Multi-Attach error": 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) db-0',
    "Volume node affinity conflict": "0/3 nodes are available: 3 node(s) had volume node affinity conflict",
    "The volume is not attached": (
        "AttachVolume.Attach failed for volume pvc-1 : timed out waiting for external-attacher of "
        "csi.powerflex.dev CSI driver to attach volume 1-2"
    ),
}


@pytest.mark.parametrize("entry", OF_KUBERNETES)
def test_what_kubernetes_says_has_an_entry(entry: str) -> None:
    assert entry in leads.entries(OF_KUBERNETES[entry])
