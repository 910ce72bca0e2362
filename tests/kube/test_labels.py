"""The command that writes labels of a node into files, against a real HTTPS server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_powerflex.app import labels
from csi_powerflex.config.labels import LabelFile, LabelsSettings
from csi_powerflex.errors import (
    DriverError,
    FailedPrecondition,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from tests.kube.api_server import Answer, ApiServer

NODES = "/api/v1/nodes"
ZONE = "topology.kubernetes.io/zone"
LIMIT = "example.org/volumes"

Write = Callable[[], None]


@pytest.fixture
def write(cluster: ApiServer, tmp_path: Path) -> Write:
    """Write the zone and the limit of node worker1 into the files zone and limit."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(cluster.kubeconfig({"token": "secret-token"})))
    files = (
        LabelFile(ZONE, tmp_path / "zone", required=True),
        LabelFile(LIMIT, tmp_path / "limit", required=False),
    )
    return lambda: labels.run(LabelsSettings("worker1", files, kubeconfig))


def put(cluster: ApiServer, **of_node: str) -> None:
    """A node worker1 with these labels: ``zone`` and ``limit``."""
    keys = {"zone": ZONE, "limit": LIMIT}
    found = {keys[name]: value for name, value in of_node.items()}
    cluster.put(NODES, "worker1", {"metadata": {"labels": found} if found else {}, "spec": {"unused": True}})


def test_the_labels_of_the_node_are_written(cluster: ApiServer, write: Write, tmp_path: Path) -> None:
    cluster.token = "secret-token"
    put(cluster, zone="a", limit="25")
    cluster.put(NODES, "worker2", {"metadata": {"labels": {ZONE: "b"}}})
    write()
    assert (tmp_path / "zone").read_text() == "a"
    assert (tmp_path / "limit").read_text() == "25"
    assert [request.path for request in cluster.requests] == [f"{NODES}/worker1"]
    assert not list(tmp_path.glob(".*"))


def test_a_label_that_is_optional_and_missing_gives_an_empty_file(
    cluster: ApiServer, write: Write, tmp_path: Path
) -> None:
    (tmp_path / "limit").write_text("25")
    put(cluster, zone="a")
    write()
    assert (tmp_path / "limit").read_text() == ""


@pytest.mark.parametrize("of_node", [{}, {"limit": "25"}, {"zone": ""}], ids=["none", "another", "empty"])
def test_nothing_is_written_for_a_node_without_a_required_label(
    cluster: ApiServer, write: Write, tmp_path: Path, of_node: dict[str, str]
) -> None:
    put(cluster, **of_node)
    with pytest.raises(FailedPrecondition) as refused:
        write()
    assert str(refused.value) == (
        f"node worker1 lacks the label {ZONE}; set it with kubectl label node worker1 {ZONE}=VALUE"
    )
    assert not (tmp_path / "zone").exists()
    assert not (tmp_path / "limit").exists()


def test_an_unknown_node_is_not_found(cluster: ApiServer, write: Write) -> None:
    with pytest.raises(NotFound, match='answered 404: nodes "worker1" not found; check the name'):
        write()


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (Answer.status_object(401, "who"), Unauthenticated, "check the token"),
        (Answer.status_object(403, "no way"), PermissionDenied, "answered 403: no way; allow get in a"),
        (Answer(503, (b"away",)), Unavailable, "answered 503"),
        (Answer(200, (b"{",)), Unavailable, "something unexpected"),
        (Answer(200, (b'{"metadata": {"labels": {"a": 1}}}',)), Unavailable, "something unexpected"),
        (Answer(200, (b" " * (9 << 20),)), Unavailable, "sent more than 8388608 bytes"),
    ],
    ids=["no user", "no right", "away", "half an answer", "a label that is no text", "a long answer"],
)
def test_an_answer_without_a_node_is_an_error(
    cluster: ApiServer, write: Write, answer: Answer, error: type[DriverError], said: str
) -> None:
    cluster.prescribe(answer)
    with pytest.raises(error, match=said):
        write()


def test_a_file_that_cannot_be_written_is_named(cluster: ApiServer, write: Write, tmp_path: Path) -> None:
    put(cluster, zone="a")
    (tmp_path / "zone").mkdir()
    with pytest.raises(FailedPrecondition, match=f"cannot write {tmp_path}/zone: Is a directory"):
        write()


# --- the command --------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "csi_powerflex", "labels", *map(str, arguments)],
        env={key: value for key, value in os.environ.items() if not key.startswith("KUBERNETES_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_writes_the_files_and_ends(cluster: ApiServer, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(cluster.kubeconfig()))
    put(cluster, zone="a")
    done = run(
        "--node=worker1",
        f"--label={ZONE}={tmp_path}/zone",
        f"--optional-label={LIMIT}={tmp_path}/limit",
        f"--kubeconfig={kubeconfig}",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "zone").read_text() == "a"
    assert (tmp_path / "limit").read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--node=a",), "no label is given; use --label LABEL=FILE"),
        (("--node=a", "--label=zone"), "'zone' is not usable; give the label, =, and the path of a file"),
        (("--node=a", "--optional-label==/x"), "'=/x' is not usable"),
        (("--node=a", "--label=zone=/x"), "does not run in a pod; outside of the cluster use --kubeconfig"),
    ],
)
def test_a_mistake_is_explained(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode != 0
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
