"""A card falls off the bus, in separate processes: the detector says so, which is one witness, and the agent's test of the node is the second."""

import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from services import stack
from services.kafka import Broker

from gpuwarden.cli.main import main
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub

pytestmark = pytest.mark.timeout(300)

NEEDS_W = 500.0  # more than an equal share of the budget
ISOLATION = """[isolation]
blast_nodes = 2
[[isolation.groups]]
name = "a"
nodes = ["a"]
isolation = "auto"
probe = "strong"
[[isolation.groups]]
name = "b"
nodes = ["b"]
isolation = "auto"
probe = "weak"
"""
# Notes that it has begun and with what, and goes on until it is told how to end.
PROGRAM = """#!{python}
import pathlib, sys, time
folder = pathlib.Path({folder!r})
with (folder / "begun").open("a") as begun:
    begun.write(f"{{sys.argv[1:]}}\\n")
while not (folder / "status").exists():
    time.sleep(0.05)
print("a word of the site")
sys.exit(int((folder / "status").read_text()))
"""


@pytest.fixture(scope="module")
def row(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    folder = tmp_path_factory.mktemp("row")
    program = folder / "program"
    program.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    probes = "".join(
        f'[[probes]]\nname = "{name}"\nkind = "command"\nargv = ["{program}", "a word; and more"]\ndeadline_s = 120\nneeds_w = {needs_w}\n'
        for name, needs_w in (("strong", NEEDS_W), ("weak", 0.0))  # a node with a lost card counts at its worst: power for another test may then not be had
    )
    plan = stack.Plan(
        ("a", "b"), 'name = "row"\nrating_w = 12000\nmode = "auto"\ndead_nodes = 0\npolicy = "headroom"\n', kafka_broker.bootstrap, events=True, controller_tables=ISOLATION,
        agent_tables=probes, lease_s=12.0,  # none ends, however busy the machine
    )
    with stack.running(folder, plan) as running:
        for gpus in running.gpus.values():
            gpus.set_demands(650.0)
        yield running


def wait_until(true: Callable[[], object], timeout_s: float = 60.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.1)


def seen(row: stack.Stack, node: str) -> pb.IsolatedNode | None:
    try:
        with grpc.insecure_channel(row.server) as channel:
            isolation = ControlServiceStub(channel).GetIsolation(pb.GetIsolationRequest(), timeout=5.0).isolation
    except grpc.RpcError:  # it is just being started
        return None
    return next((one for one in isolation.nodes if one.name == node), None)


def ledger(row: stack.Stack) -> list[pb.Action]:
    with grpc.insecure_channel(row.server) as channel:
        return list(ControlServiceStub(channel).ListActions(pb.ListActionsRequest(page_size=1000), timeout=5.0).actions)


def begun(row: stack.Stack) -> list[str]:
    file = row.folder / "begun"
    return file.read_text().splitlines() if file.exists() else []


def lowest_w(row: stack.Stack, node: str) -> float:
    """Of the limits of its cards but the one that is lost."""
    return min(row.gpus[node].limit_w(gpu) for gpu in range(8) if gpu != 3)


def test_a_lost_card_and_a_test_that_fails_take_the_node_out_once_though_the_controller_is_killed_meanwhile(row: stack.Stack) -> None:
    """The agent begins once its limits are as high as the test needs them, for which the controller sets power aside, and tells the next controller."""
    wait_until(lambda: 250.0 < lowest_w(row, "a") < NEEDS_W - 20.0)
    row.gpus["a"].lose(3)
    wait_until(lambda: begun(row))
    assert lowest_w(row, "a") >= NEEDS_W - 1.0
    row.kill("controller")
    (row.folder / "status").write_text("1")
    row.start_controller()
    wait_until(lambda: (node := seen(row, "a")) is not None and node.state == "repairing")
    lines = ledger(row)
    kinds = [line.kind for line in reversed(lines) if line.kind in ("probe", "drain") and line.performed]
    assert kinds == ["probe", "drain"]
    assert begun(row) == ["['a word; and more']"]
    assert any("strong failed" in line.reason and "it ended with status 1: a word of the site" in line.reason for line in lines)
    assert any("drain a (q1)" in line.reason and "(borne out by a test)" in line.reason for line in lines)
    assert seen(row, "b") is None


def test_an_agent_that_is_killed_leaves_no_test_behind_and_begins_none_when_it_is_back(row: stack.Stack) -> None:
    for left in ("begun", "status"):
        (row.folder / left).unlink()
    row.gpus["b"].lose(0)
    wait_until(lambda: begun(row))
    program = str(row.folder / "program").encode()
    assert running(program)
    row.kill("agent-b")
    wait_until(lambda: not running(program), 20.0)  # at once, if the machine has nothing else to do
    row.start_agent("b")
    wait_until(lambda: (node := seen(row, "b")) is not None and node.state == "confirming")
    time.sleep(3.0)
    assert len(begun(row)) == 1
    for log in row.folder.glob("*.log"):
        assert "Traceback" not in log.read_text(), log.name
    row.stop()
    for part in ("agent-a", "agent-b", "isolation"):
        for log in (row.folder / "events").glob(f"{part}*.jsonl"):
            assert main(["replay", str(log)]) == 0, log.name


def running(program: bytes) -> list[str]:
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if program in words[1:2]:  # the interpreter comes first
            found.append(line.parent.name)
    return found
