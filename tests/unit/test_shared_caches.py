"""Caches of pools, hosts and SDTs while several callers use them: one read for all, and no answer too old."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, cast

import pytest
from prometheus_client import REGISTRY

from csi_powerflex import call_context
from csi_powerflex.config.systems.schema import SystemSettings
from csi_powerflex.errors import DeadlineExceeded, InvalidArgument, NotFound, Unavailable
from csi_powerflex.gateway.cache import HOST_SECONDS, Hosts, Pools
from csi_powerflex.gateway.client import Client
from csi_powerflex.gateway.nvme import NvmeTargets
from csi_powerflex.ids import Initiator, NodeIdentity, VolumeHandle
from csi_powerflex.model.array import Host, Volume
from tests.controller.eventually import eventually
from tests.unit.lists import DOMAINS, POOLS, SDCS, SDTS, Lists

T = TypeVar("T")

CALLERS = 20
SETTINGS = SystemSettings(name="east", endpoints=(), username="admin")
GUIDS = {
    name: f"{digit * 8}-5B4A-41C8-8384-869D8232D5F7" for name, digit in (("a", "A"), ("b", "B"), ("c", "C"))
}
NODES = {name: NodeIdentity.parse(f"sdc:{guid}") for name, guid in GUIDS.items()}
NQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-1111-4111-8111-111111111111"
BOTH = NodeIdentity.parse(f"sdc:{GUIDS['a']},nqn:{NQN}")


def sdc(name: str, host_id: str) -> dict[str, Any]:
    return {"id": host_id, "name": name, "sdcGuid": GUIDS[name], "mdmConnectionState": "Connected"}


def nvme(host_id: str) -> dict[str, Any]:
    return {"id": host_id, "name": "n", "nqn": NQN}


@pytest.fixture
def lists() -> Lists:
    """An array with two SDCs and a pool."""
    lists = Lists()
    lists.rows = {
        SDCS: [sdc("a", "a1"), sdc("b", "b1")],
        DOMAINS: [{"id": "d1", "name": "pd1"}],
        POOLS: [{"id": "p1", "name": "sp1", "protectionDomainId": "d1"}],
        SDTS: [],
    }
    return lists


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for callers."""
    with ThreadPoolExecutor(CALLERS + 1) as pool:
        yield pool


@pytest.fixture
def hosts(lists: Lists) -> Hosts:
    """The hosts of the array, which have not been read."""
    return Hosts(SETTINGS, cast("Client", lists))


@pytest.fixture
def pools(lists: Lists) -> Pools:
    """The pools of the array, which have not been read."""
    return Pools(SETTINGS, cast("Client", lists))


def begun(threads: ThreadPoolExecutor, lists: Lists, path: str, call: Callable[[], T]) -> Future[T]:
    """Make a call whose read of ``path`` has begun and does not end before ``release``."""
    lists.held = path
    future = threads.submit(call)
    eventually(lambda: lists.reads(path) == 1)
    return future


def id_of(hosts: Hosts, node: str) -> str:
    (host,) = hosts.of(NODES[node], (), fresh=False)
    return host.id


def misses(cache: str) -> float:
    labels = {"system": "east", "cache": cache}
    return REGISTRY.get_sample_value("csi_powerflex_gateway_cache_misses_total", labels) or 0.0


# --- hosts ---------------------------------------------------------------------------------------


def test_callers_that_find_no_hosts_share_one_read_which_counts_as_one_miss(
    threads: ThreadPoolExecutor, lists: Lists, hosts: Hosts
) -> None:
    before = misses("hosts")
    first = begun(threads, lists, SDCS, lambda: id_of(hosts, "a"))
    others = [threads.submit(id_of, hosts, "ab"[number % 2]) for number in range(CALLERS)]
    lists.release(CALLERS)
    assert first.result() == "a1"
    assert {future.result() for future in others} == {"a1", "b1"}
    assert lists.reads(SDCS) == 1
    assert misses("hosts") - before == 1


def test_callers_that_want_the_hosts_as_they_are_now_share_reads_that_begin_after_their_calls(
    threads: ThreadPoolExecutor, lists: Lists, hosts: Hosts
) -> None:
    first = begun(threads, lists, SDCS, hosts.now)
    lists.rows[SDCS] = [sdc("c", "c1")]
    others = [threads.submit(hosts.of, NODES["c"], (), fresh=True) for _ in range(CALLERS)]
    eventually(lambda: hosts._shared._next is not None)
    lists.release(CALLERS)
    assert set(first.result()) == {"a1", "b1"}
    assert {future.result()[0].id for future in others} == {"c1"}
    # A caller that came after the second read began needed a third one, and so on.
    assert 2 <= lists.reads(SDCS) <= CALLERS + 1


