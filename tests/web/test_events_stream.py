"""Server-sent events over real sockets: paced, newest only, and no viewer can hold up another."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from itertools import islice, pairwise

import httpx
import pytest
from web.snapshots import SCENES, Scene, snapshot
from web.stage import playing, serving

from gpuwarden.controller.snapshot import Board
from gpuwarden.controller.web import events, serve
from gpuwarden.controller.web.serve import Page


def told(page: Page, seconds: float) -> Iterator[tuple[float, str, dict[str, object]]]:
    """(when, event, content) for so long."""
    end_s, name = time.monotonic() + seconds, ""
    with httpx.Client(trust_env=False) as client, client.stream("GET", f"{page.url}events", timeout=10) as answer:
        assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield time.monotonic(), name, json.loads(line.removeprefix("data: "))
            if time.monotonic() > end_s:
                return


def unix_s(content: dict[str, object]) -> float:
    cluster = content["cluster"]
    assert isinstance(cluster, dict)
    return float(cluster["unix_s"])


def test_however_fast_the_controller_publishes_a_viewer_gets_two_a_second_and_the_newest() -> None:
    """On a busy machine both are slower: what is asked is far from what a stream without its pace would show there."""
    step_s = 0.02
    with playing(Scene(), period_s=step_s, step_s=step_s) as page:
        snapshots = ((when, unix_s(content)) for when, name, content in told(page, 60.0) if name == "snapshot")
        got = list(islice(snapshots, 6))
    assert got[-1][0] - got[0][0] > 1.9, "2.5 s for five more, of which the first may have waited to be read"
    assert all(later[1] - earlier[1] > 5 * step_s for earlier, later in pairwise(got)), "each skipped what came between"


def test_a_silent_controller_is_told_as_silent() -> None:
    board = Board()
    board.publish(snapshot(SCENES["eight"]))
    with serving(board) as page:
        ages = [content for _, name, content in told(page, 4.2) if name == "age"]
        snapshots = [name for _, name, _ in told(page, 1.2) if name == "snapshot"]
    assert ages[0]["live"] is True and ages[-1]["live"] is False
    assert isinstance(ages[-1]["age_s"], float) and ages[-1]["age_s"] > 3
    assert len(snapshots) == 1, "a newcomer gets the newest, once"


def stuck_viewer(page: Page) -> socket.socket:
    """Asks for the stream and never reads it."""
    viewer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    viewer.connect((page.address.host, page.address.port))
    viewer.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return viewer


def test_a_viewer_that_takes_nothing_delays_nobody_and_loses_its_seat(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve, "STUCK_S", 2.0)
    monkeypatch.setattr(events, "VIEWERS", 2)
    with playing(SCENES["thousand"], period_s=0.3) as page, stuck_viewer(page):
        times = [when for when, name, _ in told(page, 6.0) if name == "age"]
        monkeypatch.setattr(events, "VIEWERS", 1)
        until_seated(page, 30.0)
    assert max(later - earlier for earlier, later in pairwise(times)) < 2.5
    ours = [r.message for r in caplog.records if r.name.startswith(("gpuwarden", "uvicorn", "asyncio"))]
    assert ours == [], "an absent viewer is no error of ours"


def until_seated(page: Page, timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while True:
        with httpx.Client(trust_env=False) as client, client.stream("GET", f"{page.url}events") as answer:
            if answer.status_code == 200:
                return
        assert time.monotonic() < end_s, "the seat stayed taken"
        time.sleep(0.1)


def test_there_are_so_many_seats_and_one_that_is_left_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "VIEWERS", 1)
    with playing(Scene()) as page, httpx.Client(base_url=page.url, trust_env=False) as client:
        with client.stream("GET", "/events") as first:
            assert first.status_code == 200
            full = client.get("/events")
            assert full.status_code == 503 and full.headers["retry-after"] == "5"
        until_seated(page, 10.0)


def test_closing_ends_the_streams_soon() -> None:
    with playing(Scene()) as page:
        watched = threading.Thread(target=lambda: list(told(page, 30.0)), daemon=True)
        watched.start()
        time.sleep(1.0)
        begin_s = time.monotonic()
        page.close()
        watched.join(5)
        assert not watched.is_alive() and time.monotonic() - begin_s < 3
