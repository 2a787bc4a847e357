"""An upgrade while jobs run, in separate processes on simulated cards: control plane first, then `dead_nodes` nodes at a time; and back."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from services import stack

from gpuwarden.core.version import VERSION
from gpuwarden.proto.control_pb2 import ListNodesRequest, Node
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub

NODES = ("a", "b", "c")
FLOOR_W, DEFAULT_W, GPUS = 200.0, 700.0, 8
BUDGET_W = 24_000.0
LEASE_S = 12.0  # a controller starts within it, however busy the machine
OLD, NEW = VERSION, stack.NEXT_VERSION


class Watched:
    """Looks at every card's limit twenty times a second: what the row might draw, and the lowest limit of each node."""

    def __init__(self, row: stack.Stack) -> None:
        self._row, self._stop = row, threading.Event()
        self.looks: list[dict[str, list[float]]] = []
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            self.looks.append({node: [self._row.gpus[node].limit_w(gpu) for gpu in range(GPUS)] for node in NODES})

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def most_w(self) -> float:
        return max(sum(2300.0 + 1.1 * sum(limits_w) for limits_w in look.values()) for look in self.looks)

    def lowest_w(self, node: str) -> float:
        return min(min(look[node]) for look in self.looks)


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    domain = f'name = "row"\nrating_w = {BUDGET_W}\nmode = "auto"\ndead_nodes = 1\n'
    with stack.running(tmp_path_factory.mktemp("row"), stack.Plan(NODES, domain, lease_s=LEASE_S)) as running:
        for gpus in running.gpus.values():
            gpus.set_demands(650.0)
        yield running


@pytest.fixture
def watched(row: stack.Stack) -> Iterator[Watched]:
    wait_until(lambda: all(granted(row, node) for node in NODES))
    made = Watched(row)
    yield made
    made.close()


def wait_until(true: Callable[[], bool], timeout_s: float = 40.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def granted(row: stack.Stack, node: str) -> bool:
    """Under a lease: between the floor and the driver's default."""
    limits_w = [row.gpus[node].limit_w(gpu) for gpu in range(GPUS)]
    return min(limits_w) > FLOOR_W + 50.0 and max(limits_w) < DEFAULT_W


def nodes(row: stack.Stack) -> dict[str, Node]:
    with grpc.insecure_channel(row.server) as channel:
        return {node.name: node for node in ControlServiceStub(channel).ListNodes(ListNodesRequest(), timeout=5.0).nodes}


def speaks(row: stack.Stack, node: str, version: str) -> bool:
    """Its agent and its limiter are of that release, and the controller hears both."""
    try:
        heard = nodes(row)[node]
    except grpc.RpcError as why:
        assert why.code() is grpc.StatusCode.UNAVAILABLE  # it has just started
        return False
    return (heard.agent_version, heard.limiter_version) == (version, version)


def restart_controller(row: stack.Stack) -> None:
    row.end("controller")
    row.start_controller()


def restart_node(row: stack.Stack, node: str) -> None:
    """As `systemctl restart` does: the old ones end, and the limiter leaves the floor behind."""
    for name in (f"agent-{node}", f"limiter-{node}"):
        row.end(name)
    assert max(row.gpus[node].limit_w(gpu) for gpu in range(GPUS)) <= FLOOR_W
    row.start_limiter(node)
    row.start_agent(node)


def held(watched: Watched) -> None:
    """Within the budget at every look."""
    assert len(watched.looks) > 20
    assert watched.most_w() <= BUDGET_W


def test_the_next_controller_takes_over_from_this_one_and_no_node_loses_its_grant(row: stack.Stack, watched: Watched) -> None:
    row.release = stack.NEXT_RELEASE
    restart_controller(row)
    wait_until(lambda: all(speaks(row, node, OLD) and granted(row, node) for node in NODES))
    time.sleep(LEASE_S + 1.0)
    assert all(watched.lowest_w(node) > FLOOR_W for node in NODES)
    held(watched)


def test_agents_of_the_next_release_come_one_at_a_time_and_the_others_stay_above_the_floor(row: stack.Stack, watched: Watched) -> None:
    for done, node in enumerate(NODES, start=1):
        restart_node(row, node)
        wait_until(lambda node=node: speaks(row, node, NEW) and granted(row, node))  # type: ignore[misc]  # binds now
        assert all(watched.lowest_w(other) > FLOOR_W for other in NODES[done:])
    held(watched)


def test_back_to_this_release_nodes_first(row: stack.Stack, watched: Watched) -> None:
    row.release = stack.THIS_RELEASE
    for node in NODES[:2]:
        restart_node(row, node)
        wait_until(lambda node=node: speaks(row, node, OLD) and granted(row, node))  # type: ignore[misc]  # binds now
    held(watched)


def test_this_controller_serves_agents_of_the_next_release(row: stack.Stack, watched: Watched) -> None:
    row.release = stack.THIS_RELEASE
    restart_controller(row)
    wait_until(lambda: speaks(row, "a", OLD) and speaks(row, "c", NEW) and all(granted(row, node) for node in NODES))
    time.sleep(LEASE_S + 1.0)
    held(watched)


def test_logs_tell_of_no_accident(row: stack.Stack) -> None:
    for log in Path(row.folder).glob("*.log"):
        assert "Traceback" not in log.read_text(), log.name
