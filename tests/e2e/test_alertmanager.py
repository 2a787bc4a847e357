"""A real Alertmanager takes our alerts, keeps what we say again, and ends what we end."""

import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from services.port import free_port, wait_until_open

from gpuwarden.controller.actuators.webhook import Patience, Webhook
from gpuwarden.controller.config import WebhookConfig
from gpuwarden.controller.events import Notify

CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    (tmp_path / "alertmanager.yml").write_text(CONFIG)
    command = [
        "prometheus-alertmanager", f"--config.file={tmp_path / 'alertmanager.yml'}", f"--storage.path={tmp_path / 'storage'}",
        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=",
    ]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ)
    try:
        wait_until_open(port, server, tmp_path / "log", 20.0)
        yield f"http://127.0.0.1:{port}/api/v2/alerts"
    finally:
        server.kill()
        server.wait()


def listed(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(url, timeout=5.0) as answer:
        alerts: list[dict[str, Any]] = json.load(answer)
    return alerts


def wait_for(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_it_lists_what_fires_as_one_alert_however_it_grows_and_no_longer_what_was_resolved(alertmanager: str) -> None:
    webhook = Webhook(WebhookConfig("am", alertmanager, form="alertmanager"), Patience(), "north")
    began_ns = time.time_ns()
    fired = Notify("row-a/xid_79", True, "warning", "xid_79 on n3/GPU-7", "It fell.", "n3/GPU-7", began_ns, 1, began_ns, "xid_79", "row-a")
    webhook.tell(fired)
    wait_for(lambda: len(listed(alertmanager)) == 1)
    (alert,) = listed(alertmanager)
    labels = {"alertname": "xid_79", "severity": "warning", "domain": "row-a", "cluster": "north", "gpuwarden_key": "row-a/xid_79"}
    assert alert["labels"] == labels
    assert alert["annotations"]["summary"] == "xid_79 on n3/GPU-7" and alert["status"]["state"] == "active"
    webhook.tell(replace(fired, title="xid_79 on 2 of row-a", subject="row-a", told_unix_ns=time.time_ns()))
    wait_for(lambda: [one["annotations"]["summary"] for one in listed(alertmanager)] == ["xid_79 on 2 of row-a"])
    webhook.tell(graver := replace(fired, severity="critical", told_unix_ns=time.time_ns()))
    wait_for(lambda: [one["labels"]["severity"] for one in listed(alertmanager)] == ["critical"])
    webhook.tell(replace(graver, firing=False, unix_ns=time.time_ns(), told_unix_ns=time.time_ns()))
    wait_for(lambda: listed(alertmanager) == [])
    webhook.close()
