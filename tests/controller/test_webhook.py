"""Webhooks against a real HTTP server that answers, fails or hangs: told once, told again, never waited for."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from house import ROOT
from prometheus_client import REGISTRY

from gpuwarden.controller.actuators.heartbeat import Heartbeat
from gpuwarden.controller.actuators.webhook import Patience, Webhook, Webhooks
from gpuwarden.controller.config import HeartbeatConfig, WebhookConfig
from gpuwarden.controller.events import Notify
from gpuwarden.core.config import ConfigError

QUICK = Patience(attempts=4, attempt_s=0.3, first_s=0.02, cap_s=0.05)
DRIP = -1


class Receiver:
    """Answers with the statuses of its script, the last one for ever. 0 hangs; DRIP sends a byte of its head now and then."""

    def __init__(self) -> None:
        self.script: list[int] = [200]
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.heads: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.released = threading.Event()
        receiver = self

        class _Post(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.heads.append({key.lower(): value for key, value in self.headers.items()})
                receiver.bodies.append(body)
                receiver.posts.append((self.headers["Content-Type"], json.loads(body)))
                receiver.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Post)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        status = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if status > 0:
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.close_connection = True
        while not self.released.wait(0.05):
            if status == DRIP:
                try:
                    request.wfile.write(b"H")
                except OSError:
                    return

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def wait_for(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        until_s = time.monotonic() + 5
        while len(self.posts) < count:
            assert time.monotonic() < until_s, f"{count} posts expected, there are {self.posts}"
            time.sleep(0.01)
        return self.posts


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.close()


def alert(key: str = "k1", firing: bool = True, severity: str = "warning") -> Notify:
    return Notify(key, firing, severity, "row-a: over-budget", "row-a draws 61 <kW> & more", "row-a", 1_700_000_000_000_000_000)


def opened(receiver: Receiver, name: str, **changes: Any) -> Webhook:
    return Webhook(WebhookConfig(name, receiver.url, **changes), QUICK)


def outcomes(name: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("gpuwarden_webhook_alerts_total", {"webhook": name, "outcome": outcome}) or 0.0


def private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def wait_for_outcome(name: str, outcome: str, count: float = 1) -> None:
    until_s = time.monotonic() + 10
    while outcomes(name, outcome) < count:
        assert time.monotonic() < until_s, f"{name}: {outcome} is {outcomes(name, outcome)}"
        time.sleep(0.01)


def test_an_alert_arrives_as_a_cloud_event_and_so_does_its_end(receiver: Receiver) -> None:
    webhook = opened(receiver, "ce")
    webhook.tell(alert())
    receiver.wait_for(1)
    webhook.tell(alert(firing=False))
    (kind, fired), (_, resolved) = receiver.wait_for(2)
    webhook.close()
    assert kind == "application/cloudevents+json"
    assert (fired["specversion"], fired["type"], fired["subject"]) == ("1.0", "gpuwarden.alert.firing", "row-a")
    assert fired["time"] == "2023-11-14T22:13:20+00:00"
    assert resolved["type"] == "gpuwarden.alert.resolved"
    assert fired["data"]["key"] == resolved["data"]["key"] == "k1"
    assert fired["id"] != resolved["id"]


def test_slack_gets_one_text_without_markup_of_others(receiver: Receiver) -> None:
    webhook = opened(receiver, "slack", form="slack")
    webhook.tell(alert())
    ((kind, message),) = receiver.wait_for(1)
    webhook.close()
    assert kind == "application/json"
    assert message == {"text": ":warning: *row-a: over-budget* (warning)\nrow-a draws 61 &lt;kW&gt; &amp; more"}


def test_an_alert_that_goes_on_firing_is_told_once(receiver: Receiver) -> None:
    webhook = opened(receiver, "once")
    webhook.tell(alert())
    wait_for_outcome("once", "delivered")
    webhook.tell(alert())
    webhook.tell(alert("k2"))
    wait_for_outcome("once", "delivered", 2)
    webhook.tell(alert(firing=False))
    webhook.tell(alert(firing=False))
    wait_for_outcome("once", "delivered", 3)
    webhook.tell(alert())
    wait_for_outcome("once", "delivered", 4)
    webhook.close()
    told = [(post["data"]["key"], post["data"]["firing"]) for _, post in receiver.posts]
    assert told == [("k1", True), ("k2", True), ("k1", False), ("k1", True)]


@pytest.mark.parametrize("failure", [500, 503, 429, 0, DRIP])
def test_a_receiver_that_fails_for_a_while_is_tried_again(receiver: Receiver, failure: int) -> None:
    receiver.script = [failure, failure, 200]
    webhook = opened(receiver, f"again{failure}")
    webhook.tell(alert())
    wait_for_outcome(f"again{failure}", "delivered")
    webhook.close()
    assert len(receiver.posts) == 3
    assert receiver.posts[0] == receiver.posts[2], "a repeat has the same id"


def test_tries_are_bounded_and_giving_up_is_counted_and_said(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.script = [500]
    webhook = opened(receiver, "bounded")
    webhook.tell(alert())
    wait_for_outcome("bounded", "given_up")
    assert len(receiver.posts) == 4
    assert "bounded: gave up telling of row-a: over-budget: was answered 500" in caplog.messages
    assert receiver.url not in caplog.text
    receiver.script = [200]
    webhook.tell(alert())  # what was given up was not told, so the next word of it is
    wait_for_outcome("bounded", "delivered")
    webhook.close()


def test_a_receiver_that_does_not_want_it_is_not_asked_again(receiver: Receiver) -> None:
    receiver.script = [404]
    webhook = opened(receiver, "unwanted")
    webhook.tell(alert())
    wait_for_outcome("unwanted", "given_up")
    webhook.close()
    assert len(receiver.posts) == 1


def test_a_receiver_that_hangs_blocks_neither_who_tells_nor_the_other_receiver(receiver: Receiver) -> None:
    hanging = Receiver()
    hanging.script = [0]
    configs = (WebhookConfig("hangs", hanging.url), WebhookConfig("well", receiver.url))
    webhooks = Webhooks(configs, Patience(attempts=4, attempt_s=60.0))
    began_s = time.monotonic()
    for number in range(1000):
        webhooks.tell(alert(f"k{number}"))
    assert time.monotonic() - began_s < 0.5
    receiver.wait_for(1)
    wait_for_outcome("hangs", "given_up", 700)  # 256 may wait
    began_s = time.monotonic()
    webhooks.close()
    assert time.monotonic() - began_s < 2
    assert outcomes("hangs", "given_up") == 1000
    hanging.close()


def test_what_was_resolved_before_it_could_be_told_is_told_as_resolved(receiver: Receiver) -> None:
    receiver.script = [500, 200]
    webhook = opened(receiver, "late")
    webhook.tell(alert("first"))
    receiver.wait_for(1)
    webhook.tell(alert())
    webhook.tell(alert(firing=False))
    wait_for_outcome("late", "delivered", 2)
    webhook.close()
    assert [(post["data"]["key"], post["data"]["firing"]) for _, post in receiver.posts][-1] == ("k1", False)
    assert len(receiver.posts) == 3


def test_less_than_the_least_severity_is_not_told_but_the_end_of_what_was_told_is(receiver: Receiver) -> None:
    webhook = opened(receiver, "severe", min_severity="critical")
    webhook.tell(alert("small"))
    webhook.tell(alert("grave", severity="critical"))
    wait_for_outcome("severe", "delivered")
    webhook.tell(alert("small", firing=False))
    webhook.tell(alert("grave", firing=False, severity="info"))
    wait_for_outcome("severe", "delivered", 2)
    webhook.close()
    assert [post["data"]["key"] for _, post in receiver.posts] == ["grave", "grave"]


def test_nobody_there_is_a_failure_like_another() -> None:
    webhook = Webhook(WebhookConfig("nobody", "http://127.0.0.1:9/"), QUICK)
    webhook.tell(alert())
    wait_for_outcome("nobody", "given_up")
    webhook.close()


def test_the_largest_time_and_no_subject_make_a_valid_event(receiver: Receiver) -> None:
    webhook = opened(receiver, "timeless")
    webhook.tell(Notify("k", True, "critical", "t", "", "", (1 << 64) - 1))
    ((_, event),) = receiver.wait_for(1)
    webhook.close()
    assert event["time"].startswith("2554-07-21T")
    assert "subject" not in event


def test_pauses_grow_up_to_a_bound_and_are_spread() -> None:
    patience = Patience(first_s=1.0, cap_s=8.0)
    for failed, bound_s in ((1, 1.0), (2, 2.0), (4, 8.0), (9, 8.0)):
        pauses_s = [patience.pause_s(failed) for _ in range(300)]
        assert 0 <= min(pauses_s) < 0.2 * bound_s
        assert 0.8 * bound_s < max(pauses_s) <= bound_s


# Whoever holds the secret knows that it was us, and when.


def documented() -> Any:
    """The receiver that docs/alerts.md shows."""
    made: dict[str, Any] = {}
    exec((ROOT / "docs" / "alerts.md").read_text().partition("```python\n")[2].partition("```")[0], made)  # noqa: S102 - our own text
    return made["Verifier"]


Verifier = documented()


def test_a_signed_post_is_taken_once_and_altered_old_or_replayed_it_is_not(receiver: Receiver, tmp_path: Path) -> None:
    webhook = opened(receiver, "signed", secret_file=private(tmp_path / "secret", "s3cret"))
    webhook.tell(alert())
    receiver.wait_for(1)
    webhook.close()
    head, body, now_s = receiver.heads[0], receiver.bodies[0], time.time()
    door = Verifier(b"s3cret")
    assert not door.takes(head, body.replace(b"61", b"16"), now_s), "altered"
    assert not door.takes(head, body, now_s + 3600), "old"
    assert not door.takes({**head, "webhook-timestamp": str(int(now_s) + 1)}, body, now_s), "its stamp is signed too"
    assert not Verifier(b"another").takes(head, body, now_s)
    assert door.takes(head, body, now_s)
    assert not door.takes(head, body, now_s), "replayed"


def test_attempts_of_one_post_have_one_id_and_fresh_stamps(receiver: Receiver, tmp_path: Path) -> None:
    receiver.script = [500, 200]
    webhook = opened(receiver, "stamps", secret_file=private(tmp_path / "secret", "s3cret"))
    webhook.tell(alert())
    receiver.wait_for(2)
    webhook.close()
    assert receiver.heads[0]["webhook-id"] == receiver.heads[1]["webhook-id"]
    assert all(Verifier(b"s3cret").takes(head, body, time.time()) for head, body in zip(receiver.heads, receiver.bodies, strict=True))


def test_addresses_and_keys_come_from_files_that_may_change_and_are_in_no_log(
    receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gpuwarden.webhook")
    url_file, key_file = private(tmp_path / "url", "http://127.0.0.1:9/T0KEN"), private(tmp_path / "key", "R0UTING")
    webhook = Webhook(WebhookConfig("files", form="pagerduty", url_file=url_file, routing_key_file=key_file), replace(QUICK, attempts=50))
    webhook.tell(alert())
    time.sleep(0.1)
    private(tmp_path / "url", receiver.url + "/T0KEN")
    ((_, event),) = receiver.wait_for(1)
    webhook.close()
    assert (event["routing_key"], event["event_action"], event["dedup_key"]) == ("R0UTING", "trigger", "k1")
    assert event["payload"]["severity"] == "warning" and event["payload"]["source"] == "row-a"
    assert "T0KEN" not in caplog.text and "R0UTING" not in caplog.text and caplog.text


@pytest.mark.parametrize(("text", "mode", "reason"), [("", 0o600, "is empty"), ("ftp://x", 0o600, "should hold http"), ("http://x", 0o644, "others may read")])
def test_an_address_file_that_cannot_be_is_refused_at_the_start(tmp_path: Path, text: str, mode: int, reason: str) -> None:
    file = private(tmp_path / "url", text)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"url_file: .*{reason}"):
        Webhook(WebhookConfig("bad", url_file=file), QUICK)


def test_pagerduty_closes_what_it_opened(receiver: Receiver, tmp_path: Path) -> None:
    webhook = opened(receiver, "pd", form="pagerduty", routing_key_file=private(tmp_path / "key", "R"))
    webhook.tell(alert())
    receiver.wait_for(1)
    webhook.tell(alert(firing=False))
    (_, opened_event), (_, closed) = receiver.wait_for(2)
    webhook.close()
    assert closed == {"routing_key": "R", "event_action": "resolve", "dedup_key": opened_event["dedup_key"]}


def test_level_2_hears_of_what_was_escalated_and_of_its_end(receiver: Receiver) -> None:
    webhook = opened(receiver, "boss", level=2)
    webhook.tell(alert("quiet"))
    webhook.tell(replace(alert("loud"), level=2))
    receiver.wait_for(1)
    webhook.tell(replace(alert("loud", firing=False), level=2))
    webhook.tell(alert("quiet", firing=False))
    posts = receiver.wait_for(2)
    webhook.close()
    assert [event["data"]["key"] for _, event in posts] == ["loud", "loud"]


# A dead man's switch.


def test_a_heartbeat_arrives_for_each_beat_and_failures_are_said_once(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.script = [200, 500, 500, 200]
    caplog.set_level("INFO", "gpuwarden.heartbeat")
    heartbeat = Heartbeat(HeartbeatConfig(receiver.url))
    for number in range(4):
        heartbeat.beat(number)
        receiver.wait_for(number + 1)
        time.sleep(0.05)
    heartbeat.close()
    assert [event["unix_ns"] for _, event in receiver.posts] == [0, 1, 2, 3] and receiver.posts[0][1]["alive"]
    assert [record.getMessage() for record in caplog.records] == ["heartbeat: was answered 500", "heartbeat: arrives again"]


def test_a_hanging_watcher_does_not_hold_the_decider(receiver: Receiver) -> None:
    receiver.script = [0]
    heartbeat, began_s = Heartbeat(HeartbeatConfig(receiver.url)), time.monotonic()
    for number in range(1000):
        heartbeat.beat(number)
    assert time.monotonic() - began_s < 0.5
    receiver.released.set()
    heartbeat.close()


def test_alertmanager_is_told_again_of_what_still_fires(receiver: Receiver) -> None:
    webhook = opened(receiver, "am", form="alertmanager")
    webhook._say_again_s = 0.1
    webhook.tell(alert())
    assert len({body for body in receiver.wait_for(4) and receiver.bodies}) == 1
    webhook.tell(alert(firing=False))
    until_s = time.monotonic() + 5
    while b"endsAt" not in receiver.bodies[-1]:
        assert time.monotonic() < until_s
        time.sleep(0.01)
    count = len(receiver.posts)
    time.sleep(0.5)
    webhook.close()
    assert len(receiver.posts) == count, "what is over is said once"
