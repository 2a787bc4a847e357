"""The page over real HTTP: what it says, what it refuses, and what it promises a browser."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from web.snapshots import SCENES, snapshot
from web.stage import serving

from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web import feed
from gpuwarden.controller.web.app import STATIC
from gpuwarden.controller.web.serve import Page
from gpuwarden.core.address import Address

OURS = sorted(path for path in STATIC.iterdir() if not path.name.startswith("uPlot"))


@pytest.fixture
def board() -> Board:
    board = Board()
    board.publish(snapshot(SCENES["findings"]))
    return board


@pytest.fixture
def web(board: Board) -> Iterator[httpx.Client]:
    with serving(board) as page, httpx.Client(base_url=page.url, trust_env=False) as client:
        yield client


def strict_json(text: str) -> object:
    """As a browser reads it: NaN and Infinity are errors."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def until_seen(client: httpx.Client) -> None:
    while client.get("/api/snapshot").status_code == 503:
        time.sleep(0.02)


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/static/page.css", "/api/snapshot", "/api/history", "/-/healthy", "/nowhere"])
def test_every_answer_forbids_what_is_not_ours_and_not_in_a_file(web: httpx.Client, path: str) -> None:
    until_seen(web)
    headers = web.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"] and "strict-transport-security" not in headers
    assert headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")
    assert "server" not in headers


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_files_fetch_nothing_from_outside_and_put_nothing_inline(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|[\"'(]//", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
    if path.suffix == ".html":
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)


def test_the_chart_library_comes_with_its_licence() -> None:
    assert "MIT License" in (STATIC / "uPlot.LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/api/snapshot", "/api/history", "/events", "/static/page.js"])
def test_nothing_can_be_changed(web: httpx.Client, method: str, path: str) -> None:
    assert web.request(method, path).status_code == 405


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"])
def test_only_the_static_folder_is_served(web: httpx.Client, path: str) -> None:
    assert web.get(path).status_code == 404


def test_a_snapshot_without_numbers_is_still_json(web: httpx.Client) -> None:
    until_seen(web)
    view = strict_json(web.get("/api/snapshot").text)
    assert isinstance(view, dict)
    nodes = view["nodes"]
    hung, unknown = nodes["state"].index("hung"), nodes["state"].index("unknown")
    assert nodes["gpu_power_w"][hung] is None and nodes["silent_cards"][hung] == 8
    assert nodes["report_age_s"][unknown] is None and nodes["enforced_w"][unknown] is None


def test_before_the_first_snapshot_it_says_so_and_is_not_ready() -> None:
    with serving(Board()) as page, httpx.Client(base_url=page.url, trust_env=False) as client:
        assert client.get("/").status_code == 200 and client.get("/-/healthy").status_code == 200
        assert client.get("/-/ready").status_code == 503 and client.get("/api/snapshot").status_code == 503


def test_it_is_ready_only_while_snapshots_come(board: Board, web: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    until_seen(web)
    assert web.get("/-/ready").status_code == 200
    monkeypatch.setattr(feed, "FRESH_S", 0.0)
    assert web.get("/-/ready").status_code == 503


def test_the_history_is_of_one_domain_and_empty_for_a_strange_one(web: httpx.Client) -> None:
    until_seen(web)
    columns = web.get("/api/history", params={"domain": "row-a"}).json()
    assert [len(column) for column in columns.values()] == [1, 1, 1, 1]
    assert web.get("/api/history", params={"domain": "row-z"}).json()["unix_s"] == []


def test_a_taken_port_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        Page(Address("127.0.0.1", other.getsockname()[1]), Board())


def test_it_tells_the_port_that_it_got() -> None:
    page = Page(Address("127.0.0.1", 0), Board())
    assert page.address.port > 0 and page.url == f"http://127.0.0.1:{page.address.port}/"
    page.close()
    page.close()
