"""A daemon's metrics page."""

import socket
import ssl
from contextlib import ExitStack
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from services.port import free_port

from gpuwarden.cli.authority import Authority
from gpuwarden.core.address import Address
from gpuwarden.core.metrics import serve_metrics
from gpuwarden.core.tls import CA, CERTIFICATE, KEY


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
        for _ in range(50):
            idle.enter_context(socket.create_connection((listen.host, listen.port), timeout=5.0))
        assert "gpuwarden_build_info" in scraped(listen, viewer)
        for refused in (lambda: scraped(listen, viewer, certificate=False), lambda: scraped(listen, stranger)):
            with pytest.raises((URLError, ssl.SSLError, ConnectionError)):
                refused()
        with pytest.raises((URLError, ConnectionError)):
            urlopen(f"http://{listen}/metrics", timeout=5.0)
    close()
