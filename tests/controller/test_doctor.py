"""The doctor of the controller's side, with simulated arrays over real HTTPS: each fault has its line."""

from __future__ import annotations

import contextlib
import datetime
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import hashes, serialization

from csi_powerflex.app.doctor import controller as doctor
from csi_powerflex.cli.main import main
from csi_powerflex.gateway.inspection import InspectedArray
from csi_powerflex.model.checks import Check, Level
from csi_powerflex.operations.controller.doctor import DoctorSettings
from csi_powerflex.simulator import certificates
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.server import ServeAddress, Server
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.controller.changed_answers import ChangeAnswer
from tests.controller.conftest import MakeWorld
from tests.controller.nvme import create_nvme_host
from tests.controller.tcp_proxy import TcpProxy
from tests.controller.world import World

# The commands set the level of the log.
pytestmark = pytest.mark.usefixtures("untouched_logging")

PASSWORD = "Simulated1!"
EVERY_CHECK = {
    *("systems file", "dns", "tcp", "certificate", "tls", "login", "system id", "version", "role", "pool"),
    *("default pool", "hosts", "sdt", "limits", "tree members"),
}
ONLY_A_LOGIN = {"version", "/rest/auth/login", "System.list", "/rest/auth/logout"}


def entries(world: World) -> list[dict[str, Any]]:
    """The systems of the world, as they are written in a systems file."""
    return [
        {
            "name": settings.name,
            "endpoints": list(settings.endpoints),
            "username": settings.username,
            "password": PASSWORD,
            "caFile": settings.ca_file,
            "protectionDomain": settings.protection_domain,
            "storagePool": settings.storage_pool,
        }
        for settings in world.systems
    ]


