"""The page beyond loopback: https only, a login to read, and a certificate that is renewed while it runs."""

import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path

import httpx
import pytest
from web.door import Visitor, make_certificate, write_users
from web.snapshots import SCENES, snapshot

from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web import certificate
from gpuwarden.controller.web.certificate import WebTls
from gpuwarden.controller.web.serve import Door, Page
from gpuwarden.core.address import Address
from gpuwarden.core.config import ConfigError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> WebTls:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(made: WebTls, tmp_path: Path) -> WebTls:
    copied = WebTls(tmp_path / "page.crt", tmp_path / "page.key")
    for source, target in zip(made.files(), copied.files(), strict=True):
        shutil.copy2(source, target)
    return copied


@pytest.fixture
def page(tls: WebTls, tmp_path: Path) -> Iterator[Page]:
    """On every address of this machine, hence not on loopback."""
    board = Board()
    board.publish(snapshot(SCENES["eight"]))
    running = Page(Address("0.0.0.0", 0), board, Door(write_users(tmp_path / "users"), tls))
    running.start()
    yield running
    running.close()


def url(page: Page) -> str:
    assert page.url.startswith("https://0.0.0.0:")
    return f"https://127.0.0.1:{page.address.port}"


@pytest.fixture
def anybody(page: Page, tls: WebTls) -> Iterator[Visitor]:
    visitor = Visitor(url(page), verify=ssl.create_default_context(cafile=tls.cert_file))
    with visitor.client:
        yield visitor


def serial(page: Page) -> str:
    pem = ssl.get_server_certificate(("127.0.0.1", page.address.port))
    return str(ssl.PEM_cert_to_DER_cert(pem).hex())


def test_nothing_of_the_cluster_is_read_without_a_login(anybody: Visitor) -> None:
    told = anybody.client.get("/api/session").json()
    assert told == {"can_login": True, "needed_to_read": True}
    for path in ("/api/snapshot", "/api/history?domain=row-a", "/events"):
        answer = anybody.client.get(path)
        assert answer.status_code == 401 and "row-a" not in answer.text
    assert anybody.client.get("/").status_code == anybody.client.get("/-/healthy").status_code == 200
    anybody.log_in("vic")
    while (answer := anybody.client.get("/api/snapshot")).status_code == 503:
        time.sleep(0.02)
    assert answer.json()["domains"][0]["name"] == "row-a"


def test_browsers_are_told_to_stay_with_https_and_with_this_host(anybody: Visitor) -> None:
    answer = anybody.log_in("ada")
    ((name, cookie),) = SimpleCookie(answer.headers["set-cookie"]).items()
    assert name == "__Host-gpuwarden" and cookie["secure"] and cookie["httponly"] and not cookie["domain"]
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_a_page_over_plain_http_is_another_origin(anybody: Visitor) -> None:
    assert anybody.log_in("ada", origin=anybody.origin.replace("https", "http")).status_code == 403


def test_the_stream_ends_with_the_session(anybody: Visitor) -> None:
    anybody.log_in("vic")
    names = list[str]()
    logging_out = threading.Timer(1.2, lambda: anybody.post("/logout", {}))
    with anybody.client.stream("GET", "/events", timeout=10) as answer:
        logging_out.start()
        until_s = time.monotonic() + 8
        for line in answer.iter_lines():
            names.append(line)
            assert time.monotonic() < until_s
    logging_out.join()
    assert "event: snapshot" in names and anybody.client.get("/events").status_code == 401


def test_plain_http_gets_nothing(page: Page) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{page.address.port}/", trust_env=False)


def test_tls_older_than_1_2_is_refused(page: Page) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", page.address.port)) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(plain)


def test_a_renewed_certificate_is_shown_without_a_restart(
    made: WebTls, tls: WebTls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(certificate, "LOOK_S", 0.05)
    caplog.set_level("INFO", "gpuwarden.controller")
    page = Page(Address("0.0.0.0", 0), Board(), Door(write_users(tmp_path / "users"), tls))
    page.start()
    try:
        before = serial(page)
        renewed = make_certificate(tmp_path / "renewed")
        shutil.copy2(renewed.cert_file, tls.cert_file)
        until(lambda: "is not taken up" in caplog.text)
        assert serial(page) == before, "half a renewal spoils nothing"
        shutil.copy2(renewed.key_file, tls.key_file)
        until(lambda: "the renewed certificate is in use" in caplog.text)
        assert serial(page) != before
    finally:
        page.close()


def until(true: object) -> None:
    assert callable(true)
    until_s = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def spoil(tls: WebTls, how: str) -> None:
    match how:
        case "open key":
            tls.key_file.chmod(0o644)
        case "no key":
            tls.key_file.unlink()
        case "no certificate":
            tls.cert_file.unlink()
        case "not pem":
            tls.cert_file.write_text("not a certificate")
        case "locked key":
            key = tls.key_file.read_text()
            command = ["openssl", "ec", "-aes256", "-passout", "pass:secret", "-out", str(tls.key_file)]
            subprocess.run(command, input=key, text=True, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("open key", "others may read it; chmod 600"), ("no key", "page.key: No such file"), ("no certificate", "page.crt: No such file"),
        ("not pem", "page.crt and"), ("locked key", "page.crt and"),
    ],
)  # fmt: skip
def test_files_that_are_no_good_are_a_config_error(tls: WebTls, how: str, says: str) -> None:
    spoil(tls, how)
    with pytest.raises(ConfigError) as caught:
        Page(Address("127.0.0.1", 0), Board(), Door(None, tls))
    assert says in str(caught.value)


def test_https_alone_on_loopback_is_the_read_only_page(tls: WebTls) -> None:
    page = Page(Address("127.0.0.1", 0), Board(), Door(None, tls))
    page.start()
    try:
        context = ssl.create_default_context(cafile=tls.cert_file)
        told = httpx.get(f"{page.url}api/session", verify=context, trust_env=False)
        assert json.loads(told.text) == {"can_login": False, "needed_to_read": False}
    finally:
        page.close()
