"""Passwords, tokens and the secrets of requests are in no output of the processes.

The tests use known secrets in all places, and search all output for them: logs, answers, metrics and files.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner
from google.protobuf.message import Message

from csi_powerflex.cli.main import RoleGroup, main
from csi_powerflex.pb import csi_pb2, csi_pb2_grpc
from csi_powerflex.simulator import certificates, sessions as sessions_module
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.server import Server
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import Simulator, SystemPlan
from tests.controller.driver import block, mount
from tests.controller_process import ControllerProcess
from tests.figures import Figures
from tests.node.client import filesystem
from tests.node.loophost import LoopHost
from tests.node.process import NodeProcess, log_of
from tests.secrets.canary import PASSWORD, PASSWORD_CORE, SECRET_FIELD, found

SECRETS = {"user": SECRET_FIELD, "password": f"{SECRET_FIELD}2"}


@dataclass
class Recorder:
    """An array, its systems file, all tokens that it has issued, and all output of the processes."""

    folder: Path
    simulator: Simulator
    url: str
    authority: Path
    tokens: list[str]
    outputs: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def systems(self) -> Path:
        return self.folder / "configuration" / "systems.yaml"

    def write(self, **keys: object) -> Path:
        """Write the systems file, with ``keys`` added or replaced; those with the value None are omitted."""
        system = {
            "name": "array",
            "endpoints": [self.url],
            "username": "admin",
            "password": PASSWORD,
            "caFile": str(self.authority),
            "protectionDomain": "pd1",
            "storagePool": "sp1",
            **keys,
        }
        present = {key: value for key, value in system.items() if value is not None}
        self.systems.parent.mkdir(exist_ok=True)
        new = self.systems.with_name("new")
        new.write_text(json.dumps({"systems": [present]}))
        new.replace(self.systems)
        return self.systems

    def add(self, where: str, content: bytes | str) -> None:
        self.outputs.append((where, content.encode() if isinstance(content, str) else content))

    def ask(self, stub: Callable[..., Message], request: Message) -> Message | None:
        """Make a call and record its whole answer: message, code, details and trailing metadata."""
        where = type(request).__name__
        try:
            answer, call = stub.with_call(request, timeout=30)  # type: ignore[attr-defined]
        except grpc.RpcError as error:
            self.add(where, f"{error.code()} {error.details()} {error.trailing_metadata()} {error!r}")
            return None
        self.add(where, f"{answer} {call.trailing_metadata()}")
        self.add(where, answer.SerializeToString())
        return answer  # type: ignore[no-any-return]

    def add_process(self, process: ControllerProcess) -> None:
        """Record metrics, environment, command lines and files of the process."""
        self.add("metrics", process.metrics())
        self.add("environment", Path(f"/proc/{process.pid}/environ").read_bytes())
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                self.add(str(command), command.read_bytes())
        self.add_files(process.folder)

    def add_files(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self.add(str(path), path.read_bytes())

    def assert_no_leak(self, figures: Figures) -> None:
        assert self.outputs
        words = [PASSWORD_CORE, SECRET_FIELD, *dict.fromkeys(_parts(self.tokens))]
        leaks = {where: leaked for where, content in self.outputs if (leaked := found(words, content))}
        assert not leaks
        figures.add("outputs searched for secrets", len(self.outputs))


def _parts(tokens: list[str]) -> Iterator[str]:
    """The secret part of each token."""
    for token in tokens:
        yield token.rpartition(".")[2] if "." in token else base64.b64decode(token).decode().split(":")[2]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    certificates.ensure(folder)
    return folder


@contextlib.contextmanager
def recording(authority: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    tokens: list[str] = []

    def recorded(make: Callable[..., str]) -> Callable[..., str]:
        def issue(*arguments: object) -> str:
            tokens.append(make(*arguments))
            return tokens[-1]

        return issue

    monkeypatch.setattr(sessions_module, "_gateway_token", recorded(sessions_module._gateway_token))
    with tempfile.TemporaryDirectory(prefix="secrets-") as name:
        folder = Path(name)
        shutil.copytree(authority, folder / "array" / "tls")
        plan = SystemPlan(version, settings=Settings(password=PASSWORD))
        with (
            Simulator([plan], folder=folder / "array", sdcs=("a",)) as simulator,
            Server(simulator) as server,
        ):
            sessions = simulator.gateway.sessions
            monkeypatch.setattr(sessions, "_web_token", recorded(sessions._web_token))
            world = Recorder(folder, simulator, server.url, server.certificates.authority, tokens)
            world.write()
            yield world


@pytest.fixture(params=["3.6", "4.5"])
def array(
    request: pytest.FixtureRequest, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Recorder]:
    """A system for each of the two kinds of tokens."""
    with recording(authority, request.param, monkeypatch) as world:
        yield world


@pytest.fixture
def array45(authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """One system, for tests that are the same for both kinds of tokens."""
    with recording(authority, "4.5", monkeypatch) as world:
        yield world


def debugging(form: str) -> Mapping[str, str]:
    return {"log-level": "debug", "log-format": form, "watch-seconds": "0.5"}


def life(world: Recorder, process: ControllerProcess) -> None:
    """Every call in the life of a volume, with secrets in all fields for them."""
    ask, stub, node = world.ask, process.driver.controller, f"sdc:{world.simulator.hosts['a'].guid}"
    made = ask(
        stub.CreateVolume,
        csi_pb2.CreateVolumeRequest(name="pvc-1", volume_capabilities=[mount()], secrets=SECRETS),
    )
    assert isinstance(made, csi_pb2.CreateVolumeResponse)
    volume = made.volume.volume_id
    assert ask(
        stub.ControllerPublishVolume,
        csi_pb2.ControllerPublishVolumeRequest(
            volume_id=volume, node_id=node, volume_capability=mount(), secrets=SECRETS
        ),
    )
    assert ask(
        stub.ControllerModifyVolume,
        csi_pb2.ControllerModifyVolumeRequest(
            volume_id=volume, mutable_parameters={"iopsLimit": "100"}, secrets=SECRETS
        ),
    )
    assert ask(
        stub.ControllerExpandVolume,
        csi_pb2.ControllerExpandVolumeRequest(
            volume_id=volume, capacity_range=csi_pb2.CapacityRange(required_bytes=2**34), secrets=SECRETS
        ),
    )
    taken = ask(
        stub.CreateSnapshot,
        csi_pb2.CreateSnapshotRequest(source_volume_id=volume, name="snapshot-1", secrets=SECRETS),
    )
    assert isinstance(taken, csi_pb2.CreateSnapshotResponse)
    assert ask(stub.ListVolumes, csi_pb2.ListVolumesRequest())
    assert ask(stub.ListSnapshots, csi_pb2.ListSnapshotsRequest(secrets=SECRETS))
    assert ask(stub.GetCapacity, csi_pb2.GetCapacityRequest())
    assert ask(
        stub.DeleteSnapshot,
        csi_pb2.DeleteSnapshotRequest(snapshot_id=taken.snapshot.snapshot_id, secrets=SECRETS),
    )
    assert ask(
        stub.ValidateVolumeCapabilities,
        csi_pb2.ValidateVolumeCapabilitiesRequest(
            volume_id=volume, volume_capabilities=[block()], secrets=SECRETS
        ),
    )
    assert ask(
        stub.ControllerUnpublishVolume,
        csi_pb2.ControllerUnpublishVolumeRequest(volume_id=volume, node_id=node, secrets=SECRETS),
    )
    assert ask(stub.DeleteVolume, csi_pb2.DeleteVolumeRequest(volume_id=volume, secrets=SECRETS))


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_life_of_a_volume_at_debug_level_shows_no_secret(
    array: Recorder, form: str, figures: Figures
) -> None:
    with ControllerProcess(
        array.folder / "driver",
        array.systems,
        {**debugging(form), "state-file": str(array.folder / "driver" / "state.db")},
    ) as process:
        life(array, process)
        array.add_process(process)
    array.add_files(process.folder)
    assert array.tokens, "the array issued no token, so none could leak"
    assert SECRETS.keys() <= set(process.output().decode().replace('\\"', '"').split('"')), (
        "the debug log must show the names of the secrets"
    )
    array.assert_no_leak(figures)


FAULTS = {
    "an error of the array": Fault(kind=FaultKind.ERROR, code=28, times=1),
    "an error without a code": Fault(kind=FaultKind.ERROR, status=500, times=1),
    "forbidden": Fault(kind=FaultKind.ERROR, status=403, message="Forbidden", times=1),
    "overloaded": Fault(kind=FaultKind.ERROR, status=503, times=4),
    "an HTML page": Fault(kind=FaultKind.HTML, status=502, times=1),
    "a reset connection": Fault(kind=FaultKind.RESET, times=4),
    "a lost reply": Fault(kind=FaultKind.LOST_REPLY, times=4),
    "a truncated answer": Fault(kind=FaultKind.TRUNCATED, times=1),
    "another answer": Fault(kind=FaultKind.WRONG_JSON, times=1),
    "no answer": Fault(kind=FaultKind.FREEZE, times=1),
    "ended sessions": Fault(kind=FaultKind.REVOKE, times=2),
}


def test_no_error_of_the_gateway_shows_a_secret(array: Recorder, figures: Figures) -> None:
    """Each fault at a request with a token, and at the login."""
    array.write(requestTimeout=1.5)
    gateway = array.simulator.gateway
    refused = 0
    with ControllerProcess(array.folder / "driver", array.systems, debugging("text")) as process:
        process.driver.create("pvc-warm")
        for number, fault in enumerate(FAULTS.values()):
            for path in ("/api/types/*", "*/login"):
                gateway.sessions.revoke_all()
                gateway.inject(_copied(fault, path))
                request = csi_pb2.CreateVolumeRequest(
                    name=f"pvc-{number}-{path}", volume_capabilities=[mount()], secrets=SECRETS
                )
                refused += array.ask(process.driver.controller.CreateVolume, request) is None
                gateway.faults.clear()
        array.add_process(process)
    array.add_files(process.folder)
    assert refused >= len(FAULTS), "most of the faults must lead to errors"
    array.assert_no_leak(figures)


def _copied(fault: Fault, path: str) -> Fault:
    """A copy with its own id, because faults are counted by their id."""
    return Fault(
        kind=fault.kind,
        path=path,
        code=fault.code,
        status=fault.status,
        message=fault.message,
        times=fault.times,
    )


def test_a_refused_or_unreadable_password_is_not_shown(array: Recorder, figures: Figures) -> None:
    password = array.folder / "password"
    for number, content in enumerate((f"{PASSWORD}wrong", f"\xff{PASSWORD}", f"{PASSWORD}\n\n{PASSWORD}")):
        password.write_bytes(content.encode("latin-1"))
        array.write(password=None, passwordFile=str(password))
        systems = array.systems
        options = debugging("json")
        try:
            with ControllerProcess(array.folder / f"driver{number}", systems, options) as process:
                request = csi_pb2.CreateVolumeRequest(name="pvc-1", volume_capabilities=[mount()])
                assert array.ask(process.driver.controller.CreateVolume, request) is None
                array.add_process(process)
        except AssertionError as error:
            assert "the controller ended" in str(error)  # noqa: PT017 - the text is searched below too
            array.add("refused start", str(error))
        array.add_files(array.folder / f"driver{number}")
    array.assert_no_leak(figures)


def test_an_unexpected_error_shows_no_secret_in_its_stack(array: Recorder, figures: Figures) -> None:
    with ControllerProcess(
        array.folder / "driver", array.systems, debugging("json"), module="tests.secrets.crashing"
    ) as process:
        request = csi_pb2.CreateVolumeRequest(name="pvc-1", volume_capabilities=[mount()], secrets=SECRETS)
        assert array.ask(process.driver.controller.CreateVolume, request) is None
        array.add_process(process)
        assert process.terminate() == 1
    wrote = process.output().decode()
    for fault in ("a fault in a call", "a fault in a thread", "a fault at the end"):
        assert fault in wrote
    assert wrote.count("Traceback") >= 3
    assert array.tokens
    array.add_files(process.folder)
    array.assert_no_leak(figures)


GATEWAY = "endpoints: [https://gateway], username: admin"
MISTAKES = {
    "no YAML": f'systems: [{{password: "{PASSWORD_CORE}", x: @}}]',
    "a tab": f"systems:\n\t- password: {PASSWORD_CORE}\n",
    "a missing space": f"systems:\n- password:{PASSWORD_CORE}\n",
    "a missing space next to a key": f"systems:\n- username: admin\n  password:{PASSWORD_CORE}: x\n",
    "the password as the list": f"systems: {PASSWORD_CORE}\n",
    "the password as a system": f"systems: [{PASSWORD_CORE}]\n",
    "an unknown key": f"systems: [{{passwrd: {PASSWORD_CORE}}}]\n",
    "the password as a list": f"systems: [{{{GATEWAY}, password: [{PASSWORD_CORE}]}}]",
    "twice": f"systems: [{{password: {PASSWORD_CORE}, password: {PASSWORD_CORE}}}]\n",
    "in the endpoint": f"systems: [{{endpoints: ['https://a:{PASSWORD_CORE}@b'], username: a, password: b}}]",
    "in a query": f"systems: [{{endpoints: ['https://b/?p={PASSWORD_CORE}'], username: a, password: b}}]",
    "a broken url": f"systems: [{{url: 'powerflex://admin:{PASSWORD_CORE}@gateway:port/pool'}}]",
    "an url of another kind": f"systems: [{{url: 'https://admin:{PASSWORD_CORE}@gateway/pool'}}]",
    "a bracket in the url": f"systems: [{{url: 'powerflex://admin:{PASSWORD_CORE}@[gateway/pool'}}]",
    "an url and a password": f"systems: [{{url: 'powerflex://a:{PASSWORD_CORE}@b/c', "
    f"password: {PASSWORD_CORE}}}]",
    "no user": f"systems: [{{endpoints: [https://a], password: {PASSWORD_CORE}}}]\n",
    "both": f"systems: [{{{GATEWAY}, password: {PASSWORD_CORE}, passwordFile: /none}}]",
    "an alias": f"systems: [&a {{password: {PASSWORD_CORE}}}, *b]\n",
    "a tag": f"systems: !!python/object:{PASSWORD_CORE} [password]\n",
    "a control character": f"systems: [{{password: '{PASSWORD_CORE}\x07'}}]\n",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_systems_file_shows_no_password_at_the_start(tmp_path: Path, mistake: str) -> None:
    path = tmp_path / "systems.yaml"
    path.write_text(MISTAKES[mistake])
    words = ["--endpoint=unix:///none/csi.sock", "--cluster-id=test", f"--systems={path}"]
    done = CliRunner().invoke(main, ["controller", "--log-level=debug", *words])
    assert done.exit_code == 1
    assert found([PASSWORD_CORE], done.stdout_bytes + done.stderr_bytes) == []
    assert done.stderr.startswith(f"Error: {path}: ")


def test_a_mistake_in_the_systems_file_shows_no_password_while_running(
    array45: Recorder, figures: Figures
) -> None:
    with ControllerProcess(array45.folder / "driver", array45.systems, debugging("text")) as process:
        array45.systems.write_text(MISTAKES["a missing space next to a key"])
        process.wait_for("configuration not changed")
        array45.write(name="another", password=f"{PASSWORD}2")
        process.wait_for("configuration changed")
        request = csi_pb2.CreateVolumeRequest(name="pvc-1", volume_capabilities=[mount()], secrets=SECRETS)
        assert array45.ask(process.driver.controller.CreateVolume, request) is None
        array45.add_process(process)
    array45.add_files(process.folder)
    array45.assert_no_leak(figures)


@pytest.mark.parametrize("command", [(), *((role,) for role in sorted(RoleGroup.ROLES))])
def test_no_help_has_an_option_for_a_secret_or_shows_one(array45: Recorder, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "csi_powerflex", *command, "--help"],
        capture_output=True,
        env={**os.environ, "POWERFLEX_CSI_CONTROLLER_SYSTEMS": str(array45.systems)},
        timeout=60,
        check=True,
    )
    assert found([PASSWORD_CORE], done.stdout + done.stderr) == []
    if command != ("simulate",):  # its password is for demonstrations, and printed
        assert b"--password" not in done.stdout
        assert b"--token" not in done.stdout


@pytest.mark.needs("devices")
def test_the_node_shows_no_secret_of_a_request(tmp_path: Path) -> None:
    host = LoopHost(tmp_path / "host")
    outputs: list[bytes] = []

    def ask(stub: Callable[..., Message], request: Message) -> None:
        try:
            outputs.append(stub(request, timeout=30).SerializeToString())
        except grpc.RpcError as error:
            outputs.append(f"{error.code()} {error.details()} {error.trailing_metadata()} {error!r}".encode())

    with (
        contextlib.closing(host),
        NodeProcess(host, options=["--log-level", "debug", "--device-timeout", 1]) as process,
    ):
        volume, missing = host.volume(), host.volume(mapped=False)
        stub = csi_pb2_grpc.NodeStub(process._channel)
        for each in (volume, missing):
            staging, target = process.kubelet.staging(each), process.kubelet.target(each)
            common: dict[str, Any] = {
                "volume_id": str(each.handle),
                "publish_context": each.publish_context().to_dict(),
                "secrets": SECRETS,
            }
            ask(
                stub.NodeStageVolume,
                csi_pb2.NodeStageVolumeRequest(
                    **common,
                    staging_target_path=str(staging),
                    volume_capability=filesystem(),
                    volume_context={"origin": "empty"},
                ),
            )
            ask(
                stub.NodePublishVolume,
                csi_pb2.NodePublishVolumeRequest(
                    **common,
                    staging_target_path=str(staging),
                    target_path=str(target),
                    volume_capability=filesystem(),
                ),
            )
            ask(
                stub.NodeExpandVolume,
                csi_pb2.NodeExpandVolumeRequest(
                    volume_id=str(each.handle), volume_path=str(target), secrets=SECRETS
                ),
            )
            process.kubelet.unpublish(each)
            process.kubelet.unstage(each)
        outputs.append(Path(f"/proc/{process.process.pid}/cmdline").read_bytes())
        outputs.append(Path(f"/proc/{process.process.pid}/environ").read_bytes())
    log = log_of(host)
    assert log.count("secrets {") == 6 * len(SECRETS)
    assert found([SECRET_FIELD], log.encode()) == []
    assert found([SECRET_FIELD], b"\n".join(outputs)) == []


@pytest.mark.parametrize(
    "content",
    [
        PASSWORD.encode(),
        json.dumps(PASSWORD).encode(),
        repr(PASSWORD).encode(),
        base64.b64encode(f"admin:{PASSWORD}".encode()),
        base64.b64encode(f"admins:{PASSWORD}".encode()),
        base64.urlsafe_b64encode(f"a:{PASSWORD}".encode()),
        b"x" + PASSWORD.encode().hex().encode(),
    ],
)
def test_the_search_finds_a_secret_in_each_of_its_forms(content: bytes) -> None:
    assert found([PASSWORD_CORE, SECRET_FIELD], b"before " + content + b" after") == [PASSWORD_CORE]
