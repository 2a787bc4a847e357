"""Limiter and agent on one Unix socket: frames arrive whole, the newest agent has it, and garbage ends only its sender."""

import queue
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuwarden.agent.events import Event, FromLimiter, LimiterLink
from gpuwarden.agent.limiter.agent_socket import AgentSocket
from gpuwarden.agent.limiter.frames import MAX_FRAME_BYTES, MAX_GRANT_BYTES, read_frame, write_frame
from gpuwarden.agent.relay import LimiterRelay
from gpuwarden.core.config import ConfigError


@pytest.fixture
def arrived() -> "queue.Queue[bytes]":
    return queue.Queue()


@pytest.fixture
def limiter(tmp_path: Path, arrived: "queue.Queue[bytes]") -> Iterator[AgentSocket]:
    made = AgentSocket(tmp_path / "run" / "limiter.sock", "", arrived.put)
    yield made
    made.close()


@pytest.fixture
def path(limiter: AgentSocket, tmp_path: Path) -> Path:
    return tmp_path / "run" / "limiter.sock"


def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(5.0)
    connection.connect(str(path))
    return connection


def send_until_heard(limiter: AgentSocket, connection: socket.socket, body: bytes) -> bytes | None:
    """The limiter knows of a connection only when its thread has accepted it."""
    connection.settimeout(0.1)
    for _ in range(50):
        limiter.send(body)
        try:
            return read_frame(connection)
        except TimeoutError:
            continue
    raise AssertionError("nothing came")


def test_frames_go_both_ways_whole(limiter: AgentSocket, path: Path, arrived: "queue.Queue[bytes]") -> None:
    with connect(path) as agent:
        for body in (b"grant", b"x" * MAX_GRANT_BYTES):
            assert write_frame(agent, body)
            assert arrived.get(timeout=5.0) == body
        for body in (b"report", b"x" * MAX_FRAME_BYTES):
            assert send_until_heard(limiter, agent, body) == body


def test_only_owner_and_group_may_connect(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_the_newest_agent_has_the_socket(limiter: AgentSocket, path: Path) -> None:
    with connect(path) as older:
        send_until_heard(limiter, older, b"1")
        with connect(path) as newer:
            assert send_until_heard(limiter, newer, b"2") == b"2"
            older.settimeout(5.0)
            while (body := read_frame(older)) is not None:
                assert body == b"2"  # what left before the newer one was accepted


def test_garbage_ends_the_connection_and_the_next_one_is_served(
    limiter: AgentSocket, path: Path, arrived: "queue.Queue[bytes]"
) -> None:
    with connect(path) as liar:
        liar.sendall(b"\xff\xff\xff\xff garbage")
        with pytest.raises((ConnectionError, AssertionError)):
            assert read_frame(liar) is not None
    with connect(path) as agent:
        write_frame(agent, b"grant")
        assert arrived.get(timeout=5.0) == b"grant"


def test_an_agent_that_does_not_read_never_makes_the_limiter_wait(limiter: AgentSocket, path: Path) -> None:
    with connect(path) as agent:
        send_until_heard(limiter, agent, b"1")
        start_s = time.monotonic()
        for _ in range(2000):
            limiter.send(b"x" * 1000)
        assert time.monotonic() - start_s < 2.0


def test_a_group_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="socket_group 'no-such-group'"):
        AgentSocket(tmp_path / "limiter.sock", "no-such-group", print)


def test_the_agents_relay_comes_back_when_the_limiter_does(tmp_path: Path, arrived: "queue.Queue[bytes]") -> None:
    path, told = tmp_path / "limiter.sock", queue.Queue[Event]()
    relay = LimiterRelay(path, told.put)
    for round_trip in (b"1", b"2"):
        limiter = AgentSocket(path, "", arrived.put)
        assert told.get(timeout=5.0) == LimiterLink(True)
        relay.send(round_trip)
        assert arrived.get(timeout=5.0) == round_trip
        limiter.send(b"report")
        assert told.get(timeout=5.0) == FromLimiter(b"report")
        limiter.close()
        assert told.get(timeout=5.0) == LimiterLink(False)
    relay.close()


def test_a_socket_that_somebody_else_made_is_used_and_left_in_place(tmp_path: Path, arrived: "queue.Queue[bytes]") -> None:
    path = tmp_path / "limiter.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        limiter = AgentSocket(tmp_path / "another", "no-such-group", arrived.put, listener)
        with connect(path) as agent:
            assert write_frame(agent, b"grant")
            assert arrived.get(timeout=5.0) == b"grant"
        limiter.close()
    assert path.exists() and not (tmp_path / "another").exists()
