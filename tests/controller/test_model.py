"""Random sequences of controller calls, in any order and repeated, compared with a small model of CSI.

There are two systems of different generations, three volume names and three nodes. Faults interrupt the
calls, and the controller restarts between them. After each step the arrays must have exactly the objects of
the model, including all mappings. ``make model`` uses many more sequences, and others each time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import grpc
import msgspec
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from csi_powerflex.config.systems.schema import TrashSettings
from csi_powerflex.errors import FailedPrecondition
from csi_powerflex.gateway.fleet import GatewayFleet
from csi_powerflex.model.cluster import ClusterObjects
from csi_powerflex.model.trash import UnknownNeeds
from csi_powerflex.operations.controller.inventory import reverting, undeleting
from csi_powerflex.operations.controller.inventory.reading import Reader
from csi_powerflex.operations.controller.trash_sweep import TrashSweep
from csi_powerflex.pb import csi_pb2
from csi_powerflex.simulator.faults import Fault, FaultKind
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.inprocess import Client
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import SystemPlan
from tests.controller.conftest import MakeWorld
from tests.controller.contents import Contents
from tests.controller.driver import GIB, Mode, block, mount
from tests.controller.model import Code, Group, Item, Model, Refused
from tests.controller.world import World
from tests.figures import Figures

UNKNOWN = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.ABORTED)
FAULTS = (
    Fault(kind=FaultKind.RESET),
    Fault(kind=FaultKind.LOST_REPLY),
    Fault(kind=FaultKind.TRUNCATED),
    Fault(kind=FaultKind.REVOKE),
    Fault(kind=FaultKind.ERROR, status=503),
    Fault(kind=FaultKind.HTML, status=502, after_effect=True),
)
USES = {
    "writes": ("ReadWrite", False, mount(Mode.SINGLE_NODE_WRITER)),
    "reads": ("ReadOnly", True, mount(Mode.MULTI_NODE_READER_ONLY)),
    "shares": ("ReadWrite", True, block(Mode.MULTI_NODE_MULTI_WRITER)),
}

_RUN = reverting.Run("", "the model", datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))

# A small number of names, so that several calls use the same objects.
volumes = st.sampled_from([f"pvc-{number}" for number in range(3)])
snapshots = st.sampled_from(["snapshot-0", "snapshot-1"])
groups = st.sampled_from(["group-0", "group-1"])
nodes = st.sampled_from(["a", "b", "c"])
sizes = st.sampled_from([0, 1, 8, 9, 24])
limits = st.sampled_from([0, 0, 0, 8, 12, 16])

Answer = TypeVar("Answer")


class Controller(RuleBasedStateMachine):
    """One sequence. The same world is used for all sequences and must be empty again at the end of each."""

    world: World
    figures: Figures

    def __init__(self) -> None:
        super().__init__()
        self.clear()
        self.start()
        arrays = [gateway.array for gateway in self.world.simulator.gateways]
        self.systems = [array.system.id for array in arrays]
        # The second system keeps deleted volumes.
        self.model = Model(dict(zip(self.systems, (8, 1), strict=True)), frozenset(self.systems[1:]))
        self.contents = {array.system.id: Contents(array) for array in arrays}
        # The last id of each name, for calls on deleted objects.
        self.ids: dict[str, str] = {}

    @initialize(
        many=st.integers(0, 3), shared=st.lists(nodes, max_size=3, unique=True), with_snapshot=st.booleans()
    )
    def begin(self, many: int, shared: list[str], with_snapshot: bool) -> None:
        """Some volumes, mappings and a snapshot, so that not every sequence begins with empty systems."""
        for number in range(many):
            self.create(f"pvc-{number}", 8, 0)
        for node in shared:
            self.publish("pvc-0", node, "shares")
        if with_snapshot:
            self.snapshot("snapshot-0", "pvc-0")

    # --- volumes ---------------------------------------------------------------------------------

    @rule(name=volumes, required=sizes, limit=limits)
    def create(self, name: str, required: int, limit: int) -> None:
        existing = self.model.volumes.get(name)
        home = self.systems.index(existing.system) if existing else _number(name) % 2
        answer = self.ask(
            lambda: self.model.create(name, self.systems[home], required=required, limit=limit),
            lambda: self.driver.create(
                name, gib=required, limit=limit, parameters={"systemID": f"array{home}"}, **_limits(name)
            ),
        )
        self.add_volume(name, answer, None)

    @rule(name=volumes, required=sizes, first=st.sampled_from([0, 1]))
    def create_where_it_fits(self, name: str, required: int, first: int) -> None:
        """Let the topology choose: the preferred system for a new volume, that of the volume if it exists.

        Without faults, because the driver uses another system when one does not answer.
        """
        for gateway in self.world.simulator.gateways:
            gateway.faults.clear()
        existing = self.model.volumes.get(name)
        home = existing.system if existing else self.systems[first]
        order = [self.systems[first], self.systems[1 - first]]
        requirement = csi_pb2.TopologyRequirement(
            preferred=[csi_pb2.Topology(segments={f"csi.powerflex.dev/{system}": "true"}) for system in order]
        )
        answer = self.ask(
            lambda: self.model.create(name, home, required=required, limit=0),
            lambda: self.driver.create(
                name, gib=required, accessibility_requirements=requirement, **_limits(name)
            ),
        )
        self.add_volume(name, answer, None)

    @rule(name=volumes, source=volumes, required=sizes, limit=limits)
    def clone(self, name: str, source: str, required: int, limit: int) -> None:
        origin = self.model.volumes.get(source)
        if name == source or self.elsewhere(name, origin):
            return
        answer = self.ask(
            lambda: self.model.copy(name, origin, self.id(source), required=required, limit=limit),
            lambda: self.driver.clone(name, self.id(source), gib=required, limit=limit, **_limits(name)),
        )
        self.add_volume(name, answer, origin)

    @rule(name=volumes, source=snapshots, required=sizes, limit=limits)
    def restore(self, name: str, source: str, required: int, limit: int) -> None:
        origin = self.model.snapshots.get(source)
        if self.elsewhere(name, origin):
            return
        answer = self.ask(
            lambda: self.model.copy(name, origin, self.id(source), required=required, limit=limit),
            lambda: self.driver.restore(name, self.id(source), gib=required, limit=limit, **_limits(name)),
        )
        self.add_volume(name, answer, origin)

    @rule(name=volumes)
    def delete(self, name: str) -> None:
        self.ask(lambda: self.model.delete(name), lambda: self.driver.delete(self.id(name)))

    # --- what commands do ------------------------------------------------------------------------

    @rule(name=volumes, word=st.sampled_from(["red", "blue"]))
    def write(self, name: str, word: str) -> None:
        """Let the owner of a volume write."""
        item = self.model.volumes.get(name)
        if item is not None:
            item.word = word
            self.contents[item.system].write(item.id, word)

    @rule(name=volumes, data=st.data())
    def revert(self, name: str, data: st.DataObject) -> None:
        """Revert a volume to any snapshot of its system."""
        volume = self.model.volumes.get(name)
        found = [item for item in self.model.all_snapshots() if volume and item.system == volume.system]
        if volume is None or not found or len(self.model.safety) > 20:
            return
        snapshot = data.draw(st.sampled_from(sorted(found, key=lambda item: item.id)))
        before = volume.word
        _, codes = _expected(lambda: self.model.revert(volume, snapshot))
        with self.reader() as reader:
            members = reverting.of_volume(reader, volume.id, snapshot.id)
            try:
                planned = reverting.plan(reader, members, None, _RUN, unchecked=True)
            except FailedPrecondition:
                assert codes
                return
            assert not codes
            run = dataclasses.replace(planned, run=dataclasses.replace(_RUN, token=str(uuid.uuid4())))
            (done,) = reverting.carry_out(reader, run, None, lambda _: None)
        handle = str(done.safety.handle)
        message = csi_pb2.Snapshot(snapshot_id=handle, source_volume_id=volume.id)
        safety = Item(handle, volume.size, volume.id, message, copied=True, tree=volume.tree, word=before)
        self.model.safety.append(safety)

    @rule(data=st.data())
    def undelete(self, data: st.DataObject) -> None:
        """Bring a volume back from the trash."""
        if not self.model.trash:
            return
        item = data.draw(st.sampled_from(sorted(self.model.trash, key=lambda item: item.id)))
        with self.reader() as reader:
            undeleting.carry_out(reader, undeleting.find(reader, item.id))
        # The name of before is free, and its last id is in use again.
        self.ids = {name: handle for name, handle in self.ids.items() if handle != item.id}
        self.model.trash.remove(item)
        self.model.undeleted.append(item)

    @contextlib.contextmanager
    def reader(self) -> Iterator[Reader]:
        """What the commands read with. They do not repeat what fails, so there are no faults."""
        for gateway in self.world.simulator.gateways:
            gateway.faults.clear()
        with contextlib.closing(GatewayFleet(self.world.systems)) as fleet:
            yield Reader(fleet, ClusterObjects(), cluster_id="test", driver_name="csi.powerflex.dev")

    @rule(name=volumes, required=sizes, limit=limits)
    def expand(self, name: str, required: int, limit: int) -> None:
        self.ask(
            lambda: self.model.expand(name, required=required, limit=limit) * GIB,
            lambda: self.driver.expand(self.id(name), gib=required, limit=limit).capacity_bytes,
        )

    @rule(name=volumes, iops=st.sampled_from([0, 300, 700]))
    def modify(self, name: str, iops: int) -> None:
        def expected() -> None:
            self.model.found(name).iops = iops

        self.ask(expected, lambda: self.driver.modify(self.id(name), iopsLimit=str(iops)))

    @rule(name=volumes, pool=st.sampled_from(["sp1", "sp2"]), whole_tree=st.booleans())
    def move(self, name: str, pool: str, whole_tree: bool) -> None:
        """Move it to another pool of its system. The array needs no time for it."""
        self.ask(
            lambda: self.model.move(name, pool, whole_tree=whole_tree),
            lambda: self.driver.modify(self.id(name), storagepool=pool, migrateTree=str(whole_tree)),
        )

    # --- mappings --------------------------------------------------------------------------------

    @rule(name=volumes, node=nodes, use=st.sampled_from(sorted(USES)))
    def publish(self, name: str, node: str, use: str) -> None:
        access, shared, capability = USES[use]
        existing = self.model.volumes.get(name)
        volume = existing.message if existing else self.id(name)
        assert isinstance(volume, csi_pb2.Volume | str)
        self.ask(
            lambda: self.model.publish(name, node, access, shared=shared),
            lambda: self.driver.publish(
                volume, self.world.node(node), capability, readonly=access == "ReadOnly"
            ),
        )

    @rule(name=volumes, node=st.one_of(nodes, st.none()))
    def unpublish(self, name: str, node: str | None) -> None:
        self.ask(
            lambda: self.model.unpublish(name, node),
            lambda: self.driver.unpublish(self.id(name), self.world.node(node) if node else ""),
        )

    # --- snapshots -------------------------------------------------------------------------------

    @rule(name=snapshots, volume=volumes)
    def snapshot(self, name: str, volume: str) -> None:
        existing, source = self.model.snapshots.get(name), self.model.volumes.get(volume)
        if existing and (self.orphaned(existing) or (source and source.system != existing.system)):
            return  # the array does not show its source any more, or another system has the name
        if existing and source is None:
            return  # its source is in the trash, so the snapshot is found again
        answer = self.ask(
            lambda: self.model.snapshot(name, volume),
            lambda: self.driver.snapshot(self.id(volume), name),
        )
        if answer is not None and source is not None:
            assert answer.source_volume_id == source.id
            self.same_or_new(self.model.snapshots, name, answer.snapshot_id)
            size = answer.size_bytes // GIB
            item = Item(answer.snapshot_id, size, source.id, answer, copied=True)
            item.tree, item.word = source.tree, source.word
            self.model.snapshots.setdefault(name, item)

    @rule(name=snapshots)
    def delete_snapshot(self, name: str) -> None:
        self.ask(lambda: self.model.delete_snapshot(name), lambda: self.driver.delete_snapshot(self.id(name)))

    @rule(name=groups, members=st.lists(volumes, min_size=1, max_size=3, unique=True))
    def group(self, name: str, members: list[str]) -> None:
        existing = self.model.groups.get(name)
        sources = [self.model.volumes[member] for member in members if member in self.model.volumes]
        if existing and (
            any(self.orphaned(item) for item in existing.members.values())
            or len(sources) != len(members)
            or any(source.system != existing.id.partition("-")[0] for source in sources)
        ):
            return
        answer = self.ask(
            lambda: self.model.group(name, members),
            lambda: self.driver.group_snapshot(name, *(self.id(member) for member in members)),
        )
        if answer is not None:
            assert [item.source_volume_id for item in answer.snapshots] == [source.id for source in sources]
            if existing:
                assert answer.group_snapshot_id == existing.id
                return
            words = {source.id: source.word for source in sources}
            made = {
                source.id: Item(
                    item.snapshot_id,
                    item.size_bytes // GIB,
                    source.id,
                    item,
                    copied=True,
                    tree=source.tree,
                    word=words[source.id],
                )
                for item, source in zip(answer.snapshots, sources, strict=True)
            }
            self.model.groups[name] = Group(answer.group_snapshot_id, made)
            self.ids[name] = answer.group_snapshot_id

    @rule(name=groups, named=st.booleans())
    def delete_group(self, name: str, named: bool) -> None:
        existing = self.model.groups.get(name)
        members = [item.id for item in existing.members.values()] if existing and named else []
        self.ask(
            lambda: self.model.delete_group(name), lambda: self.driver.delete_group(self.id(name), *members)
        )

    # --- lists -----------------------------------------------------------------------------------

    @rule(max_entries=st.sampled_from([0, 1, 3]))
    def list_volumes(self, max_entries: int) -> None:
        listed: dict[str, tuple[int, set[str]]] = {}
        # All pages come from one controller: another one does not know the token.
        controller, token = self.driver.controller, ""
        while True:
            request = csi_pb2.ListVolumesRequest(max_entries=max_entries, starting_token=token)
            page = self.answer_of(partial(controller.ListVolumes, request, timeout=30))
            for entry in page.entries:
                assert entry.volume.volume_id not in listed
                published = set(entry.status.published_node_ids)
                listed[entry.volume.volume_id] = (entry.volume.capacity_bytes // GIB, published)
            token = page.next_token
            if not token:
                break
        assert listed == {
            item.id: (item.size, {self.world.node(node) for node in item.published})
            for item in (*self.model.volumes.values(), *self.model.undeleted)
        }

    @rule(source=st.one_of(volumes, st.none()))
    def list_snapshots(self, source: str | None) -> None:
        request = csi_pb2.ListSnapshotsRequest(source_volume_id=self.id(source) if source else "")
        page = self.answer_of(lambda: self.driver.controller.ListSnapshots(request, timeout=30))
        wanted = [
            item for item in self.model.all_snapshots() if source is None or item.origin == self.id(source)
        ]
        assert {entry.snapshot.snapshot_id for entry in page.entries} == {item.id for item in wanted}

    @rule(name=volumes)
    def get(self, name: str) -> None:
        def size() -> int:
            return self.model.found(name).size * GIB

        self.ask(size, lambda: self.driver.get(self.id(name)).volume.capacity_bytes)

    # --- faults ----------------------------------------------------------------------------------

    @rule(
        fault=st.sampled_from(FAULTS), system=st.sampled_from([0, 1]), skip=st.sampled_from([0, 0, 1, 2, 3])
    )
    def inject_fault(self, fault: Fault, system: int, skip: int) -> None:
        """Let one of the next requests fail. The call is repeated until it has an answer."""
        armed = Fault(
            kind=fault.kind,
            status=fault.status,
            after_effect=fault.after_effect,
            times=1,
            skip=skip,
            path="/api/*",
        )
        self.world.simulator.gateways[system].inject(armed)

    @rule()
    def restart(self) -> None:
        """Two other controllers continue. They have only the state file."""
        self.start()

    def start(self) -> None:
        """Start two controllers, each with caches of its own."""
        self.driver = self.world.restart()
        self.other = self.world.another()

    @rule()
    def change_controller(self) -> None:
        """Let the other controller make the next calls. It has not seen those of the first one."""
        self.driver, self.other = self.other, self.driver

    def clear(self) -> None:
        """Remove the objects of a failed sequence."""
        for gateway in self.world.simulator.gateways:
            gateway.faults.clear()
            for volume_id in list(gateway.array.volumes):
                self.world.driver.unpublish(f"{gateway.array.system.id}-{volume_id}")
                Client(gateway).act("Volume", volume_id, "removeVolume", removeMode="ONLY_ME")

    # --- checks ----------------------------------------------------------------------------------

    def ask(self, expected: Callable[[], object], call: Callable[[], Answer]) -> Answer | None:
        """Make a call that must end as the model says. Returns None if it was refused as expected."""
        wanted, codes = _expected(expected)
        if codes:
            with pytest.raises(grpc.RpcError) as refusal:
                self.answer_of(call)
            code = refusal.value.code()
            assert code in codes, f"{code.name}, not {codes}: {refusal.value.details()}"
            return None
        answer = self.answer_of(call)
        if isinstance(answer, csi_pb2.Volume):
            assert answer.capacity_bytes == wanted * GIB  # type: ignore[operator]  # the models of these give sizes
        elif isinstance(answer, int):
            assert answer == wanted
        return answer

    def answer_of(self, call: Callable[[], Answer]) -> Answer:
        """Repeat a call at the other controller while its outcome is unknown; returns its answer."""
        self.figures.add("steps of the model")
        for _ in range(6):
            try:
                return call()
            except grpc.RpcError as error:
                if error.code() not in UNKNOWN:
                    raise
                self.change_controller()
        raise AssertionError("the call did not succeed in six attempts")

    def add_volume(self, name: str, answer: csi_pb2.Volume | None, origin: Item | None) -> None:
        """Add a created volume to the model."""
        if answer is None:
            return
        self.same_or_new(self.model.volumes, name, answer.volume_id)
        size = answer.capacity_bytes // GIB
        existing = self.model.volumes.get(name)
        if existing is not None:
            existing.size = size
            return
        iops = int(_limits(name)["mutable_parameters"].get("iopsLimit", 0))
        made = Item(answer.volume_id, size, origin.id if origin else None, answer, origin is not None, iops)
        if origin is not None:
            made.tree, made.word = origin.tree, origin.word
        self.model.volumes[name] = made

    def same_or_new(self, items: dict[str, Item], name: str, found: str) -> None:
        existing = items.get(name)
        assert found == existing.id if existing else found not in self.ids.values()
        self.ids[name] = found

    def id(self, name: str) -> str:
        """The id that the name has or had, otherwise an id that never existed."""
        return self.ids.get(name, f"{self.systems[0]}-{_number(name):016x}")

    def elsewhere(self, name: str, origin: Item | None) -> bool:
        """Whether a system other than the source's has the name. Each system has its own names."""
        existing = self.model.volumes.get(name)
        return existing is not None and origin is not None and existing.system != origin.system

    def orphaned(self, item: Item) -> bool:
        """Whether the source of the snapshot was deleted, so that the array shows another origin or none."""
        message = item.message
        assert isinstance(message, csi_pb2.Snapshot)
        return item.origin != message.source_volume_id

    @invariant()
    def the_arrays_hold_what_the_model_says(self) -> None:
        held = {}
        for system, gateway in zip(self.systems, self.world.simulator.gateways, strict=True):
            hosts = {host.id: host.name for host in gateway.array.hosts.values()}
            for volume in gateway.array.volumes.values():
                mappings = {
                    hosts[mapping.host_id]: (mapping.access_mode, mapping.limit_iops)
                    for mapping in volume.mappings
                }
                pool = gateway.array.pools[volume.pool_id].name
                word = self.contents[system].words.get(volume.id, "")
                held[f"{system}-{volume.id}"] = (volume.size_kb * 1024 / GIB, pool, mappings, word)
            assert not any(tree.migration for tree in gateway.array.vtrees.values())
        assert held == {
            item.id: (
                item.size,
                item.tree.pool,
                {node: (access, item.iops) for node, access in item.published.items()},
                item.word,
            )
            for item in (*self.model.items(), *self.model.trash)
        }

    def teardown(self) -> None:
        """All objects can be deleted, and then the systems are empty."""
        for gateway in self.world.simulator.gateways:
            gateway.faults.clear()
        for name in list(self.model.volumes):
            self.unpublish(name, None)
            self.delete(name)
        for name in list(self.model.snapshots):
            self.delete_snapshot(name)
        for name in list(self.model.groups):
            self.delete_group(name, named=True)
        for item in self.model.safety:
            self.answer_of(partial(self.driver.delete_snapshot, item.id))
        for item in self.model.undeleted:
            self.answer_of(partial(self.driver.delete, item.id))
        later = self.world.in_future(2 * 86400)
        with later, contextlib.closing(GatewayFleet(self.world.systems)) as fleet:
            TrashSweep(fleet, "test", UnknownNeeds(), now=lambda: time.time() + 2 * 86400).step()
        assert not any(gateway.array.volumes for gateway in self.world.simulator.gateways)


