"""Passwords, tokens and the secrets of requests are nowhere in what the processes write or answer.

The canaries take every path; whatever the processes wrote, answered or showed of themselves is searched.
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
from tests.node.client import filesystem, publish_context
from tests.node.loophost import LoopHost
from tests.node.process import NodeProcess, log_of
from tests.secrets.canary import PASSWORD, PASSWORD_CORE, SECRET_FIELD, found

SECRETS = {"user": SECRET_FIELD, "password": f"{SECRET_FIELD}2"}


@dataclass
class Watched:
    """An array whose every token is recorded, a systems file with its password, and all that was heard."""

    folder: Path
    simulator: Simulator
    url: str
    authority: Path
    tokens: list[str]
    heard: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def systems(self) -> Path:
        return self.folder / "configuration" / "systems.yaml"

    def write(self, **keys: object) -> Path:
        """Write the systems file, with ``keys`` added or replaced; those that are None are left out."""
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

    def hear(self, where: str, content: bytes | str) -> None:
        self.heard.append((where, content.encode() if isinstance(content, str) else content))

    def ask(self, stub: Callable[..., Message], request: Message) -> Message | None:
        """Make a call, and keep all of its answer: message, code, details and trailing metadata."""
        where = type(request).__name__
        try:
            answer, call = stub.with_call(request, timeout=30)  # type: ignore[attr-defined]
        except grpc.RpcError as error:
            self.hear(where, f"{error.code()} {error.details()} {error.trailing_metadata()} {error!r}")
            return None
        self.hear(where, f"{answer} {call.trailing_metadata()}")
        self.hear(where, answer.SerializeToString())
        return answer  # type: ignore[no-any-return]

    def look_at(self, process: ControllerProcess) -> None:
        """Hear what the process shows of itself, and every file it has made."""
        self.hear("metrics", process.metrics())
        self.hear("environment", Path(f"/proc/{process.pid}/environ").read_bytes())
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                self.hear(str(command), command.read_bytes())
        self.hear_files(process.folder)

    def hear_files(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file():
                self.hear(str(path), path.read_bytes())

    def nothing_leaked(self, figures: Figures) -> None:
        assert self.heard
        words = [PASSWORD_CORE, SECRET_FIELD, *dict.fromkeys(_parts(self.tokens))]
        leaks = {where: leaked for where, content in self.heard if (leaked := found(words, content))}
        assert not leaks
        figures.add("outputs searched for secrets", len(self.heard))


def _parts(tokens: list[str]) -> Iterator[str]:
    """The part of each token that nobody could guess."""
    for token in tokens:
        yield token.rpartition(".")[2] if "." in token else base64.b64decode(token).decode().split(":")[2]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    certificates.ensure(folder)
    return folder


@contextlib.contextmanager
def watched(authority: Path, version: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    tokens: list[str] = []

    def recorded(make: Callable[..., str]) -> Callable[..., str]:
        def made(*arguments: object) -> str:
            tokens.append(make(*arguments))
            return tokens[-1]

        return made

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
            world = Watched(folder, simulator, server.url, server.certificates.authority, tokens)
            world.write()
            yield world


@pytest.fixture(params=["3.6", "4.5"])
def array(
    request: pytest.FixtureRequest, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watched]:
    """A system with each of the two kinds of tokens."""
    with watched(authority, request.param, monkeypatch) as world:
        yield world


@pytest.fixture
def array45(authority: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """One system, for what does not differ between the kinds of tokens."""
    with watched(authority, "4.5", monkeypatch) as world:
        yield world


def debugging(form: str) -> Mapping[str, str]:
    return {"log-level": "debug", "log-format": form, "watch-seconds": "0.5"}


def life(world: Watched, process: ControllerProcess) -> None:
    """Every call of a volume's life, with secrets wherever the protocol has a field for them."""
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
    cut = ask(
        stub.CreateSnapshot,
        csi_pb2.CreateSnapshotRequest(source_volume_id=volume, name="snapshot-1", secrets=SECRETS),
    )
    assert isinstance(cut, csi_pb2.CreateSnapshotResponse)
    assert ask(stub.ListVolumes, csi_pb2.ListVolumesRequest())
    assert ask(stub.ListSnapshots, csi_pb2.ListSnapshotsRequest(secrets=SECRETS))
    assert ask(stub.GetCapacity, csi_pb2.GetCapacityRequest())
    assert ask(
        stub.DeleteSnapshot,
        csi_pb2.DeleteSnapshotRequest(snapshot_id=cut.snapshot.snapshot_id, secrets=SECRETS),
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
def test_a_volumes_life_at_debug_level_shows_no_secret(array: Watched, form: str, figures: Figures) -> None:
    with ControllerProcess(
        array.folder / "driver",
        array.systems,
        {**debugging(form), "state-file": str(array.folder / "driver" / "state.db")},
    ) as process:
        life(array, process)
        array.look_at(process)
    array.hear_files(process.folder)
    assert array.tokens, "the array gave no token, so none could leak"
    assert SECRETS.keys() <= set(process.output().decode().replace('\\"', '"').split('"')), (
        "which secrets were sent is what the debug log is to show"
    )
    array.nothing_leaked(figures)


TROUBLES = {
    "a refusal": Fault(kind=FaultKind.ERROR, code=28, times=1),
    "an error without a code": Fault(kind=FaultKind.ERROR, status=500, times=1),
    "forbidden": Fault(kind=FaultKind.ERROR, status=403, message="Forbidden", times=1),
    "overloaded": Fault(kind=FaultKind.ERROR, status=503, times=4),
    "a page": Fault(kind=FaultKind.HTML, status=502, times=1),
    "a cut connection": Fault(kind=FaultKind.RESET, times=4),
    "a lost reply": Fault(kind=FaultKind.LOST_REPLY, times=4),
    "half an answer": Fault(kind=FaultKind.TRUNCATED, times=1),
    "another answer": Fault(kind=FaultKind.WRONG_JSON, times=1),
    "no answer": Fault(kind=FaultKind.FREEZE, times=1),
    "ended sessions": Fault(kind=FaultKind.REVOKE, times=2),
}


def test_no_error_of_the_gateway_shows_a_secret(array: Watched, figures: Figures) -> None:
    """Each trouble at a request with a token, and at the login."""
    array.write(requestTimeout=1.5)
    gateway = array.simulator.gateway
    refused = 0
    with ControllerProcess(array.folder / "driver", array.systems, debugging("text")) as process:
        process.driver.create("pvc-warm")
        for number, fault in enumerate(TROUBLES.values()):
            for path in ("/api/types/*", "*/login"):
                gateway.sessions.revoke_all()
                gateway.inject(_copied(fault, path))
                request = csi_pb2.CreateVolumeRequest(
                    name=f"pvc-{number}-{path}", volume_capabilities=[mount()], secrets=SECRETS
                )
                refused += array.ask(process.driver.controller.CreateVolume, request) is None
                gateway.faults.clear()
        array.look_at(process)
    array.hear_files(process.folder)
    assert refused >= len(TROUBLES), "most of the troubles have to show as errors"
    array.nothing_leaked(figures)


def _copied(fault: Fault, path: str) -> Fault:
    """A fault is counted by its id, so each use needs one of its own."""
    return Fault(
        kind=fault.kind,
        path=path,
        code=fault.code,
        status=fault.status,
        message=fault.message,
        times=fault.times,
    )


def test_a_refused_or_unreadable_password_is_not_shown(array: Watched, figures: Figures) -> None:
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
                array.look_at(process)
        except AssertionError as error:
            assert "the controller ended" in str(error)  # noqa: PT017 - the text is judged below as well
            array.hear("refused start", str(error))
        array.hear_files(array.folder / f"driver{number}")
    array.nothing_leaked(figures)


def test_a_fault_nobody_foresaw_shows_no_secret_in_its_stack(array: Watched, figures: Figures) -> None:
    with ControllerProcess(
        array.folder / "driver", array.systems, debugging("json"), module="tests.secrets.crashing"
    ) as process:
        request = csi_pb2.CreateVolumeRequest(name="pvc-1", volume_capabilities=[mount()], secrets=SECRETS)
        assert array.ask(process.driver.controller.CreateVolume, request) is None
        array.look_at(process)
        assert process.terminate() == 1
    wrote = process.output().decode()
    for fault in ("a fault in a call", "a fault in a thread", "a fault at the end"):
        assert fault in wrote
    assert wrote.count("Traceback") >= 3
    assert array.tokens
    array.hear_files(process.folder)
    array.nothing_leaked(figures)


GATEWAY = "endpoints: [https://gateway], username: admin"
MISTAKES = {
    "no YAML": f'systems: [{{password: "{PASSWORD_CORE}", x: @}}]',
    "a tab": f"systems:\n\t- password: {PASSWORD_CORE}\n",
    "a glued colon": f"systems:\n- password:{PASSWORD_CORE}\n",
    "a glued colon beside a key": f"systems:\n- username: admin\n  password:{PASSWORD_CORE}: x\n",
    "the password as the list": f"systems: {PASSWORD_CORE}\n",
    "the password as a system": f"systems: [{PASSWORD_CORE}]\n",
    "an unknown key": f"systems: [{{pasword: {PASSWORD_CORE}}}]\n",
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
def test_a_mistake_in_the_systems_file_shows_no_password_at_the_start(
    tmp_path: Path, untouched_logging: None, mistake: str
) -> None:
    path = tmp_path / "systems.yaml"
    path.write_text(MISTAKES[mistake])
    words = ["--endpoint=unix:///none/csi.sock", "--cluster-id=test", f"--systems={path}"]
    done = CliRunner().invoke(main, ["controller", "--log-level=debug", *words])
    assert done.exit_code == 1
    assert found([PASSWORD_CORE], done.stdout_bytes + done.stderr_bytes) == []
    assert done.stderr.startswith(f"Error: {path}: ")


def test_a_mistake_in_the_systems_file_shows_no_password_while_running(
    array45: Watched, figures: Figures
) -> None:
    with ControllerProcess(array45.folder / "driver", array45.systems, debugging("text")) as process:
        array45.systems.write_text(MISTAKES["a glued colon beside a key"])
        process.wait_for("configuration not changed")
        array45.write(name="another", password=f"{PASSWORD}2")
        process.wait_for("configuration changed")
        request = csi_pb2.CreateVolumeRequest(name="pvc-1", volume_capabilities=[mount()], secrets=SECRETS)
        assert array45.ask(process.driver.controller.CreateVolume, request) is None
        array45.look_at(process)
    array45.hear_files(process.folder)
    array45.nothing_leaked(figures)


@pytest.mark.parametrize("command", [(), *((role,) for role in sorted(RoleGroup.ROLES))])
def test_no_help_takes_or_shows_a_secret(array45: Watched, command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "csi_powerflex", *command, "--help"],
        capture_output=True,
        env={**os.environ, "POWERFLEX_CSI_CONTROLLER_SYSTEMS": str(array45.systems)},
        timeout=60,
        check=True,
    )
    assert found([PASSWORD_CORE], done.stdout + done.stderr) == []
    if command != ("simulate",):  # whose password is for whoever tries it, and printed
        assert b"--password" not in done.stdout
        assert b"--token" not in done.stdout


@pytest.mark.needs("devices")
def test_the_node_shows_no_secret_of_a_request(tmp_path: Path) -> None:
    host = LoopHost(tmp_path / "host")
    heard: list[bytes] = []

    def ask(stub: Callable[..., Message], request: Message) -> None:
        try:
            heard.append(stub(request, timeout=30).SerializeToString())
        except grpc.RpcError as error:
            heard.append(f"{error.code()} {error.details()} {error.trailing_metadata()} {error!r}".encode())

    with (
        contextlib.closing(host),
        NodeProcess(host, options=["--log-level", "debug", "--device-timeout", 1]) as process,
    ):
        volume, gone = host.volume(), host.volume(mapped=False)
        stub = csi_pb2_grpc.NodeStub(process._channel)
        for each in (volume, gone):
            staging, target = process.kubelet.staging(each), process.kubelet.target(each)
            common: dict[str, Any] = {
                "volume_id": str(each.handle),
                "publish_context": publish_context(each),
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
        heard.append(Path(f"/proc/{process.process.pid}/cmdline").read_bytes())
        heard.append(Path(f"/proc/{process.process.pid}/environ").read_bytes())
    log = log_of(host)
    assert log.count("secrets {") == 6 * len(SECRETS)
    assert found([SECRET_FIELD], log.encode()) == []
    assert found([SECRET_FIELD], b"\n".join(heard)) == []


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