class Doctor:
    """Runs the doctor with a systems file of these entries."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "systems.yaml"

    def __call__(self, *systems: dict[str, Any], **settings: Any) -> list[Check]:
        self.path.write_text(json.dumps({"systems": systems}))
        return doctor.run(self.path, DoctorSettings(**settings))


@pytest.fixture
def examine(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def problems(checks: list[Check]) -> list[Check]:
    return [check for check in checks if check.level is not Level.OK]


def only_problem(checks: list[Check]) -> Check:
    (problem,) = problems(checks)
    assert problem.remedy
    return problem


def named(checks: list[Check], name: str) -> list[Check]:
    return [check for check in checks if check.name == name]


# --- a healthy system ------------------------------------------------------------------------------


def test_a_healthy_system_has_no_problem_and_each_check_says_what_it_found(
    world: World, examine: Doctor
) -> None:
    world.driver.create()
    checks = examine(*entries(world), all_trees=True)
    assert problems(checks) == []
    assert {check.name for check in checks} == EVERY_CHECK
    found = {check.name: check.found for check in checks}
    assert found["version"] == f"PowerFlex {world.array.dialect.version}"
    assert found["role"] == "Superuser"
    assert found["system id"] == f"{world.array.system.id} (no id is configured)"
    assert found["default pool"] == "pd1/sp1"
    assert found["hosts"] == "all 3 SDCs are connected: a, b, c"
    assert found["tree members"].startswith("at most 1 of ")
    assert "free, provisioned 0.0 times" in found["pool"]


def test_it_changes_nothing_and_logs_out(world: World, examine: Doctor) -> None:
    world.driver.create()
    before, log = len(world.simulator.gateway.sessions), world.simulator.gateway.log
    last = log.last
    examine(*entries(world), all_trees=True)
    assert len(world.simulator.gateway.sessions) == before
    sent = {entry.path for entry in log.find(since=last) if entry.method != "GET"}
    queries = ("querySystemLimits", "/metrics/query", "/rest/auth/login", "/rest/auth/logout")
    assert [path for path in sent if not path.endswith(queries)] == []


def test_each_login_is_made_once(pair: World, examine: Doctor) -> None:
    logs = [gateway.log for gateway in pair.simulator.gateways]
    assert problems(examine(*entries(pair))) == []
    assert [len(log.find(path="/rest/auth/login")) for log in logs] == [1, 1]


def test_a_configured_id_that_is_right_is_confirmed(array45: World, examine: Doctor) -> None:
    system_id = array45.array.system.id
    checks = examine(entries(array45)[0] | {"id": system_id})
    (found,) = named(checks, "system id")
    assert found.found == f"{system_id} (as configured)"


# --- the systems file ------------------------------------------------------------------------------


def test_every_mistake_in_the_systems_file_has_its_own_line_and_other_systems_are_checked(
    array45: World, examine: Doctor
) -> None:
    good = entries(array45)[0]
    twin = good | {"endpoints": ["https://other.invalid"]}
    checks = examine(
        {"endpoints": "https://x", "usrname": "a", "zones": [{"nme": "z", "storagePools": ["p"]}]},
        good,
        {"endpoints": ["http://x"], "username": "", "password": PASSWORD, "id": "short"},
        twin,
    )
    usable = "give https://<host>[:<port>] without /api, with the user under username"
    assert [check.found for check in named(checks, "systems file")] == [
        "systems[0].endpoints: expected a list, found text; begin each entry with a dash",
        "systems[0]: unknown key 'usrname'; did you mean 'username'?",
        "systems[0].zones[0]: unknown key 'nme'; did you mean 'name'?",
        "systems[0]: the key username is missing; it must be given",
        "systems[2].username: must not be empty; give a value or leave the key out",
        f"systems[2].endpoints[0]: 'http://x' is not usable; {usable}",
        (
            "systems[2].id: a system id is 16 lower-case hexadecimal digits, not 'short'; a name of the "
            "system goes to the key name"
        ),
        "systems[3].name: 'array0' stands for another system already; each name and id must be of one system",
    ]
    assert named(checks, "login")[0].level is Level.OK


@pytest.mark.parametrize("content", ["- endpoints: [https://x]", "systems: [", "systems: 5", "systems: [5]"])
def test_a_file_without_a_list_of_systems_has_one_fault(tmp_path: Path, content: str) -> None:
    path = tmp_path / "systems.yaml"
    path.write_text(content)
    check = only_problem(doctor.run(path, DoctorSettings()))
    assert (check.name, check.level) == ("systems file", Level.FAULT)


def test_a_systems_file_under_another_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "systems.yml").touch()
    check = only_problem(doctor.run(tmp_path / "systems.yaml", DoctorSettings()))
    assert check.remedy == "name the right file; the folder has: systems.yml"


def test_a_systems_file_in_a_folder_that_does_not_exist_is_a_fault(tmp_path: Path) -> None:
    check = only_problem(doctor.run(tmp_path / "absent" / "systems.yaml", DoctorSettings()))
    assert (
        check.found == f"cannot be read: No such file or directory; there is no folder {tmp_path / 'absent'}"
    )
    assert check.remedy == "name a file that this process may read, with --systems"


# --- connections -----------------------------------------------------------------------------------


def test_a_host_name_that_the_dns_does_not_know_is_a_fault(array45: World, examine: Doctor) -> None:
    check = only_problem(examine(entries(array45)[0] | {"endpoints": ["https://gateway.invalid"]}))
    assert (check.name, check.level) == ("dns", Level.FAULT)
    assert check.found.startswith("gateway.invalid: ")
    assert check.subject == "array0, https://gateway.invalid"


def test_a_dns_that_does_not_answer_is_a_fault_after_the_time_of_a_step(
    array45: World, examine: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = threading.Event()

    def silent(*_arguments: object, **_options: object) -> list[Any]:
        end.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    check = only_problem(examine(entries(array45)[0], step_seconds=0.1))
    end.set()
    assert (check.name, check.found) == ("dns", "the DNS did not answer within 0.1 s")


def test_a_port_where_nothing_listens_is_a_fault_and_the_other_endpoint_is_used(
    array45: World, examine: Doctor, unreachable_url: str
) -> None:
    both = [unreachable_url, *array45.systems[0].endpoints]
    checks = examine(entries(array45)[0] | {"endpoints": both})
    check = only_problem(checks)
    assert (check.name, check.level) == ("tcp", Level.FAULT)
    assert "Connection refused" in check.found
    assert named(checks, "pool")


def test_a_system_that_is_down_does_not_hide_another(
    pair: World, examine: Doctor, unreachable_url: str
) -> None:
    down, up = entries(pair)
    checks = examine(down | {"endpoints": [unreachable_url]}, up)
    assert only_problem(checks).subject == f"array0, {unreachable_url}"
    assert [check.subject for check in named(checks, "hosts")] == ["array1"]


def test_an_unexpected_error_does_not_hide_other_systems(
    pair: World, examine: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = InspectedArray.version

    def faulty(array: InspectedArray) -> str:
        if array.label == "array0":
            raise RuntimeError(PASSWORD)
        return version(array)

    monkeypatch.setattr(InspectedArray, "version", faulty)
    checks = examine(*entries(pair))
    check = only_problem(checks)
    assert (check.name, check.subject) == ("unexpected error", "array0")
    assert PASSWORD not in check.found
    assert [check.subject for check in named(checks, "hosts")] == ["array1"]
    assert len(pair.simulator.gateways[0].sessions) == 0


def test_a_gateway_that_hangs_in_one_step_does_not_hide_the_next_steps(
    array45: World, examine: Doctor
) -> None:
    array45.simulator.gateway.inject(Fault(kind=FaultKind.FREEZE, route="StoragePool.list"))
    checks = examine(entries(array45)[0], step_seconds=2)
    array45.simulator.gateway.faults.clear()
    found = problems(checks)
    assert {check.name for check in found} == {"pool", "default pool", "limits"}
    assert all("no answer within" in check.found for check in found)
    assert named(checks, "hosts")[0].level is Level.OK


# --- certificates ----------------------------------------------------------------------------------

MakeServer = Callable[..., dict[str, Any]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[MakeServer]:
    """Serve a system with a certificate that ends at a time from now; returns its entry."""
    running = contextlib.ExitStack()

    def start(*, server: datetime.timedelta, authority: datetime.timedelta) -> dict[str, Any]:
        folder = tmp_path / "given"
        folder.mkdir()
        root, key = certificates.new_key(), certificates.new_key()
        name = certificates.subject("an authority")
        top = certificates.authority_builder(name, root.public_key(), authority).sign(root, hashes.SHA256())
        leaf = (
            certificates.builder(certificates.subject("gateway"), name, key.public_key(), server)
            .add_extension(certificates.alternative_names(["127.0.0.1"]), critical=False)
            .sign(root, hashes.SHA256())
        )
        (folder / "ca.crt").write_text(certificates.pem(top))
        (folder / "tls.crt").write_text(certificates.pem(leaf))
        (folder / "tls.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        simulator = running.enter_context(Simulator((SystemPlan(),), folder=tmp_path / "array", sdcs=("a",)))
        served = running.enter_context(Server(simulator, address=ServeAddress("127.0.0.1", tls=folder)))
        return {
            "name": "prod",
            "endpoints": list(served.urls),
            "username": "admin",
            "password": PASSWORD,
            "caFile": str(folder / "ca.crt"),
        }

    with running:
        yield start


LONG = datetime.timedelta(days=1000)


def test_an_expired_certificate_is_a_fault_that_names_the_day(examine: Doctor, serve: MakeServer) -> None:
    checks = examine(serve(server=datetime.timedelta(minutes=-30), authority=LONG))
    expired, refused = problems(checks)
    assert (expired.name, expired.level) == ("certificate", Level.FAULT)
    assert expired.found == f"it expired on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    assert (refused.name, refused.level) == ("tls", Level.FAULT)
    assert "the certificate was not accepted: it has expired" in refused.found
    assert not named(checks, "login")


def test_a_certificate_that_expires_soon_is_a_warning(examine: Doctor, serve: MakeServer) -> None:
    check = only_problem(examine(serve(server=datetime.timedelta(days=12, hours=1), authority=LONG)))
    assert (check.name, check.level) == ("certificate", Level.WARNING)
    assert check.found.startswith("it expires in 12 days, on ")


def test_an_authority_that_expires_soon_is_a_warning(examine: Doctor, serve: MakeServer) -> None:
    check = only_problem(examine(serve(server=LONG, authority=datetime.timedelta(days=5))))
    assert (check.name, check.level, check.subject) == ("certificate", Level.WARNING, "prod")
    assert "a certificate in caFile expires on" in check.found


def test_an_authority_that_did_not_sign_the_certificate_is_a_fault(
    array45: World, examine: Doctor, tmp_path: Path
) -> None:
    other = certificates.ensure(tmp_path / "other").authority
    checks = examine(entries(array45)[0] | {"caFile": str(other)})
    check = only_problem(checks)
    assert (check.name, check.level) == ("tls", Level.FAULT)
    assert "the certificate was not accepted" in check.found
    assert not named(checks, "login")


def test_a_ca_file_without_a_certificate_is_a_fault(array45: World, examine: Doctor, tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("not a certificate")
    first, *_ = problems(examine(entries(array45)[0] | {"caFile": str(wrong)}))
    assert (first.name, first.level) == ("systems file", Level.FAULT)
    assert f"caFile {wrong} cannot be used: " in first.found


def test_a_certificate_that_is_not_verified_is_a_warning(array45: World, examine: Doctor) -> None:
    entry = entries(array45)[0] | {"verifyCertificate": False}
    del entry["caFile"]
    check = only_problem(examine(entry))
    assert (check.name, check.level) == ("tls", Level.WARNING)


def test_a_port_that_does_not_speak_tls_is_a_fault(array45: World, examine: Doctor) -> None:
    plain = array45.gateway.admin_url.removesuffix("/_sim").replace("http:", "https:")
    check = only_problem(examine(entries(array45)[0] | {"endpoints": [plain]}))
    assert (check.name, check.level) == ("tls", Level.FAULT)


# --- login and system id ---------------------------------------------------------------------------


def test_a_refused_password_is_a_fault_and_is_sent_once_for_all_endpoints(
    array45: World, examine: Doctor
) -> None:
    with TcpProxy(array45.gateway.url) as proxy:
        both = [array45.gateway.url, proxy.url]
        checks = examine(entries(array45)[0] | {"endpoints": both, "password": "wrong-" + PASSWORD})
    refused, skipped = problems(checks)
    assert (refused.name, refused.level) == ("login", Level.FAULT)
    assert "refused user 'admin' or its password" in refused.found
    assert (skipped.name, skipped.level) == ("login", Level.WARNING)
    assert skipped.found == f"not tried, as it failed at {array45.gateway.url}"
    assert len(array45.simulator.gateway.log.find(path="/rest/auth/login")) == 1
    assert PASSWORD not in str(checks)


def test_a_locked_user_is_a_fault_with_the_words_of_the_gateway(array45: World, examine: Doctor) -> None:
    locked = Fault(kind=FaultKind.ERROR, route="/rest/auth/login", status=423, message="the user is locked")
    array45.simulator.gateway.inject(locked)
    check = only_problem(examine(entries(array45)[0]))
    assert (check.name, check.level) == ("login", Level.FAULT)
    assert "the user is locked" in check.found
    assert len(array45.simulator.gateway.log.find(path="/rest/auth/login")) == 1


def test_another_id_than_the_configured_one_is_a_fault_and_nothing_else_is_asked(
    array45: World, examine: Doctor
) -> None:
    gateway = array45.simulator.gateway
    checks = examine(entries(array45)[0] | {"id": "0123456789abcdef"})
    check = only_problem(checks)
    assert (check.name, check.level) == ("system id", Level.FAULT)
    assert check.found == (
        f"this gateway manages system {array45.array.system.id}, but the id in the systems file is "
        "0123456789abcdef"
    )
    assert {entry.route for entry in gateway.log.find()} <= ONLY_A_LOGIN


def test_endpoints_of_two_systems_in_one_entry_are_a_fault(pair: World, examine: Doctor) -> None:
    check = only_problem(examine(entries(pair)[0] | {"endpoints": list(pair.gateway.urls)}))
    assert (check.name, check.level) == ("system id", Level.FAULT)
    assert "but another endpoint's is" in check.found


def test_two_entries_of_one_system_are_a_fault(array45: World, examine: Doctor) -> None:
    with TcpProxy(array45.gateway.url) as proxy:
        one = entries(array45)[0]
        check = only_problem(examine(one, one | {"name": "other", "endpoints": [proxy.url]}))
    assert (check.name, check.subject) == ("system id", "other")
    assert "which entry array0 has already" in check.found


# --- version and role ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.6", "6.0", "soon"])
def test_a_version_that_the_driver_does_not_know_is_a_warning(
    array45: World, examine: Doctor, change_answer: ChangeAnswer, version: str
) -> None:
    change_answer("version", lambda _: version)
    check = next(check for check in problems(examine(entries(array45)[0])) if check.name == "version")
    assert check.level is Level.WARNING
    assert check.found.startswith(f"PowerFlex {version}; ")


def test_a_version_that_the_array_does_not_tell_is_a_fault(array45: World, examine: Doctor) -> None:
    array45.simulator.gateway.inject(
        Fault(kind=FaultKind.ERROR, route="version", status=500, message="broken")
    )
    (check,) = named(examine(entries(array45)[0]), "version")
    assert check.level is Level.FAULT
    assert "broken" in check.found


@pytest.mark.parametrize("version", ["3.6", "4.5"])
def test_a_user_who_may_only_read_is_a_fault(make_world: MakeWorld, examine: Doctor, version: str) -> None:
    world = make_world(SystemPlan(version=version))
    (user,) = world.array.users.values()
    world.array.change(user, role="Monitor")
    checks = examine(entries(world)[0])
    (check,) = named(checks, "role")
    assert check.level is Level.FAULT
    assert check.found == "Monitor, which may not create and map volumes"


def test_a_role_that_is_not_known_is_a_warning(array45: World, examine: Doctor) -> None:
    (user,) = array45.array.users.values()
    array45.array.change(user, role="LifecycleAdmin")
    check = only_problem(examine(entries(array45)[0]))
    assert (check.name, check.level) == ("role", Level.WARNING)


def test_a_role_that_the_array_does_not_tell_is_a_warning(array45: World, examine: Doctor) -> None:
    array45.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, route="users", status=403))
    check = only_problem(examine(entries(array45)[0]))
    assert (check.name, check.level) == ("role", Level.WARNING)
    assert check.found == "the array does not tell this user's role"


# --- pools -----------------------------------------------------------------------------------------


def test_a_full_pool_is_a_fault(world: World, examine: Doctor) -> None:
    world.simulator.gateway.set_full("sp1", full=True)
    check = only_problem(examine(entries(world)[0]))
    assert (check.name, check.level, check.subject) == ("capacity", Level.FAULT, "array0, pool pd1/sp1")
    assert "it is full" in check.found


def test_a_pool_with_little_free_capacity_is_a_warning(
    array45: World, examine: Doctor, change_answer: ChangeAnswer
) -> None:
    little = {"netCapacityInUseInKb": 95 << 30, "netUnusedCapacityInKb": 5 << 30}
    change_answer("StoragePool.Statistics", lambda answer: answer | little)
    check = only_problem(examine(entries(array45)[0]))
    assert (check.name, check.level) == ("capacity", Level.WARNING)
    assert check.found == "5.0 TiB of 100.0 TiB are free"


def test_a_pool_that_the_array_lets_provision_no_more_is_a_fault(
    make_world: MakeWorld, examine: Doctor
) -> None:
    small = DomainPlan(pools=(PoolPlan(raw_gib=160, spare_percent=10, over_provisioning=1),))
    world = make_world(SystemPlan(initial_state=InitialState(domains=(small,))))
    world.driver.create(gib=72)
    check = only_problem(examine(entries(world)[0]))
    assert (check.name, check.level) == ("over-commit", Level.FAULT)


def test_a_pool_that_is_committed_more_than_the_option_allows_is_a_warning(
    make_world: MakeWorld, examine: Doctor
) -> None:
    small = DomainPlan(pools=(PoolPlan(raw_gib=160, over_provisioning=10),))
    world = make_world(SystemPlan(initial_state=InitialState(domains=(small,))))
    world.driver.create(gib=144)
    check = only_problem(examine(entries(world)[0], over_commit=2))
    assert (check.name, check.level) == ("over-commit", Level.WARNING)
    assert check.found == "144.0 GiB are provisioned, which is 2 times its capacity or more"


def test_a_pool_without_zero_padding_is_a_warning(make_world: MakeWorld, examine: Doctor) -> None:
    bare = DomainPlan(pools=(PoolPlan(), PoolPlan(name="bare", zero_padding=False)))
    world = make_world(SystemPlan(initial_state=InitialState(domains=(bare,))))
    check = only_problem(examine(entries(world)[0]))
    assert (check.name, check.level, check.subject) == ("padding", Level.WARNING, "array0, pool pd1/bare")


def test_a_degraded_pool_is_a_warning(array45: World, examine: Doctor, change_answer: ChangeAnswer) -> None:
    change_answer("StoragePool.Statistics", lambda answer: answer | {"degradedHealthyCapacityInKb": 1})
    check = only_problem(examine(entries(array45)[0]))
    assert (check.name, check.level) == ("pool", Level.WARNING)
    assert check.found.startswith("degraded: ")


def test_a_failed_pool_is_a_fault(array45: World, examine: Doctor, change_answer: ChangeAnswer) -> None:
    change_answer("StoragePool.Statistics", lambda answer: answer | {"failedCapacityInKb": 1})
    check = only_problem(examine(entries(array45)[0]))
    assert (check.name, check.level) == ("pool", Level.FAULT)


def test_a_pool_in_an_inactive_domain_is_a_fault(world: World, examine: Doctor) -> None:
    (domain,) = world.array.domains.values()
    world.array.change(domain, state="Inactive")
    check = only_problem(examine(entries(world)[0]))
    assert (check.name, check.level) == ("pool", Level.FAULT)
    assert "its protection domain is not active" in check.found


def test_a_system_without_a_pool_is_a_fault(make_world: MakeWorld, examine: Doctor) -> None:
    world = make_world(SystemPlan(initial_state=InitialState(domains=(DomainPlan(pools=()),))))
    first, second = problems(examine(entries(world)[0]))
    assert (first.name, first.found) == ("pool", "the system has no storage pool")
    assert second.name == "default pool"


@pytest.mark.parametrize(
    "step", ["StoragePool.Statistics", "ProtectionDomain.get", "Sdc.list", "System.Statistics", "Volume.list"]
)
def test_a_request_that_the_array_refuses_is_a_fault_of_its_check(
    array45: World, examine: Doctor, step: str
) -> None:
    refusal = Fault(kind=FaultKind.ERROR, route=step, status=500, message="this part is broken")
    array45.simulator.gateway.inject(refusal)
    found = problems(examine(entries(array45)[0]))
    assert found
    assert all(check.level is Level.FAULT and "this part is broken" in check.found for check in found)


# --- what the systems file names -------------------------------------------------------------------


def test_a_default_pool_that_does_not_exist_is_a_fault(array45: World, examine: Doctor) -> None:
    check = only_problem(examine(entries(array45)[0] | {"storagePool": "nowhere"}))
    assert (check.name, check.level) == ("default pool", Level.FAULT)
    assert "has no storage pool 'nowhere'" in check.found
    assert "pd1/sp1" in check.found


def test_a_pool_of_a_zone_that_does_not_exist_is_a_fault(array45: World, examine: Doctor) -> None:
    zones = [{"name": "a", "storagePools": ["sp1", "nowhere"]}]
    check = only_problem(examine(entries(array45)[0] | {"zones": zones}))
    assert (check.name, check.subject) == ("default pool", "array0, zone a")


def test_a_default_domain_that_does_not_exist_is_a_fault(array45: World, examine: Doctor) -> None:
    entry = entries(array45)[0] | {"protectionDomain": "nowhere"}
    del entry["storagePool"]
    check = only_problem(examine(entry))
    assert check.found == "there is no protection domain 'nowhere' with a storage pool"


def test_a_system_without_a_default_pool_is_fine(array45: World, examine: Doctor) -> None:
    entry = entries(array45)[0]
    del entry["storagePool"]
    checks = examine(entry)
    assert problems(checks) == []
    assert named(checks, "default pool")[0].found == "none is configured; each StorageClass must name one"


# --- NVMe/TCP --------------------------------------------------------------------------------------


def test_the_sdts_of_a_system_are_shown_with_its_nqn(array45: World, examine: Doctor) -> None:
    (check,) = named(examine(*entries(array45)), "sdt")
    assert check.level is Level.OK
    nqn = f"nqn.1988-11.com.dell:powerflex:00:{array45.array.system.id}"
    assert check.found == f"2 SDTs with 2 addresses for hosts; NQN {nqn}"


def test_an_sdt_that_is_not_in_order_and_one_with_an_unusable_address_are_warnings(
    array45: World, examine: Doctor, change_answer: ChangeAnswer
) -> None:
    change_answer(
        "Sdt.list",
        lambda answer: [
            answer[0] | {"membershipState": "Decoupled"},
            answer[1] | {"ipList": [{"ip": "x", "role": "HostOnly"}]},
        ],
    )
    change_answer("System.list", lambda answer: [answer[0] | {"systemNqn": None}])
    found = named(examine(*entries(array45)), "sdt")
    assert [check.level for check in found] == [Level.WARNING, Level.WARNING, Level.OK]
    assert found[0].found == "Normal, Decoupled, NoMaintenance, Connected"
    assert found[0].subject.endswith("SDT pd1-sdt1")
    assert found[1].found.startswith("not used: SDT pd1-sdt2: 'x:4420/8009' is not a portal")
    assert "no NQN is told, so nodes ask the discovery service" in found[2].found


def test_a_system_without_nvme_is_no_problem(
    make_world: MakeWorld, examine: Doctor, array45: World, change_answer: ChangeAnswer
) -> None:
    old = make_world(SystemPlan(version="3.6"))
    (check,) = named(examine(*entries(old)), "sdt")
    assert (check.level, "NVMe/TCP needs 4.0 or newer" in check.found) == (Level.OK, True)
    change_answer("Sdt.list", lambda _: [])
    (check,) = named(examine(*entries(array45)), "sdt")
    assert check.found == "0 SDTs, none with an address for hosts: no node can use NVMe/TCP"


def test_sdts_that_cannot_be_read_are_a_fault(array45: World, examine: Doctor) -> None:
    array45.simulator.gateway.inject(Fault(kind=FaultKind.ERROR, status=500, route="Sdt.list"))
    assert only_problem(examine(*entries(array45))).name == "sdt"


def test_nvme_hosts_are_counted_as_such(make_world: MakeWorld, examine: Doctor) -> None:
    world = make_world(sdcs=())
    create_nvme_host(world)
    checks = examine(*entries(world))
    (hosts,) = named(checks, "hosts")
    assert hosts.level is Level.OK
    assert hosts.found == "no SDC, and 1 NVMe hosts, of which the system does not tell the connection"
    limits = [check.found for check in named(checks, "limits")]
    assert "1 of 1024 NVMe hosts" in limits
    assert "0 of 2048 SDCs" in limits


# --- hosts and limits ------------------------------------------------------------------------------


def test_sdcs_that_are_not_connected_are_named_in_a_warning(world: World, examine: Doctor) -> None:
    world.simulator.gateway.set_connected("b", connected=False)
    check = only_problem(examine(entries(world)[0]))
    assert (check.name, check.level) == ("hosts", Level.WARNING)
    assert check.found == "1 of 3 SDCs are not connected: b"


def test_a_system_without_sdcs_is_a_warning(make_world: MakeWorld, examine: Doctor) -> None:
    check = only_problem(examine(entries(make_world(sdcs=()))[0]))
    assert (check.name, check.level) == ("hosts", Level.WARNING)


@pytest.mark.parametrize(("volumes", "level"), [(8, Level.OK), (9, Level.WARNING), (10, Level.FAULT)])
def test_a_system_with_nearly_as_many_volumes_as_it_allows_is_a_problem(
    make_world: MakeWorld, examine: Doctor, volumes: int, level: Level
) -> None:
    plan = SystemPlan(initial_state=InitialState(volumes=volumes), settings=Settings(max_volumes=10))
    checks = examine(entries(make_world(plan))[0])
    (check,) = [check for check in named(checks, "limits") if "volumes" in check.found]
    assert (check.level, check.found) == (level, f"{volumes} of 10 volumes")


def test_a_limit_that_the_array_does_not_tell_is_no_problem(
    array45: World, examine: Doctor, change_answer: ChangeAnswer
) -> None:
    def untold(answer: Any) -> Any:
        return {
            "systemLimitEntryList": [limit | {"maxVal": None} for limit in answer["systemLimitEntryList"]]
        }

    change_answer("System.querySystemLimits", untold)
    checks = examine(entries(array45)[0])
    assert problems(checks) == []
    assert "3 SDCs; the array does not tell a limit" in [check.found for check in named(checks, "limits")]


def test_a_tree_that_is_nearly_full_is_a_warning_with_the_name_of_its_volume(
    make_world: MakeWorld, examine: Doctor
) -> None:
    world = make_world(settings=Settings(max_snapshots_per_vtree=9))
    volume = world.driver.create()
    for number in range(8):
        world.driver.snapshot(volume.volume_id, f"snapshot-{number}")
    check = only_problem(examine(entries(world)[0]))
    assert (check.name, check.level) == ("tree members", Level.WARNING)
    name = world.volume(volume.volume_id).name
    assert check.found == f"volume {name} has 9 of 10 members (it, snapshots and clones)"


def test_trees_are_not_counted_if_their_number_is_not_known(make_world: MakeWorld, examine: Doctor) -> None:
    world = make_world(SystemPlan(version="5.0"))
    log = world.simulator.gateway.log
    (check,) = named(examine(entries(world)[0]), "tree members")
    assert check.found == "not counted: the number of volumes is not known; --trees counts them"
    assert not log.find(route="Volume.list")


def test_trees_are_not_counted_on_a_system_with_many_volumes(make_world: MakeWorld, examine: Doctor) -> None:
    world = make_world(SystemPlan(initial_state=InitialState(volumes=20_001)))
    (check,) = named(examine(entries(world)[0]), "tree members")
    assert check.found == "not counted: there are 20001 volumes; --trees counts them"


def test_an_array_that_tells_no_limit_of_trees_is_fine(
    array45: World, examine: Doctor, change_answer: ChangeAnswer
) -> None:
    def without(answer: Any) -> Any:
        listed = [limit for limit in answer["systemLimitEntryList"] if limit["type"] != "volumePerVtree"]
        return {"systemLimitEntryList": listed}

    change_answer("System.querySystemLimits", without)
    (check,) = named(examine(entries(array45)[0]), "tree members")
    assert (check.level, check.found) == (Level.OK, "the array does not tell a limit")


# --- the command -----------------------------------------------------------------------------------


class Command:
    """Runs ``csi-powerflex doctor controller``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *options: str) -> Result:
        arguments = ["doctor", "controller", "--systems", str(self.path), *options]
        return CliRunner().invoke(main, arguments, prog_name="csi-powerflex")


