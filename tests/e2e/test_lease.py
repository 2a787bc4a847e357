"""Limiter and agent as real processes on simulated GPUs, under a controller of the test's own: a grant is obeyed while its lease runs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from fakes.nvml.steer import FakeNode

from gpuwarden.agent.limiter import events as limiter_events
from gpuwarden.agent.limiter import machine as limiter_machine
from gpuwarden.core.eventlog import read_head, read_steps, replay
from gpuwarden.core.plain import Reader
from gpuwarden.core.seal import Way, seal, unseal
from gpuwarden.proto.control_pb2 import SessionRequest, SessionResponse, Welcome
from gpuwarden.proto.control_pb2_grpc import AgentServiceServicer, add_AgentServiceServicer_to_server
from gpuwarden.proto.lease_pb2 import Grant, Mode, PowerReport, Sealed

NODE, GPUS, KEY = "n1", 8, bytes(range(32))
FLOOR_W, LEASE_S = 200.0, 3.0


@dataclass
class Granting(AgentServiceServicer):
    """Answers every report with a grant of `limit_w` for each GPU, or of nothing while it is None."""

    limit_w: float | None = None
    mode: "Mode.ValueType" = Mode.MODE_AUTO
    flip: bool = False  # one byte of each grant, as a lying agent could
    reports: list[PowerReport] = field(default_factory=list)
    sessions: int = 0
    sequence: int = 0

    def Session(self, request_iterator: Iterator[SessionRequest], context: grpc.ServicerContext) -> Iterator[SessionResponse]:
        hello = next(request_iterator).hello
        assert hello.node == NODE
        self.sessions += 1
        yield SessionResponse(welcome=Welcome(version=1))
        for request in request_iterator:
            sealed = request.report.SerializeToString()
            self.reports.append(PowerReport.FromString(unseal(KEY, Way.UP, NODE, sealed)))
            if self.limit_w is not None:
                yield SessionResponse(grant=self._grant(self.reports[-1]))

    def _grant(self, report: PowerReport) -> Sealed:
        assert self.limit_w is not None
        self.sequence += 1
        grant = Grant(
            version=1, node=NODE, epoch=3, controller_id="test", sequence=self.sequence,
            echo_limiter_start=report.limiter_start, echo_stamp_s=report.stamp_s, lease_s=LEASE_S,
            limits_w=[self.limit_w] * len(report.cards), mode=self.mode,
        )
        sealed = Sealed.FromString(seal(KEY, Way.DOWN, NODE, grant.SerializeToString()))
        if self.flip:
            sealed.payload = sealed.payload[:-1] + bytes([sealed.payload[-1] ^ 1])
        return sealed


@dataclass
class Node:
    """One node's two processes."""

    folder: Path
    gpus: FakeNode
    controller: Granting
    port: int
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, daemon: str) -> None:
        command = [sys.executable, "-m", "gpuwarden.cli", daemon, "--config", str(self.folder / f"{daemon}.toml")]
        command += ["--events", str(self.folder / "events")]
        with (self.folder / f"{daemon}.log").open("ab") as log:
            self.running[daemon] = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **self.gpus.env()})

    def end(self, daemon: str, how: int = signal.SIGTERM) -> float:
        """Seconds that it took to end."""
        start_s = time.monotonic()
        self.running[daemon].send_signal(how)
        self.running[daemon].wait(10.0)
        return time.monotonic() - start_s

    def limits_w(self) -> list[float]:
        return [self.gpus.limit_w(gpu) for gpu in range(GPUS)]

    def log(self, daemon: str) -> str:
        return (self.folder / f"{daemon}.log").read_text()


def wait_until(true: Callable[[], bool], timeout_s: float) -> float:
    start_s = time.monotonic()
    while not true():
        assert time.monotonic() - start_s < timeout_s
        time.sleep(0.02)
    return time.monotonic() - start_s


