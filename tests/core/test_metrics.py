"""A daemon's metrics page."""

import shutil
import socket
import ssl
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from services.port import free_port

from gpuwarden.cli.authority import Authority
from gpuwarden.core.address import Address
from gpuwarden.core.metrics import serve_metrics
from gpuwarden.core.metrics_server import MOST_AT_ONCE
from gpuwarden.core.tls import CA, CERTIFICATE, KEY, LOOK_S


def test_the_page_tells_version_and_part_and_ends_when_closed() -> None:
    listen = Address("127.0.0.1", free_port())
    close = serve_metrics("limiter", listen, None)
    with urlopen(f"http://{listen}/metrics", timeout=5.0) as page:
        text = page.read().decode()
    close()
    assert 'gpuwarden_build_info{part="limiter",version="' in text
    with pytest.raises(URLError):
        urlopen(f"http://{listen}/metrics", timeout=5.0)


def scraped(listen: Address, folder: Path, certificate: bool = True) -> str:
    context = ssl.create_default_context(cafile=folder / CA)
    if certificate:
        context.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    with urlopen(f"https://localhost:{listen.port}/metrics", timeout=5.0, context=context) as page:
        text: str = page.read().decode()
    return text


def test_with_certificates_only_who_shows_one_scrapes_and_idle_connections_hold_nobody_up(tmp_path: Path) -> None:
    authority, listen = Authority(tmp_path / "ca"), Address("127.0.0.1", free_port())
    served = authority.leaf("agent", "n1", "spiffe://gpuwarden/agent/n1", ("localhost",), 1.0)
    viewer = authority.leaf("viewer", "prometheus", "spiffe://gpuwarden/viewer/prometheus", (), 1.0)
    stranger = Authority(tmp_path / "other").leaf("viewer", "eve", "spiffe://gpuwarden/viewer/eve", (), 1.0)
    (stranger / CA).write_bytes((viewer / CA).read_bytes())
    close = serve_metrics("agent", listen, served)
    with ExitStack() as idle:
        for _ in range(100):
            idle.enter_context(socket.create_connection((listen.host, listen.port), timeout=5.0))
        assert "gpuwarden_build_info" in scraped(listen, viewer)
        for refused in (lambda: scraped(listen, viewer, certificate=False), lambda: scraped(listen, stranger)):
            with pytest.raises((URLError, ssl.SSLError, ConnectionError)):
                refused()
        with pytest.raises((URLError, ConnectionError)):
            urlopen(f"http://{listen}/metrics", timeout=5.0)
    close()


@pytest.fixture
def listen() -> Address:
    return Address("127.0.0.1", free_port())


@pytest.mark.parametrize("said", [b"", b"GET /metrics HTTP/1.1\r\n"], ids=["nothing", "half a request"])
def test_connections_that_say_nothing_take_few_threads_and_hold_no_scrape_up(listen: Address, said: bytes) -> None:
    """The agent's unit has 64 threads for all that it does."""
    close, before = serve_metrics("agent", listen, None), threading.active_count()
    with ExitStack() as idle:
        for _ in range(100):
            idle.enter_context(socket.create_connection((listen.host, listen.port), timeout=5.0)).sendall(said)
            assert threading.active_count() - before <= MOST_AT_ONCE
        with urlopen(f"http://{listen}/metrics", timeout=5.0) as page:
            assert b"gpuwarden_build_info" in page.read()
        assert threading.active_count() - before <= MOST_AT_ONCE
    close()


def test_where_no_thread_can_start_the_page_is_there_again_once_one_can(listen: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    close = serve_metrics("agent", listen, None)

    def full(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as crowded:
        crowded.setattr(threading.Thread, "start", full)
        for _ in range(2 * MOST_AT_ONCE):
            with pytest.raises((URLError, ConnectionError)):
                urlopen(f"http://{listen}/metrics", timeout=5.0)
    with urlopen(f"http://{listen}/metrics", timeout=5.0) as page:
        assert page.status == 200
    close()


def test_renewed_certificates_and_another_authority_are_taken_up_without_a_restart(listen: Address, tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    served = shutil.copytree(leaf(old, "agent"), tmp_path / "served")
    close = serve_metrics("agent", listen, served)
    assert scraped(listen, leaf(old, "viewer"))
    (served / CERTIFICATE).write_bytes((leaf(new, "agent") / CERTIFICATE).read_bytes())  # without its key yet
    time.sleep(LOOK_S + 0.1)
    assert scraped(listen, leaf(old, "viewer")), "half of a renewal is passed over"
    shutil.copytree(leaf(new, "agent"), served, dirs_exist_ok=True)
    time.sleep(LOOK_S + 0.1)
    assert scraped(listen, leaf(new, "viewer"))
    theirs = leaf(old, "viewer")
    (theirs / CA).write_bytes((served / CA).read_bytes())
    with pytest.raises((URLError, ssl.SSLError, ConnectionError)):
        scraped(listen, theirs)
    close()


def leaf(authority: Authority, role: str) -> Path:
    return authority.leaf(role, "n1", f"spiffe://gpuwarden/{role}/n1", ("localhost",) if role == "agent" else (), 1.0)
