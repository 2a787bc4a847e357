"""Connections that ask for nothing: the page goes on for those who do, and closes the others."""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from web.door import make_certificate
from web.stage import HERE, serving

from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web import patience
from gpuwarden.controller.web.serve import Door, Page

HALF = b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def page() -> Iterator[Page]:
    with serving(Board()) as running:
        yield running


def connected(page: Page) -> socket.socket:
    return socket.create_connection((page.address.host, page.address.port), timeout=3.0)


def closed(connection: socket.socket) -> bool:
    """By the other side, before the socket's timeout; what came before is read away."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("said", [b"", HALF], ids=["nothing", "half a request"])
def test_beside_200_connections_that_wait_everybody_is_served(page: Page, said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ASK_WITHIN_S", 60.0)  # far more than twenty answers take on a busy machine
    with ExitStack() as opened:
        for _ in range(200):
            opened.enter_context(connected(page)).sendall(said)
        began_s = time.monotonic()
        for _ in range(20):
            assert httpx.get(page.url + "-/healthy", trust_env=False).status_code == 200
        assert time.monotonic() - began_s < patience.ASK_WITHIN_S, "no waiting for the others' time to be over"


def test_what_is_under_way_is_not_cut_off_by_those_who_come_and_wait(page: Page) -> None:
    with httpx.stream("GET", page.url + "events", trust_env=False) as stream, ExitStack() as opened:
        lines = stream.iter_lines()
        next(lines)
        for _ in range(200):
            opened.enter_context(connected(page))
        for _ in range(5):
            next(lines)


@pytest.mark.parametrize("before", [b"", HALF + b"\r\n"], ids=["first", "second"])
@pytest.mark.parametrize("said", [b"", HALF], ids=["nothing", "half a request"])
def test_who_does_not_ask_in_time_is_cut_off(page: Page, monkeypatch: pytest.MonkeyPatch, before: bytes, said: bytes) -> None:
    monkeypatch.setattr(patience, "ASK_WITHIN_S", 0.3)
    with connected(page) as connection:
        connection.sendall(before + said)
        assert closed(connection)


def test_so_it_is_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "ASK_WITHIN_S", 0.3)
    tls = make_certificate(tmp_path / "tls")
    context = ssl.create_default_context(cafile=tls.cert_file)
    with serving(Board(), HERE, Door(tls=tls)) as page, context.wrap_socket(connected(page), server_hostname="127.0.0.1") as connection:
        assert closed(connection)


def test_one_address_elsewhere_has_a_part_of_the_room(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "MOST_OF_ONE_ADDRESS", 3)
    with ExitStack() as opened:
        for _ in range(3):
            opened.enter_context(connected(page))
        assert httpx.get(page.url + "-/healthy", trust_env=False).status_code == 200, "loopback may have others behind it"
        monkeypatch.setattr(patience, "ip_address", lambda _: ipaddress.ip_address("192.0.2.7"))
        assert closed(opened.enter_context(connected(page)))
