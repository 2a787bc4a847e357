"""A controller with a page that people log in to, and browsers' requests by hand."""

import base64
import hashlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fakes.limiters import KEY

from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.web.certificate import WebTls
from gpuwarden.core.address import Address

NODES = ("n0", "n1", "n2", "n3")
ANYWHERE = Address("127.0.0.1", 0)
PASSWORDS = {"ada": "analytical engine", "vic": "only looks around", "eve": "may force as well"}
ROLES = {"ada": "operator", "vic": "viewer", "eve": "admin"}


def line(name: str, role: str, password: str) -> str:
    """A line of the users file, written here by hand; at the lowest cost that the page takes, since tests log in often."""
    salt = hashlib.sha256(name.encode()).digest()[:16]
    digest = hashlib.scrypt(password.encode(), salt=salt, n=1 << 14, r=8, p=1, maxmem=1 << 26, dklen=32)
    salt_text, digest_text = (base64.b64encode(part).decode().rstrip("=") for part in (salt, digest))
    return f"{name}:{role}:$scrypt$ln=14,r=8,p=1${salt_text}${digest_text}\n"


def write_users(path: Path, roles: Mapping[str, str] = ROLES) -> Path:
    path.touch(mode=0o600)
    path.write_text("# who may log in\n\n" + "".join(line(name, role, PASSWORDS[name]) for name, role in roles.items()))
    return path


def make_certificate(folder: Path) -> WebTls:
    """Another one with every call."""
    folder.mkdir(exist_ok=True)
    cert, key = folder / "page.crt", folder / "page.key"
    subject = ["-subj", "/CN=row-a", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command = ["openssl", "req", "-x509", *curve, *subject, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
    return WebTls(cert, key)


def page_config(folder: Path, rating_w: float = 60e3, nodes: tuple[str, ...] = NODES, **changes: Any) -> ControllerConfig:
    """One row in auto, and a page on a free port."""
    row = DomainConfig("row-a", rating_w, (NodeClass("h100", nodes),), mode="auto")
    web = {"web_listen": ANYWHERE, "web_users_file": write_users(folder / "users")} | changes
    return ControllerConfig(ledger_file=folder / "ledger.sqlite", keys_dir=folder, domains=(row,), listen=ANYWHERE, **web)


@contextmanager
def controlling(config: ControllerConfig, events_dir: Path | None = None) -> Iterator[ControllerShell]:
    """Once it has published."""
    with ControllerShell(config, dict.fromkeys(config.nodes(), KEY), None, events_dir) as shell:
        until_s = time.monotonic() + 10
        while shell.board.newest() is None:
            assert time.monotonic() < until_s
            time.sleep(0.02)
        yield shell


class Visitor:
    """One browser's cookies; sends what a browser sends with a request of the page itself."""

    def __init__(self, url: str, **changes: Any) -> None:
        self.client = httpx.Client(base_url=url, trust_env=False, **changes)
        self.origin = url.rstrip("/")
        self.csrf = ""

    def post(self, path: str, fields: object, **headers: str) -> httpx.Response:
        given = {"origin": self.origin, "sec-fetch-site": "same-origin", "x-csrf-token": self.csrf}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, json=fields, headers=given | names)

    def log_in(self, name: str, password: str | None = None, **headers: str) -> httpx.Response:
        answer = self.post("/login", {"name": name, "password": password or PASSWORDS[name]}, **headers)
        self.csrf = answer.json().get("csrf", "") if answer.is_success else ""
        return answer

    def set_budget(self, budget_w: object = 48e3, request_id: str = "r1", **headers: str) -> httpx.Response:
        fields = {"domain": "row-a", "budget_w": budget_w, "request_id": request_id, "validate_only": False}
        return self.post("/api/budget", fields, **headers)


@contextmanager
def visiting(shell: ControllerShell, name: str | None = None, **changes: Any) -> Iterator[Visitor]:
    """A browser; with a name, logged in."""
    assert shell.page_url is not None
    visitor = Visitor(shell.page_url, **changes)
    with visitor.client:
        if name is not None:
            assert visitor.log_in(name).status_code == 200
        yield visitor


def lines_by(config: ControllerConfig) -> list[tuple[str, str, str]]:
    """(kind, actor, reason) of every line in the ledger but the start's, oldest first. Once the controller has ended."""
    ledger = Ledger(config.ledger_file)
    try:
        return [(one.kind, one.actor, one.reason) for one in ledger.after(0, 1000) if one.kind not in ("epoch", "notify")]
    finally:
        ledger.close()