def test_a_host_that_is_missing_in_a_read_is_looked_for_in_one_that_began_after_the_call(
    threads: ThreadPoolExecutor, lists: Lists, hosts: Hosts
) -> None:
    first = begun(threads, lists, SDCS, lambda: id_of(hosts, "a"))
    lists.rows[SDCS].append(sdc("c", "c1"))
    second = threads.submit(id_of, hosts, "c")
    lists.release(2)
    assert first.result() == "a1"
    assert second.result() == "c1"
    assert lists.reads(SDCS) == 2


def test_a_read_that_began_before_the_hosts_were_forgotten_is_not_kept(
    threads: ThreadPoolExecutor, lists: Lists, hosts: Hosts
) -> None:
    first = begun(threads, lists, SDCS, lambda: id_of(hosts, "a"))
    lists.rows[SDCS] = [sdc("a", "a2"), sdc("b", "b1")]
    hosts.forget()
    lists.release()
    assert first.result() == "a1"
    lists.release()
    assert id_of(hosts, "a") == "a2"
    assert lists.reads(SDCS) == 2
    assert id_of(hosts, "b") == "b1"
    assert lists.reads(SDCS) == 2


def test_a_caller_that_comes_after_the_hosts_were_forgotten_does_not_get_the_read_before(
    threads: ThreadPoolExecutor, lists: Lists, hosts: Hosts
) -> None:
    first = begun(threads, lists, SDCS, lambda: id_of(hosts, "a"))
    lists.rows[SDCS] = [sdc("a", "a2")]
    hosts.forget()
    second = threads.submit(id_of, hosts, "a")
    lists.release(2)
    assert (first.result(), second.result()) == ("a1", "a2")


def test_a_host_that_is_created_during_a_read_is_known_afterwards(
    threads: ThreadPoolExecutor, lists: Lists, hosts: Hosts
) -> None:
    first = begun(threads, lists, SDCS, lambda: id_of(hosts, "a"))
    hosts.add(Host("n1", "n", Initiator.nvme(NQN), connected=False))
    lists.release()
    assert first.result() == "a1"
    assert [host.id for host in hosts.of(BOTH, ("n1",), fresh=False)] == ["a1", "n1"]
    assert hosts.by_id(("n1",))["n1"].name == "n"
    assert hosts.has_nvme
    assert lists.reads(SDCS) == 1


def test_a_host_that_is_created_between_two_reads_is_known_at_once(lists: Lists, hosts: Hosts) -> None:
    assert id_of(hosts, "a") == "a1"
    hosts.add(Host("n1", "n", Initiator.nvme(NQN), connected=False))
    assert [host.id for host in hosts.of(BOTH, ("n1",), fresh=False)] == ["a1", "n1"]
    assert "n1" in hosts.by_id(())
    assert "n1" not in hosts.now(), "the array does not have it any more"


def test_a_host_that_is_created_before_any_read_does_not_hide_the_others(lists: Lists, hosts: Hosts) -> None:
    hosts.add(Host("n1", "n", Initiator.nvme(NQN), connected=False))
    lists.rows[SDCS].append(nvme("n1"))
    assert set(hosts.by_id(())) == {"a1", "b1", "n1"}


def test_a_look_up_during_which_the_hosts_are_read_again_misses_no_host_of_a_node(lists: Lists) -> None:
    """The volume is mapped to the node's NVMe host, which the first read did not have."""
    interrupted: list[Callable[[], object]] = []

    def clock() -> float:
        # The look-up asks for the time after it has looked at the hosts.
        if interrupted:
            interrupted.pop()()
        return 0.0

    hosts = Hosts(SETTINGS, cast("Client", lists), clock)
    assert id_of(hosts, "a") == "a1"
    lists.rows[SDCS].append(nvme("n1"))
    interrupted.append(hosts.now)
    assert [host.id for host in hosts.of(BOTH, ("n1",), fresh=False)] == ["a1", "n1"]


def test_whether_there_are_nvme_hosts_is_what_the_array_said_last(lists: Lists, hosts: Hosts) -> None:
    seen = []
    for rows in ([nvme("n1")], []):
        lists.rows[SDCS] = rows
        hosts.now()
        seen.append(hosts.has_nvme)
    assert seen == [True, False]


def test_an_incomplete_node_is_looked_for_again_after_some_time(lists: Lists) -> None:
    now = [0.0]
    hosts = Hosts(SETTINGS, cast("Client", lists), lambda: now[0])
    for seconds, reads in ((0.0, 1), (HOST_SECONDS - 1, 1), (HOST_SECONDS, 2)):
        now[0] = seconds
        assert [host.id for host in hosts.of(BOTH, (), fresh=False)] == ["a1"]
        assert lists.reads(SDCS) == reads


