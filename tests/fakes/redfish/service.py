"""A BMC that can be made to fail: see README.md. Redfish over TLS or plain HTTP/1.1, basic authentication, kept-alive connections."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fakes.redfish.tree import ROOT, Tree
from services.certificate import Certificate

USER, PASSWORD = "watcher", "correct horse"


@dataclass
class FakeBmc:
    """Knobs may be turned while it serves. Paths are as in `tree`."""

    tree: Tree
    password: str = PASSWORD
    slow_s: float = 0.0  # before every answer
    raw: dict[str, bytes] = field(default_factory=dict)  # a body to send as it is
    status: dict[str, int] = field(default_factory=dict)  # to answer with, and no more
    drips: bool = False  # a byte of every answer each 50 ms
    ignores: bool = False  # says that a change is accepted, and makes none
    drops: bool = False  # closes the connection after every answer, without saying so
    asked: list[str] = field(default_factory=list)  # "GET /redfish/v1/", in order
    connections: int = 0
    sent_bytes: int = 0
    url: str = ""


@contextmanager
def running(bmc: FakeBmc, certificate: Certificate | None = None) -> Iterator[FakeBmc]:
    """Serves it on a free loopback port; https with a certificate."""

    class Bound(_Conversation):
        fake = bmc

    server = _Server(("127.0.0.1", 0), Bound)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    bmc.url = f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield bmc
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever does not trust the certificate, or has waited enough, goes away."""


class _Conversation(BaseHTTPRequestHandler):
    fake: FakeBmc
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.fake.connections += 1

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer(None)

    def do_PATCH(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def do_POST(self) -> None:
        """A reset is the only action."""
        wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        system, _, action = self.path.partition("/Actions/")
        self.fake.asked.append(f"POST {self.path} {wish}")
        if not self._is_known():
            self._send(401, b"{}")
        elif self.path in self.fake.status or system not in self.fake.tree or action != "ComputerSystem.Reset":
            self._send(self.fake.status.get(self.path, 404), b"{}")
        else:
            if wish["ResetType"] == "ForceOff" and not self.fake.ignores:
                self.fake.tree[system]["PowerState"] = "Off"
            self._send(204, b"")

    def _answer(self, change: dict[str, Any] | None) -> None:
        fake, path = self.fake, self.path
        fake.asked.append(f"{self.command} {path}")
        time.sleep(fake.slow_s)
        if path.rstrip("/") != ROOT and not self._is_known():
            self._send(401, b"{}")
        elif path in fake.status:
            self._send(fake.status[path], b"{}")
        elif path in fake.raw:
            self._send(200, fake.raw[path])
        elif path not in fake.tree:
            self._send(404, b"{}")
        else:
            if not fake.ignores:
                _merge(fake.tree[path], change or {})
            self._send(200, json.dumps(fake.tree[path]).encode())

    def _is_known(self) -> bool:
        login = base64.b64encode(f"{USER}:{self.fake.password}".encode()).decode()
        return self.headers["Authorization"] == f"Basic {login}"

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        size = 1 if self.fake.drips else 1 << 20
        for part in (body[i : i + size] for i in range(0, len(body), size)):
            self.wfile.write(part)
            self.fake.sent_bytes += len(part)
            time.sleep(0.05 if self.fake.drips else 0.0)
        self.close_connection = self.close_connection or self.fake.drops


def _merge(document: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        before = document.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            _merge(before, value)
        elif isinstance(value, list) and isinstance(before, list):  # DSP0266: elements that are objects are changed by place
            for element, changed in zip(before, value, strict=False):
                _merge(element, changed)
        else:
            document[key] = value