@pytest.fixture
def command(examine: Doctor, untouched_logging: None) -> Command:
    return Command(examine.path)


def write(examine: Doctor, *systems: dict[str, Any]) -> None:
    examine.path.write_text(json.dumps({"systems": systems}))


def test_the_exit_status_is_0_without_a_fault_and_1_with_one(
    array45: World, examine: Doctor, command: Command
) -> None:
    write(examine, *entries(array45))
    assert command().exit_code == 0
    array45.simulator.gateway.set_connected("b", connected=False)
    assert command().exit_code == 0
    assert command("--strict").exit_code == 1
    array45.simulator.gateway.set_full("sp1", full=True)
    assert command().exit_code == 1


def test_a_wrong_option_has_exit_status_2(command: Command) -> None:
    assert command("--output", "xml").exit_code == 2
    assert command("--nothing").exit_code == 2


def test_the_table_fits_80_columns_and_says_what_to_do(
    array45: World, examine: Doctor, command: Command, unreachable_url: str
) -> None:
    one = entries(array45)[0]
    write(examine, one | {"endpoints": [unreachable_url, array45.gateway.url], "storagePool": "x" * 200})
    printed = command().output
    assert max(map(len, printed.splitlines())) <= 80
    assert "\x1b" not in printed
    lines = [line.strip() for line in printed.splitlines()]
    assert "-> check the port in endpoints, the gateway, and firewalls on the way" in lines
    assert "docs/doctor.md#tcp" in lines
    assert lines[-1].endswith("0 warnings, 2 faults")


