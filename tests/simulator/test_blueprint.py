"""The description of systems: its values are checked before anything is simulated."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from csi_powerflex.simulator import ready
from csi_powerflex.simulator.initial_state import DomainPlan, InitialState, PoolPlan
from csi_powerflex.simulator.scenario import BadScenario, read_systems
from csi_powerflex.simulator.server import Server
from csi_powerflex.simulator.settings import Settings
from csi_powerflex.simulator.simulator import CannotSimulate, Simulator, SystemPlan


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("systems: [{name: x, settings: {session_limit: 0}}]", "`int` >= 1 - at `$.session_limit`"),
        ("systems: []", "length >= 1"),
        ("systems: [{name: ../x}]", "`$.systems[0].name`"),
        ("systems: [{name: x, id: ABC}]", "`$.systems[0].id`"),
        ("systems: [{name: x, domains: []}]", "a system needs a protection domain"),
        (
            "systems: [{name: x, domains: [{generation: gen1}]}]",
            "'gen1' - at `$.systems[0].domains[0]",
        ),
        ("systems: [{name: x, domains: [{nme: y}]}]", "unknown field `nme`"),
        ("systems: [{name: x, domains: [{name: y}, {name: y}]}]", "protection domain y occurs twice"),
        ("systems: [{name: x, domains: [{pools: [{medium: SSD}]}]}]", "unknown field `medium`"),
        ("systems: [{name: x, domains: [{pools: [{layout: Fine}]}]}]", "'Fine' - at `$.systems[0]"),
        ("systems: [{name: x, domains: [{pools: [{media: NVMe}]}]}]", "'NVMe' - at `$.systems[0]"),
        ("systems: [{name: x, domains: [{pools: [{compression: zip}]}]}]", "'zip' - at `$.systems[0]"),
        ("systems: [{name: x, domains: [{pools: [{raw_gib: 0}]}]}]", "`int` >= 1"),
        ("systems: [{name: x, domains: [{pools: [{spare_percent: 100}]}]}]", "`int` <= 90"),
        ("systems: [{name: x, domains: [{pools: [{name: a b}]}]}]", "pools[0].name`"),
        ("systems: [{name: x, domains: [{pools: [{}, {}]}]}]", "pd1: storage pool sp1 occurs twice"),
        ("systems: [{name: x, domains: [{pools: [{layout: ErasureCoding}]}]}]", "does not fit"),
        ("systems: [{name: x}, {name: x}]", "two systems have the same name"),
    ],
)
def test_a_value_that_does_not_exist_is_refused_with_its_place(
    tmp_path: Path, text: str, complaint: str
) -> None:
    file = tmp_path / "systems.yaml"
    file.write_text(text)
    with pytest.raises((BadScenario, CannotSimulate), match=re.escape(complaint)):
        Simulator(read_systems(file, Settings()), folder=tmp_path / "state").close()


@pytest.mark.parametrize(
    ("plan", "complaint"),
    [
        (DomainPlan(generation="gen1"), "Invalid enum value 'gen1'"),  # type: ignore[arg-type]
        (DomainPlan(pools=(PoolPlan(), PoolPlan())), "storage pool sp1 occurs twice"),
    ],
)
def test_a_plan_made_in_python_is_checked_like_a_file(
    tmp_path: Path, plan: DomainPlan, complaint: str
) -> None:
    with pytest.raises(CannotSimulate, match=complaint):
        Simulator([SystemPlan(initial_state=InitialState(domains=(plan,)))], folder=tmp_path)


def test_every_documented_value_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "systems.yaml"
    file.write_text(
        """
systems:
- name: all
  version: "5.0"
  id: 5a1b2c3d4e5f600f
  volumes: 2
  settings: {log_bytes: 0, session_limit: 5, removal_seconds: 0.5}
  domains:
  - {name: ec, generation: EC, pools: [{layout: ErasureCoding, compression: None, raw_gib: 10}]}
  - name: mirrored
    generation: Mirroring
    pools:
    - {name: a, media: HDD, zero_padding: false, spare_percent: 0, over_provisioning: 1}
    - {name: b, layout: FineGranularity, compression: Normal}
    - {name: c, layout: MediumGranularity, media: Transitional}
"""
    )
    with Simulator(read_systems(file, Settings()), folder=tmp_path / "state") as simulator:
        array = simulator.gateway.array
        assert [pool.name for pool in array.pools.values()] == ["sp1", "a", "b", "c"]
        assert array.system.id == "5a1b2c3d4e5f600f"


def test_the_first_lines_name_every_pool_and_no_folder_without_devices(tmp_path: Path) -> None:
    pools = (PoolPlan("a"), PoolPlan("b"))
    state = InitialState(domains=(DomainPlan("x", pools=pools), DomainPlan("empty", pools=())))
    plan = SystemPlan(initial_state=state)
    with Simulator([plan], folder=tmp_path, sdcs=("worker1",)) as simulator, Server(simulator) as server:
        lines = ready.summary(server).splitlines()
        assert [line.split()[1] for line in lines if line.startswith("  pool")] == ["x/a", "x/b"]
        guid = simulator.hosts["worker1"].guid
        assert f"  SDC worker1    {guid}" in lines
        assert not any("by-id" in line for line in lines)


def test_a_system_without_pools_can_be_simulated(tmp_path: Path) -> None:
    state = InitialState(domains=(DomainPlan(pools=()),))
    with (
        Simulator([SystemPlan(initial_state=state)], folder=tmp_path) as simulator,
        Server(simulator) as server,
    ):
        assert ready.describe(server)["storagePool"] is None
