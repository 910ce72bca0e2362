"""Changing the password and certificates of a gateway, in the order of docs/rotation.md and in others."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from csi_powerflex.config.systems import loader
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.gateway import deadline, refusals
from csi_powerflex.gateway.http import Http
from csi_powerflex.simulator import certificates
from csi_powerflex.simulator.model import User
from csi_powerflex.simulator.server import LOOPBACK, Server
from tests.controller.driver import refused
from tests.controller.eventually import eventually
from tests.controller.sessions import attempts
from tests.controller.systems_file import SystemsFile, loads, replace
from tests.controller.world import World


@pytest.fixture
def file(array45: World, monkeypatch: pytest.MonkeyPatch) -> SystemsFile:
    """The systems file, with a caFile in its folder. Each request makes a new connection."""
    monkeypatch.setattr(deadline, "IDLE_SECONDS", -1.0)
    monkeypatch.setattr(deadline, "_FRESH_SECONDS", -1.0)
    file = SystemsFile(array45)
    ca_file = file.folder / "ca.pem"
    shutil.copy(array45.gateway.certificates.authority, ca_file)
    file.entries[0]["caFile"] = str(ca_file)
    file.write()
    array45.systems = loader.load(file.path)
    array45.watching(file=file.path)
    array45.driver.create("pvc-first")
    return file


def ca_file_of(file: SystemsFile) -> Path:
    return Path(file.entries[0]["caFile"])


def user(world: World) -> User:
    (found,) = (user for user in world.array.users.values() if user.name == "admin")
    return found


def set_password(world: World, password: str) -> None:
    """Do what an administrator does at the array. Sessions continue."""
    with world.array.lock:
        world.array.change(user(world), password=password)


def reloaded(result: str, change: object) -> None:
    """Make the change, and wait until the controller has read it with this result."""
    before = loads(result)
    assert callable(change)
    change()
    eventually(lambda: loads(result) > before)


# --- passwords -----------------------------------------------------------------------------------


def test_a_password_that_is_changed_at_the_array_and_then_in_the_secret_interrupts_nothing(
    array45: World, file: SystemsFile
) -> None:
    set_password(array45, "Changed2!")
    assert array45.driver.create("pvc-between").volume_id
    since = attempts(array45)
    reloaded("ok", lambda: replace(file.password, "Changed2!"))
    assert array45.driver.create("pvc-after").volume_id
    assert attempts(array45) == since + 1


def test_a_password_that_is_changed_in_the_secret_first_is_used_after_the_pause(
    array45: World, file: SystemsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "FIRST_PAUSE_SECONDS", 0.2)
    reloaded("ok", lambda: replace(file.password, "Changed2!"))
    text = refused(grpc.StatusCode.UNAUTHENTICATED, lambda: array45.driver.create("pvc-between"))
    assert "refused user 'admin' or its password; correct them in the systems file" in text
    set_password(array45, "Changed2!")

    def created() -> bool:
        try:
            return bool(array45.driver.create("pvc-after").volume_id)
        except grpc.RpcError:
            return False

    eventually(created)


def test_a_second_user_replaces_the_first_without_a_refused_login(array45: World, file: SystemsFile) -> None:
    with array45.array.lock:
        array45.array.put(User(id="00000000000000ff", name="csi2", role="Administrator", password="Second2!"))
    since = attempts(array45)
    # Two changes: until the second is read, the first user has the password of the second one.
    reloaded("ok", lambda: replace(file.password, "Second2!"))
    file.entries[0]["username"] = "csi2"
    reloaded("ok", file.write)
    set_password(array45, "no longer used")
    assert array45.driver.create("pvc-after").volume_id
    assert attempts(array45) == since + 1


# --- certificates --------------------------------------------------------------------------------


class OtherGateway:
    """A gateway for the same port, with the certificate of another authority."""

    def __init__(self, world: World) -> None:
        self._world = world
        made = certificates.ensure(world.folder / "other" / "tls")
        self.authority = made.authority
        self._folder = world.folder / "given"
        self._folder.mkdir()
        for source, name in ((made.server, "tls.crt"), (made.key, "tls.key"), (made.authority, "ca.crt")):
            shutil.copy(source, self._folder / name)
        self._server: Server | None = None

    def replace(self) -> None:
        """Stop the first gateway, and serve in its place."""
        port = int(self._world.gateway.url.rpartition(":")[2])
        self._world.gateway.stop()
        address = dataclasses.replace(LOOPBACK, tls=self._folder)
        self._server = Server(self._world.simulator, [port], address=address)
        self._server.start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()


@pytest.fixture
def other_gateway(array45: World) -> Iterator[OtherGateway]:
    made = OtherGateway(array45)
    yield made
    made.stop()


def test_an_authority_is_replaced_by_trusting_both_for_a_while(
    array45: World, file: SystemsFile, other_gateway: OtherGateway
) -> None:
    old, new = ca_file_of(file).read_text(), other_gateway.authority.read_text()
    reloaded("ok", lambda: replace(ca_file_of(file), old + new))
    assert array45.driver.create("pvc-both").volume_id
    other_gateway.replace()
    assert array45.driver.create("pvc-new").volume_id
    reloaded("ok", lambda: replace(ca_file_of(file), new))
    assert array45.driver.create("pvc-only-new").volume_id


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x30\x82", None])
def test_a_ca_file_that_becomes_unusable_is_refused_by_name_and_the_good_one_stays_in_use(
    array45: World, file: SystemsFile, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    ca_file = ca_file_of(file)
    good = ca_file.read_bytes()
    reloaded("refused", ca_file.unlink if content is None else lambda: replace(ca_file, content or b""))
    (record,) = [record for record in caplog.records if record.message == "configuration not changed"]
    assert f"caFile {ca_file}" in str(record.fields["reason"])  # type: ignore[attr-defined]  # set by the log
    assert array45.driver.create("pvc-refused").volume_id
    reloaded("ok", lambda: replace(ca_file, good))
    assert array45.driver.create("pvc-good-again").volume_id


def test_a_ca_file_that_is_removed_between_the_check_and_its_use_is_a_refusal(
    array45: World, file: SystemsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def removed(_http: object, _settings: object) -> None:
        raise FailedPrecondition("system array0: cannot read caFile")

    monkeypatch.setattr(Http, "__init__", removed)
    file.entries[0]["storagePool"] = "elsewhere"
    reloaded("refused", file.write)
    monkeypatch.undo()
    assert array45.driver.create("pvc-refused").volume_id


@pytest.mark.parametrize("trusted", [True, False])
def test_without_a_ca_file_the_list_of_the_operating_system_counts(
    array45: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    authority = array45.gateway.certificates.authority
    other = certificates.ensure(tmp_path / "other").authority
    monkeypatch.setenv("SSL_CERT_FILE", str(authority if trusted else other))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "empty"))
    # The list of the library requests does not count.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(authority))
    world = array45.reconfigured(ca_file=None)
    if trusted:
        assert world.driver.create().volume_id
    else:
        assert "certificate" in refused(grpc.StatusCode.UNAVAILABLE, world.driver.create)