def test_checks_that_are_ok_can_be_left_out(array45: World, examine: Doctor, command: Command) -> None:
    write(examine, *entries(array45))
    (summary,) = command("--quiet").output.splitlines()
    assert summary.endswith(" ok, 0 warnings, 0 faults")
    array45.simulator.gateway.set_full("sp1", full=True)
    first, second, *_ = command("-q").output.splitlines()
    assert (first, second.split(":")[0]) == ("array0, pool pd1/sp1", "  fault   capacity")
    assert [check["check"] for check in json.loads(command("-q", "-o", "json").output)["checks"]] == [
        "capacity"
    ]


def test_text_of_an_array_cannot_control_the_terminal(
    array45: World, examine: Doctor, command: Command, change_answer: ChangeAnswer
) -> None:
    change_answer("version", lambda _: "4.5\x1b[2J\u202e")
    write(examine, *entries(array45))
    printed = command().output
    assert "\x1b" not in printed
    assert "\u202e" not in printed


def test_the_json_has_the_keys_that_the_page_describes(
    array45: World, examine: Doctor, command: Command
) -> None:
    array45.simulator.gateway.set_full("sp1", full=True)
    write(examine, *entries(array45))
    answer = json.loads(command("-o", "json").output)
    assert answer.keys() == {"format", "role", "summary", "checks"}
    assert (answer["format"], answer["role"]) == (1, "controller")
    assert answer["summary"]["fault"] == 1
    assert sum(answer["summary"].values()) == len(answer["checks"])
    assert {tuple(check) for check in answer["checks"]} == {
        ("check", "subject", "level", "found", "remedy", "page")
    }
    (full,) = [check for check in answer["checks"] if check["level"] == "fault"]
    assert full["page"] == "docs/doctor.md#capacity"


@pytest.mark.parametrize("form", ["table", "json"])
def test_no_password_is_printed(array45: World, examine: Doctor, command: Command, form: str) -> None:
    one = entries(array45)[0]
    url = f"https://admin:{PASSWORD}@127.0.0.1"
    write(
        examine,
        one,
        one | {"name": "wrong", "password": f"{PASSWORD}-2", "endpoints": [array45.gateway.url + "/"]},
        {"endpoints": [url], "username": "admin", "password": [PASSWORD]},
        {"endpoints": [url], "username": "admin", f"password:{PASSWORD}": None},
        {"url": f"powerflex://admin:{PASSWORD}@host"},
    )
    result = command("--output", form)
    assert PASSWORD not in result.output
    assert PASSWORD not in result.stderr