def test_an_error_reaches_the_caller_that_read_and_the_others_share_another_read(
    threads: ThreadPoolExecutor, lists: Lists, hosts: Hosts
) -> None:
    lists.errors = [Unavailable("no answer")]
    first = begun(threads, lists, SDCS, lambda: id_of(hosts, "a"))
    second = threads.submit(id_of, hosts, "a")
    lists.release(2)
    with pytest.raises(Unavailable, match="no answer"):
        first.result()
    assert second.result() == "a1"
    assert lists.reads(SDCS) == 2


def test_a_caller_waits_for_the_read_of_another_no_longer_than_its_deadline(
    threads: ThreadPoolExecutor, lists: Lists, hosts: Hosts
) -> None:
    first = begun(threads, lists, SDCS, lambda: id_of(hosts, "a"))
    with call_context.background("test", 0.05), pytest.raises(DeadlineExceeded):
        id_of(hosts, "b")
    lists.release()
    assert first.result() == "a1"
    assert id_of(hosts, "b") == "b1"


def test_an_unknown_node_is_looked_for_at_each_call(lists: Lists, hosts: Hosts) -> None:
    for reads in (1, 2):
        with pytest.raises(NotFound):
            id_of(hosts, "c")
        assert lists.reads(SDCS) == reads


# --- pools ---------------------------------------------------------------------------------------


def test_callers_that_find_no_pools_share_one_read(
    threads: ThreadPoolExecutor, lists: Lists, pools: Pools
) -> None:
    before = misses("pools")
    first = begun(threads, lists, POOLS, lambda: pools.find("pd1", "sp1"))
    others = [threads.submit(pools.with_id, "p1") for _ in range(CALLERS)]
    lists.release(CALLERS)
    assert {pool.result().id for pool in (first, *others)} == {"p1"}
    assert (lists.reads(POOLS), lists.reads(DOMAINS)) == (1, 1)
    assert misses("pools") - before == 1


def test_a_read_that_began_before_the_pools_were_forgotten_is_not_kept(
    threads: ThreadPoolExecutor, lists: Lists, pools: Pools
) -> None:
    first = begun(threads, lists, POOLS, lambda: pools.find("pd1", "sp1"))
    lists.rows[POOLS] = [{"id": "p2", "name": "sp1", "protectionDomainId": "d1"}]
    pools.forget()
    second = threads.submit(pools.find, "pd1", "sp1")
    lists.release(2)
    assert (first.result().id, second.result().id) == ("p1", "p2")
    assert pools.find("pd1", "sp1").id == "p2"
    assert lists.reads(POOLS) == 2


def test_a_pool_that_is_created_during_a_read_is_found(
    threads: ThreadPoolExecutor, lists: Lists, pools: Pools
) -> None:
    first = begun(threads, lists, POOLS, pools.all)
    lists.rows[POOLS].append({"id": "p2", "name": "sp2", "protectionDomainId": "d1"})
    second = threads.submit(pools.find, None, "sp2")
    lists.release(2)
    assert [pool.id for pool in first.result()] == ["p1"]
    assert second.result().id == "p2"


def test_the_error_for_a_missing_pool_has_the_pools_of_its_own_read(lists: Lists, pools: Pools) -> None:
    with pytest.raises(InvalidArgument, match="has no storage pool 'sp2'; it has: pd1/sp1"):
        pools.find(None, "sp2")


# --- SDTs ----------------------------------------------------------------------------------------


def test_callers_that_find_no_sdts_share_one_read(threads: ThreadPoolExecutor, lists: Lists) -> None:
    lists.rows[SDTS] = [
        {"id": "t1", "protectionDomainId": "d1", "nvmePort": 4420, "sdtState": "Normal", "ipList": [
            {"ip": "192.0.2.1", "role": "StorageAndHost"}
        ]}
    ]  # fmt: skip
    targets = NvmeTargets(SETTINGS, cast("Client", lists))
    volume = cast("Volume", FakeVolume())

    def portals(_: int = 0) -> int:
        return len(targets.of(volume, "d1", "pd1").portals)

    first = begun(threads, lists, SDTS, portals)
    others = [threads.submit(portals) for _ in range(CALLERS)]
    lists.release(CALLERS)
    assert {first.result(), *(other.result() for other in others)} == {1}
    assert (lists.reads(SDTS), lists.reads("/api/version")) == (1, 1)


class FakeVolume:
    """What a target needs of a volume."""

    handle = VolumeHandle("5a1b2c3d4e5f600f", "b1f0000e00000000")
