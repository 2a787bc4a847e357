"""The whole controller in this process: from a report or a finding to ledger, grant, page, metrics and people."""

import sqlite3
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from fakes.limiters import KEY, Limiter
from services.port import free_port

from gpuwarden.controller.config import ControllerConfig, WebhookConfig
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.main import ControllerShell
from gpuwarden.core.address import Address
from gpuwarden.core.bus import Bus, BusError
from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.core.config import ConfigError
from gpuwarden.core.eventlog import read_head
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto import topics
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject
from gpuwarden.proto.lease_pb2 import Mode

KEYS = dict.fromkeys(("n0", "n1", "n2", "n3"), KEY)


def wait_for(true: Callable[[], object], within_s: float = 10) -> None:
    until_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def threads() -> set[str]:
    ours = ("decider", "rpc", "ticker", "findings", "mirror", "page")
    return {t.name for t in threading.enumerate() if t.name in ours or t.name.startswith("webhook-")}


def test_a_finding_is_in_the_ledger_on_the_bus_and_on_the_board(controller_config: ControllerConfig) -> None:
    bus = MemoryBus()
    mirrored = bus.consumer([topics.ACTIONS], "test")
    finding = Finding(
        version=1, id="f1", kind="xid", subject=Subject(node="n2"), severity=Severity.SEVERITY_CRITICAL,
        state=FindingState.FINDING_STATE_FIRING, summary="n2 has fallen off the bus.",
    )
    with ControllerShell(controller_config, KEYS, lambda stop: bus) as shell:
        producer = bus.producer()
        producer.send(topics.FINDINGS, "n2", b"garbage")
        producer.send(topics.FINDINGS, "n2", finding.SerializeToString())
        wait_for(lambda: (newest := shell.board.newest()) and newest.cluster.firing_count == 1)
        kinds = list[str]()
        wait_for(lambda: kinds.extend(pb.Action.FromString(r.value).kind for r in mirrored.poll(0.1, 99)) or "notify" in kinds)
        assert sorted(kinds) == ["epoch", "notify"]
    assert threads() == set()


def test_limiters_that_report_in_auto_are_capped_under_the_budget(
    shell: ControllerShell, channel: grpc.Channel, open_line: Callable
) -> None:
    """Four nodes want 5.4 kW each under a budget that carries less than that."""
    control = ControlServiceStub(channel)
    control.SetBudget(pb.SetBudgetRequest(domain="row-a", budget_w=28e3))
    rows = [(open_line(channel), Limiter(node, demand_w=5400.0)) for node in KEYS]
    heard = [threading.Thread(target=obey, args=row, daemon=True) for row in rows]
    for (line, limiter), hearing in zip(rows, heard, strict=True):
        line.hello(limiter.node)
        line.hear()
        hearing.start()
    until_s = time.monotonic() + 8
    while time.monotonic() < until_s:
        for line, limiter in rows:
            line.report(limiter.report(time.monotonic()))
        time.sleep(0.5)
    for line, _ in rows:
        line.end()
    for hearing in heard:
        hearing.join()
    assert [limiter.mode for _, limiter in rows] == [Mode.MODE_AUTO] * 4
    (domain,) = control.ListPowerDomains(pb.ListPowerDomainsRequest()).domains
    assert domain.counted_w <= 28e3 * 1.4
    kinds = {line.kind for line in control.ListActions(pb.ListActionsRequest()).actions}
    assert kinds >= {"epoch", "budget", "cap"}


def obey(line: "object", limiter: Limiter) -> None:
    while True:
        try:
            limiter.obey(time.monotonic(), line.hear().grant.SerializeToString())
        except (grpc.RpcError, StopIteration):
            return


def test_a_restart_has_a_higher_epoch_and_what_the_operator_set(controller_config: ControllerConfig) -> None:
    for epoch in (1, 2):
        with ControllerShell(controller_config, KEYS) as shell, grpc.insecure_channel(str(shell.address)) as channel:
            wait_for(lambda: shell.board.newest())
            cluster = shell.board.newest().cluster
            assert cluster.epoch == epoch
            assert cluster.domains[0].budget_w == (60e3 if epoch == 1 else 45e3)
            ControlServiceStub(channel).SetBudget(pb.SetBudgetRequest(domain="row-a", budget_w=45e3))