@pytest.fixture
def controller() -> Iterator[tuple[Granting, int]]:
    server, granting = grpc.server(ThreadPoolExecutor(4)), Granting()
    add_AgentServiceServicer_to_server(granting, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield granting, port
    server.stop(0.2).wait()


@pytest.fixture
def node(controller: tuple[Granting, int], tmp_path: Path) -> Iterator[Node]:
    (tmp_path / "key").touch(0o600)
    (tmp_path / "key").write_text(KEY.hex())
    (tmp_path / "limiter.toml").write_text(
        f'node = "{NODE}"\nkey_file = "{tmp_path}/key"\nsocket = "{tmp_path}/sock"\nstate_file = "{tmp_path}/state"\nfloor_w = {FLOOR_W}\n'
    )
    (tmp_path / "agent.toml").write_text(
        f'node = "{NODE}"\ncontroller = "127.0.0.1:{controller[1]}"\nlimiter_socket = "{tmp_path}/sock"\ncollectors = ["host"]\n'
        '[bus]\nbootstrap = ["127.0.0.1:1"]\n'  # nobody is there: power control must not mind
    )
    with FakeNode(tmp_path / "gpus", gpus=GPUS) as gpus:
        gpus.set_demands(650.0)
        made = Node(tmp_path, gpus, *controller)
        made.start("limiter")
        made.start("agent")
        yield made
        made.controller.limit_w = None
        for process in made.running.values():
            process.kill()
            process.wait()


def obeyed(node: Node, limit_w: float) -> bool:
    return node.limits_w() == [limit_w] * GPUS


def test_a_grant_is_obeyed_and_read_back_and_the_draw_follows(node: Node) -> None:
    node.controller.limit_w = 400.0
    wait_until(lambda: obeyed(node, 400.0), 30.0)
    wait_until(lambda: node.controller.reports[-1].confirmed_for_s >= 1.0, 5.0)
    report = node.controller.reports[-1]
    assert [card.enforced_w for card in report.cards] == [400.0] * GPUS
    assert report.epoch == 3 and report.grant.sequence > 0
    assert report.applied.echo_s <= report.applied.received_s <= report.applied.set_s
    assert all(node.gpus.true_power_w(gpu) <= 410.0 for gpu in range(GPUS))


def test_a_killed_agent_leads_to_the_floor_within_the_lease_and_a_second_and_a_new_one_takes_over(node: Node) -> None:
    node.controller.limit_w = 500.0
    wait_until(lambda: obeyed(node, 500.0), 30.0)
    node.end("agent", signal.SIGKILL)
    took_s = wait_until(lambda: obeyed(node, FLOOR_W), LEASE_S + 1.0)
    print(f"agent killed: {GPUS} GPUs at the floor after {took_s:.2f} s of {LEASE_S + 1.0:g} s")
    node.start("agent")
    wait_until(lambda: obeyed(node, 500.0), 30.0)


def test_a_grant_with_one_flipped_bit_changes_nothing_and_is_told(node: Node) -> None:
    node.controller.flip, node.controller.limit_w = True, 300.0
    wait_until(lambda: bool(node.controller.reports and node.controller.reports[-1].refusal), 30.0)
    assert "seal: does not match" in node.controller.reports[-1].refusal
    assert obeyed(node, 700.0)


def test_a_killed_limiter_sets_the_floor_as_soon_as_it_is_back(node: Node) -> None:
    node.controller.limit_w = 500.0
    wait_until(lambda: obeyed(node, 500.0), 30.0)
    node.controller.limit_w = None
    node.end("limiter", signal.SIGKILL)
    node.start("limiter")
    wait_until(lambda: obeyed(node, FLOOR_W), 10.0)


def test_asked_to_stop_both_end_within_five_seconds_and_the_floor_is_left(node: Node) -> None:
    node.controller.limit_w = 500.0
    wait_until(lambda: obeyed(node, 500.0), 30.0)
    assert node.end("limiter") < 5.0
    assert obeyed(node, FLOOR_W)
    assert node.end("agent") < 5.0
    assert "Traceback" not in node.log("limiter") + node.log("agent")


def test_leaving_auto_gives_every_card_its_default_back(node: Node) -> None:
    node.controller.limit_w = 500.0
    wait_until(lambda: obeyed(node, 500.0), 30.0)
    node.controller.mode = Mode.MODE_OBSERVE
    wait_until(lambda: obeyed(node, 700.0), 5.0)


def test_a_hung_driver_is_told_and_the_lease_still_ends_once_it_answers(node: Node) -> None:
    node.controller.limit_w = 500.0
    wait_until(lambda: obeyed(node, 500.0), 30.0)
    node.gpus.hang(True)
    wait_until(lambda: node.controller.reports[-1].driver_hung, 10.0)
    assert not node.controller.reports[-1].HasField("confirmed_for_s")
    node.controller.limit_w = None
    time.sleep(LEASE_S)
    node.gpus.hang(False)
    wait_until(lambda: obeyed(node, FLOOR_W), 10.0)


def test_somebody_elses_limit_and_a_reloaded_driver_are_corrected_within_two_seconds(node: Node) -> None:
    node.controller.limit_w = 400.0
    wait_until(lambda: obeyed(node, 400.0), 30.0)
    wait_until(lambda: node.controller.reports[-1].HasField("confirmed_for_s"), 5.0)
    node.gpus.reset_limits(650.0)
    wait_until(lambda: obeyed(node, 400.0), 2.0)
    wait_until(lambda: node.controller.reports[-1].foreign_changes == 1, 2.0)
    node.gpus.reload_driver()
    assert obeyed(node, 700.0)
    wait_until(lambda: obeyed(node, 400.0), 2.0)


def test_the_limiters_event_log_decides_the_same_again(node: Node) -> None:
    node.controller.limit_w = 400.0
    wait_until(lambda: obeyed(node, 400.0), 30.0)
    node.end("limiter")
    (path,) = (node.folder / "events").glob("limiter-*.jsonl")
    types = [t for module in (limiter_events, limiter_machine) for t in vars(module).values() if isinstance(t, type)]
    setup = Reader(types).read(read_head(path)[1])
    steps = list(replay(read_steps(path, Reader(types)), lambda: limiter_machine.Limiter(setup, KEY)))
    assert len(steps) > 4 and all(step.same for step in steps)