def _expected(expected: Callable[[], object]) -> tuple[object, tuple[Code, ...]]:
    """The answer that a call must have, and the codes of which it must have one if it must fail."""
    try:
        return expected(), ()
    except Refused as refused:
        return None, refused.codes


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _limits(name: str) -> dict[str, Any]:
    """Some names have limits, each name always the same."""
    return {"mutable_parameters": {"iopsLimit": "500"} if _number(name) == 1 else {}}


def run_sequences(examples: int, *, repeatable: bool, **attributes: Any) -> None:
    """Run ``examples`` sequences."""
    machine = type("Controller", (Controller,), attributes)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            derandomize=repeatable,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


@pytest.mark.timeout(3600)
def test_any_sequence_of_calls_complies_with_the_rules_of_csi(
    make_world: MakeWorld, figures: Figures
) -> None:
    domains = (DomainPlan(pools=(PoolPlan(), PoolPlan(name="sp2"))),)
    world = make_world(
        SystemPlan(
            version="4.5",
            initial_state=InitialState("east", domains=domains),
            settings=Settings(migration_kb_per_second=2**60),
        ),
        SystemPlan(version="5.0", initial_state=InitialState("west", domains=domains)),
    )
    world.more["state_file"] = world.folder / "state.db"
    # Without the pauses between the client's attempts the test takes less time.
    world.more["retry_seconds"] = 0.001
    first, second = world.systems
    world.systems = (first, msgspec.structs.replace(second, trash=TrashSettings()))
    world.restart()
    examples = os.environ.get("MODEL_SEQUENCES")
    run_sequences(int(examples or 50), repeatable=examples is None, world=world, figures=figures)
