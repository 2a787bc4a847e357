"""Webhooks against a real HTTP server that answers, fails or hangs: told once, told again, never waited for."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from house import ROOT
from prometheus_client import REGISTRY

from gpuwarden.controller.actuators import alertmanager
from gpuwarden.controller.actuators.heartbeat import Heartbeat
from gpuwarden.controller.actuators.post import Occasion
from gpuwarden.controller.actuators.webhook import Patience, Webhook, Webhooks, _seconds
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
        self.retry_after = ""
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
            if self.retry_after:
                request.send_header("Retry-After", self.retry_after)
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
    assert "bounded: gave up telling of row-a: over-budget: was answered 500; will try again every 60 s" in caplog.messages
    assert receiver.url not in caplog.text
    receiver.script = [200]
    webhook.tell(alert())  # what was given up was not told, so the next word of it is
    wait_for_outcome("bounded", "delivered")
    webhook.close()


def test_what_was_given_up_is_tried_now_and_then_until_it_arrives_and_counted_once(receiver: Receiver) -> None:
    webhook = Webhook(WebhookConfig("outage", receiver.url), replace(QUICK, retry_s=0.1))
    webhook.tell(alert())
    wait_for_outcome("outage", "delivered")
    receiver.script = [500]
    webhook.tell(alert(firing=False))
    receiver.wait_for(1 + 4 + 3)
    receiver.script = [200]
    wait_for_outcome("outage", "delivered", 2)
    count = len(receiver.posts)
    time.sleep(0.3)
    webhook.close()
    assert receiver.posts[-1][1]["type"] == "gpuwarden.alert.resolved" and len(receiver.posts) == count
    assert outcomes("outage", "given_up") == 1


def test_a_receiver_that_asks_for_time_gets_it(receiver: Receiver) -> None:
    receiver.script, receiver.retry_after = [429, 200], "1"
    webhook, began_s = opened(receiver, "busy"), time.monotonic()
    webhook.tell(alert())
    wait_for_outcome("busy", "delivered")
    webhook.close()
    assert time.monotonic() - began_s >= 1.0


@pytest.mark.parametrize(("said", "seconds"), [("", 0.0), ("7", 7.0), ("9" * 5000, 60.0), ("-1", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0)])
def test_how_long_a_receiver_may_ask_for_is_bounded(said: str, seconds: float) -> None:
    assert _seconds(said) == seconds


def test_what_is_counted_begins_at_0_so_that_the_first_failure_is_an_increase(receiver: Receiver) -> None:
    webhook = opened(receiver, "born")
    webhook.close()
    for outcome in ("delivered", "given_up"):
        assert REGISTRY.get_sample_value("gpuwarden_webhook_alerts_total", {"webhook": "born", "outcome": outcome}) == 0
    assert REGISTRY.get_sample_value("gpuwarden_webhook_retries_total", {"webhook": "born"}) == 0


def test_the_end_of_a_grave_alert_that_has_not_arrived_yet_is_told_though_it_is_not_grave(receiver: Receiver) -> None:
    receiver.script = [500, 200]
    webhook = Webhook(WebhookConfig("slow", receiver.url, min_severity="critical"), replace(QUICK, first_s=2.0, cap_s=2.0))
    webhook.tell(alert(severity="critical"))
    receiver.wait_for(1)
    webhook.tell(alert(firing=False, severity="info"))
    wait_for_outcome("slow", "delivered", 2)
    webhook.close()
    assert receiver.posts[-1][1]["type"] == "gpuwarden.alert.resolved"


def test_two_controllers_with_a_row_of_one_name_do_not_close_each_others_alerts(receiver: Receiver, tmp_path: Path) -> None:
    for form, files in (("pagerduty", {"routing_key_file": private(tmp_path / "key", "R")}), ("alertmanager", {}), ("cloudevents", {})):
        for cluster in ("north", "south"):
            webhook = Webhook(WebhookConfig("both", receiver.url, form=form, **files), QUICK, cluster)
            webhook.tell(alert())
            receiver.wait_for(len(receiver.posts) + 1)
            webhook.close()
    pages, alerts, events = ([post for _, post in receiver.posts][at : at + 2] for at in (0, 2, 4))
    assert [page["dedup_key"] for page in pages] == ["north/k1", "south/k1"]
    assert [one["labels"]["cluster"] for (one,) in alerts] == ["north", "south"]  # type: ignore[misc]  # a list of one alert
    assert [event["source"] for event in events] == ["gpuwarden/north", "gpuwarden/south"]


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
    webhooks = Webhooks(configs, patience=Patience(attempts=4, attempt_s=60.0))
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


def test_the_specification_s_own_library_verifies_what_is_signed_with_a_secret_of_its_form(receiver: Receiver, tmp_path: Path) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    webhook = opened(receiver, "standard", secret_file=private(tmp_path / "secret", secret))
    webhook.tell(alert())
    receiver.wait_for(1)
    webhook.close()
    head, body = receiver.heads[0], receiver.bodies[0]
    assert standardwebhooks.Webhook(secret).verify(body, head) == receiver.posts[0][1]
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(secret).verify(body.replace(b"61", b"16"), head)
    assert Verifier(base64.b64decode(secret.removeprefix("whsec_"))).takes(head, body, time.time())


@pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64"])
def test_a_secret_that_is_announced_as_base64_and_is_none_is_refused_at_the_start(tmp_path: Path, secret: str) -> None:
    file = private(tmp_path / "secret", secret)
    with pytest.raises(ConfigError, match=r"secret_file: .*secret: after whsec_ there should be base64"):
        Webhook(WebhookConfig("bad", "http://127.0.0.1:9/", secret_file=file), QUICK)


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
    assert (event["routing_key"], event["event_action"], event["dedup_key"]) == ("R0UTING", "trigger", "gpuwarden/k1")
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


def test_a_hanging_watcher_does_not_hold_the_end(receiver: Receiver) -> None:
    receiver.script = [0]
    heartbeat = Heartbeat(HeartbeatConfig(receiver.url))
    heartbeat.beat(0)
    receiver.wait_for(1)
    heartbeat.beat(1)  # waits, so that there is no room
    began_s = time.monotonic()
    heartbeat.close()
    assert time.monotonic() - began_s < 2


def test_a_dripping_watcher_is_given_up_in_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("gpuwarden.controller.actuators.heartbeat.ATTEMPT_S", 0.3)
    receiver.script = [DRIP]
    heartbeat = Heartbeat(HeartbeatConfig(receiver.url))
    heartbeat.beat(0)
    receiver.wait_for(1)
    time.sleep(0.6)
    heartbeat.close()
    assert "heartbeat: no answer within 0.3 s" in caplog.messages


def test_alertmanager_s_labels_stay_while_an_alert_grows_and_one_of_another_severity_ends_the_one_before() -> None:
    fired = Notify("row-a/xid_79", True, "warning", "xid_79 on n3", "x", "n3", 1, 1, 2, "xid_79", "row-a")
    grown = replace(fired, title="xid_79 on 2 of row-a", subject="row-a", told_unix_ns=3)
    graver = replace(grown, severity="critical", told_unix_ns=4)

    def posted(word: Notify, heard: Notify | None) -> list[dict[str, Any]]:
        said: list[dict[str, Any]] = json.loads(alertmanager.form(word, Occasion("c1", heard=heard)).body)
        return said

    (first,), (second,) = posted(fired, None), posted(grown, fired)
    assert first["labels"] == second["labels"]
    assert first["labels"] == {"alertname": "xid_79", "severity": "warning", "domain": "row-a", "cluster": "c1", "gpuwarden_key": "row-a/xid_79"}
    over, third = posted(graver, grown)
    assert over["labels"] == second["labels"] and "endsAt" in over
    assert third["labels"]["severity"] == "critical" and "startsAt" in third


def test_alertmanager_is_told_again_of_what_still_fires(receiver: Receiver) -> None:
    webhook = opened(receiver, "am", form="alertmanager")
    webhook._words.say_again_s = 0.1
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
