"""The doctor in the driver's pods, with the commands that Helm prints, and in the pod of ``helm test``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import NAMESPACE, RELEASE, WORKERS, Cluster
from tests.e2e.kubernetes import Object, Refused
from tests.e2e.processes import await_true

_TEST = f"{RELEASE}-test-doctor"
Check = dict[str, str]


def _command(cluster: Cluster, role: str) -> str:
    """The command for a role in the notes of the chart."""
    notes = cluster.kubernetes.helm("get", "notes", RELEASE, "--namespace", NAMESPACE)
    (found,) = re.findall(
        rf"^ *(kubectl .* csi-powerflex doctor {role} .*)$", notes.replace("\\\n", ""), re.MULTILINE
    )
    return str(found)


def _run(cluster: Cluster, command: str, folder: Path) -> tuple[int, list[Check]]:
    """Run the doctor; returns its exit status and what it found."""
    script = f"status=0; {command} --output=json || status=$?; echo; echo $status"
    text, _, status = cluster.kubernetes.shell(script, folder).rstrip().rpartition("\n")
    return int(status), json.loads(text)["checks"]


def _of_controller(cluster: Cluster, folder: Path) -> tuple[int, list[Check]]:
    return _run(cluster, _command(cluster, "controller"), folder)


def _of_node(cluster: Cluster, worker: str, folder: Path) -> tuple[int, list[Check]]:
    pods = cluster.kubernetes.list("pods", NAMESPACE, labels="app.kubernetes.io/component=node")
    (name,) = (pod["metadata"]["name"] for pod in pods if _is_of(pod, worker))
    command = _command(cluster, "node").replace(f"daemonset/{RELEASE}-node", f"pod/{name}")
    assert f"pod/{name}" in command
    return _run(cluster, command, folder)


def _is_of(pod: Object, worker: str) -> bool:
    return pod["spec"].get("nodeName") == worker and "deletionTimestamp" not in pod["metadata"]


def _at(checks: list[Check], level: str) -> list[Check]:
    return [check for check in checks if check["level"] == level]


def test_the_doctor_finds_no_problem_with_the_array(cluster: Cluster, tmp_path: Path) -> None:
    status, checks = _of_controller(cluster, tmp_path)
    assert (status, _at(checks, "warning") + _at(checks, "fault")) == (0, [])
    assert {"systems file", "certificate", "login", "pool", "hosts"} <= {check["check"] for check in checks}


@pytest.mark.parametrize("worker", WORKERS)
def test_the_doctor_finds_no_fault_on_a_node(cluster: Cluster, tmp_path: Path, worker: str) -> None:
    status, checks = _of_node(cluster, worker, tmp_path)
    assert (status, _at(checks, "fault")) == (0, [])
    # Warnings depend on this machine: its capabilities, its clock, and scini, which it does not have.
    assert {check["check"] for check in _at(checks, "warning")} <= {"capabilities", "clock", "sdc module"}
    assert {"kubelet folder", "mount propagation", "tools", "sdc guid", "sdc systems"} <= {
        check["check"] for check in _at(checks, "ok")
    }


def test_the_doctor_finds_a_lost_sdc_from_both_sides(cluster: Cluster, tmp_path: Path) -> None:
    mdms = cluster.array.mdms_of("worker1")
    before = mdms.read_text()
    try:
        cluster.array.set_connected("worker1", connected=False)
        mdms.write_text(re.sub(r"MDM-ID \w+", f"MDM-ID {0:016x}", before))
        status, checks = _of_controller(cluster, tmp_path)
        assert status == 0
        (hosts,) = _at(checks, "warning")
        assert (hosts["check"], hosts["page"]) == ("hosts", "docs/doctor.md#hosts")
        assert hosts["found"] == "1 of 2 SDCs are not connected: worker1"
        status, checks = _of_node(cluster, "worker1", tmp_path)
        assert status == 1
        assert {check["check"] for check in _at(checks, "fault")} == {"sdc systems"}
        for check in _at(checks, "fault"):
            assert check["found"].startswith("the SDC has never reached the MDMs ")
            assert check["page"] == "docs/doctor.md#sdc-systems"
    finally:
        mdms.write_text(before)
        cluster.array.set_connected("worker1", connected=True)


@pytest.fixture(scope="module")
def wrong_password(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The Secret with a wrong password. Afterwards the controller has the right one again."""
    folder = tmp_path_factory.mktemp("doctor")
    cluster.make_secret(files=cluster.systems() | {"password": "wrong"})
    try:
        yield cluster
    finally:
        cluster.make_secret()
        # The kubelet brings a changed Secret into the pods within one or two minutes.
        await_true(
            lambda: _of_controller(cluster, folder)[0] == 0,
            what="the doctor finding no fault any more",
            seconds=240,
            every=3,
        )


def test_helm_test_ends_with_the_line_of_the_doctor_and_creates_nothing(wrong_password: Cluster) -> None:
    kubernetes = wrong_password.kubernetes
    before = set(wrong_password.array.volumes())
    with pytest.raises(Refused):
        kubernetes.helm("test", RELEASE, "--namespace", NAMESPACE, "--timeout=180s")
    told = kubernetes.kubectl("logs", "--namespace", NAMESPACE, _TEST)
    assert re.search(r"^  fault   login: ", told, re.MULTILINE)
    assert "docs/doctor.md#login" in told
    assert kubernetes.find("pods", f"{RELEASE}-test-volume", NAMESPACE) is None
    assert set(wrong_password.array.volumes()) == before
    kubernetes.kubectl("delete", "--namespace", NAMESPACE, "pod", _TEST)


def test_the_doctor_finds_a_wrong_password(wrong_password: Cluster, tmp_path: Path) -> None:
    found: list[tuple[int, list[Check]]] = []

    def is_found() -> bool:
        found.append(_of_controller(wrong_password, tmp_path))
        return found[-1][0] == 1

    await_true(is_found, what="the controller's pod having the wrong password", seconds=240, every=3)
    (login,) = _at(found[-1][1], "fault")
    assert (login["check"], login["page"]) == ("login", "docs/doctor.md#login")
    assert "refused user" in login["found"]
