"""All transports of a node as one: which it offers, and which it serves."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from csi_powerflex.config.node import NodeSettings
from csi_powerflex.errors import DriverError, FailedPrecondition, Unavailable
from csi_powerflex.ids import Initiator, VolumeHandle
from csi_powerflex.model.publish_context import PublishContext
from csi_powerflex.model.transport import AUTO, NVME, SDC, PathCount, TransportType
from csi_powerflex.transport.registry import TransportRegistry

HANDLE = VolumeHandle("a" * 16, "b" * 16)
GUID = "B0E3BFB8-C20B-43BF-93C8-13339E85AA50"
NQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"


@dataclass
class Scripted:
    """A transport that answers as the test wants it."""

    type: TransportType
    own: Initiator
    reached: tuple[str, ...] = ("a" * 16,)
    error: DriverError | None = None
    device: Path | None = None
    max_volumes: int = 100
    seen: PathCount | None = None
    calls: list[str] = field(default_factory=list)

    def prepare(self) -> None:
        self.calls.append("prepare")
        if self.error:
            raise self.error

    def initiator(self) -> Initiator:
        if self.error:
            raise self.error
        return self.own

    def systems(self) -> tuple[str, ...]:
        if self.error:
            raise self.error
        return self.reached

    def attach(self, publish_context: PublishContext) -> Path:
        raise AssertionError(publish_context)

    def wait_for_size(self, handle: VolumeHandle, size: int) -> Path:
        raise AssertionError((handle, size))

    def find(self, handle: VolumeHandle) -> Path | None:
        assert handle == HANDLE
        return self.device

    def devices(self) -> tuple[Path, ...]:
        return () if self.device is None else (self.device,)

    def paths(self, _handle: VolumeHandle) -> PathCount | None:
        return self.seen

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")


@pytest.fixture
def sdc() -> Scripted:
    return Scripted(SDC, Initiator.sdc(GUID))


@pytest.fixture
def nvme() -> Scripted:
    return Scripted(NVME, Initiator.nvme(NQN), reached=("a" * 16, "c" * 16), max_volumes=50)


@pytest.mark.parametrize(
    ("selected", "node_id"),
    [(AUTO, f"sdc:{GUID},nqn:{NQN}"), ("sdc", f"sdc:{GUID}"), ("nvme", f"nqn:{NQN}")],
)
def test_a_node_offers_what_is_selected(sdc: Scripted, nvme: Scripted, selected: str, node_id: str) -> None:
    assert str(TransportRegistry([sdc, nvme], selected).identity()) == node_id


def test_each_system_is_known_with_the_transports_that_reach_it(sdc: Scripted, nvme: Scripted) -> None:
    registry = TransportRegistry([sdc, nvme])
    assert registry.reached() == {"sdc": ("a" * 16,), "nvme": ("a" * 16, "c" * 16)}


def test_a_transport_that_the_host_does_not_have_is_left_out(sdc: Scripted, nvme: Scripted) -> None:
    sdc.error = FailedPrecondition("no SDC")
    registry = TransportRegistry([sdc, nvme])
    registry.prepare()
    assert str(registry.identity()) == f"nqn:{NQN}"
    assert registry.reached() == {"nvme": nvme.reached}


def test_a_transport_that_does_not_answer_is_not_left_out(sdc: Scripted, nvme: Scripted) -> None:
    """The node would register with another identity, and come back with the first one later."""
    sdc.error = Unavailable("the tool failed")
    registry = TransportRegistry([sdc, nvme])
    registry.prepare()
    for ask in (registry.identity, registry.reached):
        with pytest.raises(Unavailable, match="the tool failed"):
            ask()


def test_if_none_works_the_error_has_the_reason_of_each(sdc: Scripted, nvme: Scripted) -> None:
    sdc.error, nvme.error = FailedPrecondition("no SDC"), FailedPrecondition("no NQN")
    registry = TransportRegistry([sdc, nvme])
    for ask in (registry.prepare, registry.identity):
        with pytest.raises(
            FailedPrecondition, match=r"no transport works on this host: sdc: no SDC; nvme: no"
        ):
            ask()
    with pytest.raises(FailedPrecondition, match=r"^no NQN$"):
        TransportRegistry([sdc, nvme], "nvme").identity()


def test_a_volume_over_a_transport_that_is_not_selected_is_served(sdc: Scripted, nvme: Scripted) -> None:
    sdc.device = Path("/dev/scinia")
    registry = TransportRegistry([sdc, nvme], "nvme")
    assert registry.serving(PublishContext(HANDLE, "sdc", 1, read_only=False)) is sdc
    assert registry.locate(HANDLE) == (sdc, sdc.device)
    assert registry.devices() == (sdc.device,)
    sdc.device = None
    assert registry.locate(HANDLE) is None


def test_a_volume_with_a_device_of_another_transport_is_refused(sdc: Scripted, nvme: Scripted) -> None:
    sdc.device = Path("/dev/scinia")
    with pytest.raises(FailedPrecondition, match=r"this host has it as /dev/scinia over sdc: two devices"):
        TransportRegistry([sdc, nvme]).serving(PublishContext(HANDLE, "nvme", 1, read_only=False))


def test_a_transport_that_this_version_does_not_have_is_refused(sdc: Scripted, nvme: Scripted) -> None:
    with pytest.raises(FailedPrecondition, match=r"over transport 'fc', and this node has: sdc, nvme"):
        TransportRegistry([sdc, nvme]).serving(PublishContext(HANDLE, "fc", 1, read_only=False))


def test_all_transports_are_made_from_the_settings() -> None:
    registry = TransportRegistry.of(NodeSettings(endpoint="unix:x", driver_name="d", transport="nvme"))
    assert registry.max_volumes() == 8192


def test_the_limit_is_the_smallest_of_the_selected_transports(sdc: Scripted, nvme: Scripted) -> None:
    assert TransportRegistry([sdc, nvme]).max_volumes() == 50
    assert TransportRegistry([sdc, nvme], "sdc").max_volumes() == 100


def test_the_paths_are_those_of_the_transport_that_shows_them(sdc: Scripted, nvme: Scripted) -> None:
    registry = TransportRegistry([sdc, nvme])
    assert registry.paths(HANDLE) is None
    nvme.seen = PathCount(1, 2)
    assert registry.paths(HANDLE) == PathCount(1, 2)


def test_all_transports_work_in_the_background(sdc: Scripted, nvme: Scripted) -> None:
    with TransportRegistry([sdc, nvme], "sdc").upkeep():
        assert (sdc.calls, nvme.calls) == (["start"], ["start"])
    assert (sdc.calls, nvme.calls) == (["start", "stop"], ["start", "stop"])
