"""A renewed certificate of Kafka's clients, at a TLS server that asks for one."""

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from services import certificate

from gpuwarden.core.bus import BusConfig
from gpuwarden.core.bus_kafka_access import Renewed, access


class Server:
    """Counts whom it has served, by the serial number of their certificate."""

    def __init__(self, folder: Path) -> None:
        self.own = certificate.make(folder)
        self.trusted: list[Path] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.served: list[str] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_cert_chain(self.own.certificate, self.own.key)
            for one in self.trusted:
                context.load_verify_locations(one)
            with context.wrap_socket(plain, server_side=True) as secured:
                shown = secured.getpeercert()
                assert shown is not None
                self.served.append(str(shown["serialNumber"]))
                secured.sendall(b"!")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    made = Server(tmp_path / "server")
    yield made
    made.close()


def put(folder: Path, server: Server, name: str) -> None:
    """Another certificate where the client's is."""
    (folder / name).mkdir()
    made = certificate.make(folder / name)
    server.trusted.append(made.certificate)
    shutil.copy(made.certificate, folder / "tls.crt")
    shutil.copy(made.key, folder / "tls.key")
    (folder / "tls.key").chmod(0o600)


def connect(context: Renewed, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
        assert secured.recv(1) == b"!"


def test_the_next_connection_shows_what_the_files_hold_then(tmp_path: Path, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, server, "first")
    config = BusConfig(
        ("127.0.0.1:1",), security_protocol="SSL", ssl_ca_file=server.own.certificate,
        ssl_certificate_file=tmp_path / "tls.crt", ssl_key_file=tmp_path / "tls.key",
    )  # fmt: skip
    context = access(config)["ssl_context"]
    connect(context, server.port)
    put(tmp_path, server, "second")
    connect(context, server.port)
    (tmp_path / "third").mkdir()
    shutil.copy(certificate.make(tmp_path / "third").certificate, tmp_path / "tls.crt")  # its key is still to come
    connect(context, server.port)
    first, second, third = server.served
    assert first != second == third
    assert "tls.crt" in caplog.text and "stays in use" in caplog.text
