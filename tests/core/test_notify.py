"""What a daemon tells its service manager, on a real socket, and when."""

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuwarden.core.handed import handed_sockets
from gpuwarden.core.notify import Supervisor


class Clock:
    """Seconds, as the test says."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@gpuwarden-test-{secrets.token_hex(8)}"


@pytest.fixture
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind("\0" + address[1:] if address.startswith("@") else address)
        made.setblocking(False)
        yield made


def heard(listening: socket.socket) -> list[str]:
    """Every message so far."""
    messages = []
    while True:
        try:
            messages.append(listening.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_ready_is_said_once_with_its_sentence_and_a_sentence_only_when_it_is_another(listening: socket.socket, address: str) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": address})
    supervisor.status("waits")
    supervisor.status("waits")
    supervisor.ready("8 cards")
    supervisor.ready("8 cards")
    supervisor.ready("7 cards")
    supervisor.stopping()
    assert heard(listening) == ["STATUS=waits", "READY=1\nSTATUS=8 cards", "STATUS=7 cards", "STOPPING=1"]


def test_a_loop_that_turns_pings_at_half_of_the_watchdogs_time(listening: socket.socket, address: str) -> None:
    clock = Clock()
    supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}, clock)
    supervisor.ready("works")
    heard(listening)
    pinged_s = []
    for _ in range(24):
        supervisor.turned()
        pinged_s += [clock.now_s - 100.0 for message in heard(listening) if message == "WATCHDOG=1"]
        clock.now_s += 0.125
    assert pinged_s == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_before_it_is_ready_a_loop_that_turns_asks_for_more_time(listening: socket.socket, address: str) -> None:
    clock = Clock()
    supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}, clock)
    for _ in range(50):
        supervisor.turned()
        clock.now_s += 0.1
    assert heard(listening) == ["EXTEND_TIMEOUT_USEC=10000000"] * 3


def test_a_watchdog_of_another_process_is_not_fed(listening: socket.socket, address: str) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
    supervisor.ready("works")
    supervisor.turned()
    assert heard(listening) == ["READY=1\nSTATUS=works"]


def test_without_a_service_manager_nothing_is_told_and_nothing_is_handed_over(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}):
        supervisor = Supervisor(environ)
        supervisor.ready("works")
        supervisor.turned()
        supervisor.stopping()
    assert handed_sockets({}) == [] and handed_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == []
