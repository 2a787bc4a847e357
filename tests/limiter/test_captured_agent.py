"""An agent that somebody has taken over can withhold, and nothing else: it delays no lease, fills no log and blocks no report."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from limiter.test_limiter_machine import FLOOR_W, LEASE_S, Node, reporting

from gpuwarden.agent.limiter.agent_socket import AgentSocket
from gpuwarden.agent.limiter.events import Action, Directive, Event, PowerRead, SendReport, SetLimits
from gpuwarden.agent.limiter.frames import MAX_FRAME_BYTES, MAX_GRANT_BYTES
from gpuwarden.agent.limiter.main import INBOX_EVENTS
from gpuwarden.core.service import Inbox, serve
from gpuwarden.proto.lease_pb2 import Sealed


def frame(body_bytes: int) -> bytes:
    """A directive that nobody has sealed, as large as that."""
    body = Sealed(node="x" * (body_bytes - 10)).SerializeToString()
    return len(body).to_bytes(4, "big") + body


# In a process of its own, as agents are: it shares no lock of the interpreter with the limiter.
FLOOD = """
import contextlib, socket, sys
path, each_anew = sys.argv[1], sys.argv[2] == "True"
said = sys.stdin.buffer.read()
while True:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
        agent.connect(path)
        agent.sendall(said)
        while not each_anew:
            agent.sendall(said)
"""

FLOODS = {
    "small frames": (100, False),
    "the largest frames": (MAX_GRANT_BYTES, False),
    "frames that are too large": (60_000, False),
    "ever new connections": (100, True),
}


READ = (FLOODS["small frames"], FLOODS["the largest frames"])  # of the others a newer connection, or the size, may leave nothing to be heard
START_S = 0.1  # the flood may have begun so long before it is counted


@contextlib.contextmanager
def under(flood: tuple[int, bool], path: Path) -> Iterator[None]:
    body_bytes, each_anew = flood
    agent = subprocess.Popen([sys.executable, "-c", FLOOD, str(path), str(each_anew)], stdin=subprocess.PIPE)
    assert agent.stdin is not None
    with agent.stdin:
        agent.stdin.write(frame(body_bytes) * 20)
    try:
        yield
    finally:
        agent.kill()
        agent.wait()


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_waits_in_the_agents_own_socket(flood: tuple[int, bool], tmp_path: Path) -> None:
    arrived: list[bytes] = []
    limiter = AgentSocket(tmp_path / "socket", "", arrived.append)
    with under(flood, tmp_path / "socket"):
        start_s = time.monotonic()
        time.sleep(1.0)
        assert len(arrived) <= 1 + (time.monotonic() - start_s + START_S) / 0.01
    limiter.close()
    assert arrived or flood not in READ


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_under_a_flood_little_waits_in_the_inbox_and_a_lease_ends_when_it_should(flood: tuple[int, bool], tmp_path: Path) -> None:
    """The limiter's own socket, inbox, loop and machine; a thread in place of the driver."""
    node, inbox, stop = reporting(), Inbox[Event](INBOX_EVENTS), threading.Event()
    node.grant()
    ended_s, waiting = list[float](), list[int]()
    start_s = time.monotonic() - (LEASE_S - 2.0)

    def clock() -> float:
        return node.now_s + time.monotonic() - start_s

    def perform(action: Action) -> None:
        if isinstance(action, SetLimits) and action.limits_w == (FLOOR_W, FLOOR_W):
            ended_s.append(clock())

    def tick() -> None:
        while not stop.wait(0.1):
            waiting.append(len(inbox))
            inbox.offer(PowerRead(node.power_w))

    limiter = AgentSocket(tmp_path / "socket", "", lambda sealed: inbox.offer(Directive(sealed)))
    ticker = threading.Thread(target=tick)
    loop = threading.Thread(target=serve, args=(node.limiter, inbox, perform, clock, stop))
    with under(flood, tmp_path / "socket"):
        for thread in (ticker, loop):
            thread.start()
        time.sleep(3.0)
        stop.set()
    for thread in (ticker, loop):
        thread.join()
    limiter.close()
    assert max(waiting) < 100
    lease = node.limiter.lease
    assert lease is not None and ended_s and ended_s[0] - lease.ends_s < 0.8, (ended_s, lease.ends_s)
    assert node.limiter._refusals or flood not in READ


def test_a_lease_ends_with_whatever_is_heard_next() -> None:
    node = reporting()
    node.grant()
    node.now_s += LEASE_S + 0.01
    node.perform(node.limiter.step(node.now_s, Directive(b"garbage")))
    assert node.limits_w == (FLOOR_W, FLOOR_W)


def refusals(node: Node) -> list[str]:
    return [sentence for sentence in node.said() if sentence.startswith("directive refused")]


def test_a_refusal_is_as_short_as_a_report_can_bear() -> None:
    node = reporting()
    node.perform(node.limiter.step(node.now_s, Directive(frame(MAX_FRAME_BYTES)[4:])))
    node.run(1.2)
    assert "node: is 'xxxx" in node.reports()[-1].refusal
    assert max(len(a.sealed) for a in node.done if isinstance(a, SendReport)) < 1000
    assert len(refusals(node)[0]) < 300


def test_the_controllers_own_words_are_cut_too() -> None:
    node = reporting()
    node.grant(echo_limiter_start="x" * MAX_FRAME_BYTES)
    assert len(refusals(node)[0]) < 300
    node.run(0.2)
    assert node.reports()[-1].refusal.startswith("echo_limiter_start: answers a report of 'xxx")


def test_refusals_are_counted_all_and_said_ever_more_rarely() -> None:
    node = reporting()
    for _ in range(1000):
        node.perform(node.limiter.step(node.now_s, Directive(b"garbage")))
    node.run(1.1)
    assert len(refusals(node)) == 10
    assert node.reports()[-1].refusals == 1000