def test_page_metrics_and_event_log_are_there_when_asked_for(controller_config: ControllerConfig, tmp_path: Path) -> None:
    metrics_listen = Address("127.0.0.1", free_port())
    config = replace(controller_config, web_listen=Address("127.0.0.1", 0), metrics_listen=metrics_listen)
    with ControllerShell(config, KEYS, None, tmp_path / "events") as shell:
        wait_for(lambda: shell.board.newest())
        assert shell.page_url is not None
        assert "<html" in fetch(shell.page_url)
        wait_for(lambda: 'gpuwarden_domain_budget_watts{domain="row-a"} 60000.0' in fetch(f"http://{metrics_listen}/metrics"))
    (log,) = (tmp_path / "events").glob("controller-*.jsonl")
    part, setup = read_head(log)
    assert part == "controller"
    assert setup["$"] == ControllerSetup.__name__
    assert KEY.hex() not in log.read_text(encoding="utf-8")
    assert log.read_text(encoding="utf-8").count('"Tick"') >= 1


def test_an_address_that_is_taken_is_a_config_error_and_leaves_nothing_running(
    controller_config: ControllerConfig, shell: ControllerShell, tmp_path: Path
) -> None:
    before = threads()
    for key in ("listen", "metrics_listen", "web_listen"):
        wrong = replace(controller_config, ledger_file=tmp_path / f"{key}.sqlite", **{key: shell.address})
        with pytest.raises(ConfigError, match=f"{key}: {shell.address} cannot be had"):
            ControllerShell(wrong, KEYS)
    assert threads() == before


def test_an_event_folder_that_cannot_be_is_a_config_error(controller_config: ControllerConfig, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"--events .*/taken: "):
        ControllerShell(controller_config, KEYS, None, tmp_path / "taken")
    assert threads() == set()


def test_what_the_ledger_cannot_hold_is_not_done(controller_config: ControllerConfig, caplog: pytest.LogCaptureFixture) -> None:
    with ControllerShell(controller_config, KEYS) as shell:
        wait_for(lambda: shell.board.newest())
        thief = sqlite3.connect(controller_config.ledger_file)
        thief.execute("DROP TABLE line")
        thief.commit()
        thief.close()
        with grpc.insecure_channel(str(shell.address)) as channel, pytest.raises(grpc.RpcError):
            ControlServiceStub(channel).SetBudget(pb.SetBudgetRequest(domain="row-a", budget_w=45e3), timeout=1)
        assert shell.stop.wait(1)
        assert shell.failed
    assert "the controller stops: the ledger cannot be written: no such table: line" in caplog.text
    remembered = sqlite3.connect(controller_config.ledger_file)
    assert remembered.execute("SELECT count(*) FROM domain").fetchone() == (0,)
    remembered.close()


def test_a_decider_that_fails_stops_the_controller(
    controller_config: ControllerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Controller, now_s: float, event: object) -> list[object]:
        raise AssertionError("an invariant does not hold")

    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    monkeypatch.setattr(Controller, "step", broken)
    with ControllerShell(controller_config, KEYS) as shell:
        assert shell.stop.wait(2)
    assert shell.failed


def test_a_dead_bus_and_a_dead_webhook_do_not_slow_the_decider_or_the_end(controller_config: ControllerConfig) -> None:
    def never(stop: threading.Event) -> Bus:
        stop.wait()
        raise BusError("nobody came")

    webhook = WebhookConfig("dead", "http://127.0.0.1:9/", min_severity="info")
    config = replace(controller_config, webhooks=(webhook,))
    with ControllerShell(config, KEYS, never) as shell:
        wait_for(lambda: shell.board.newest(), within_s=3)
        first = shell.board.newest()
        wait_for(lambda: shell.board.newest() is not first, within_s=2)
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 3
    Ledger(config.ledger_file).close()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())
