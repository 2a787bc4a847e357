"""`gpuwarden alerts`, `ack` and `maintenance` against a real controller."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.limiters import KEY

from gpuwarden.cli.main import main
from gpuwarden.controller.config import ControllerConfig
from gpuwarden.controller.main import ControllerShell
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.address import Address

Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    row = DomainConfig("row-a", 60e3, (NodeClass("h100", ("n0", "n1")),), mode="auto")
    config = ControllerConfig(
        ledger_file=tmp_path / "ledger.sqlite", keys_dir=tmp_path, domains=(row,), listen=Address("127.0.0.1", 0), group_wait_s=0.0
    )
    with ControllerShell(config, dict.fromkeys(("n0", "n1"), KEY)) as shell:
        yield lambda *words: main([*words, "--server", str(shell.address)])


def wait_for_alert(run: Run, capsys: pytest.CaptureFixture[str], key: str) -> dict[str, object]:
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        if run("alerts", "--json") == 0:
            listed = {alert["key"]: alert for alert in json.loads(capsys.readouterr().out).get("alerts", [])}
            if listed.get(key, {}).get("level"):
                found: dict[str, object] = listed[key]
                return found
        capsys.readouterr()
        time.sleep(0.2)
    raise AssertionError(f"{key} was not told")


def test_an_alert_is_listed_acknowledged_and_then_shown_so(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert wait_for_alert(run, capsys, "row-a/unaccounted")["severity"] == "critical"
    assert run("ack", "row-a/unaccounted") == 0
    assert "acknowledged by operator at 127.0.0.1" in capsys.readouterr().out
    assert run("ack", "row-a/nothing") == 1
    assert "see gpuwarden alerts" in capsys.readouterr().err


def test_a_window_is_tried_opened_and_ended(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    opening = ("maintenance", "--nodes", "n[0-1]", "--for", "30m", "--reason", "fans")
    assert run(*opening, "--dry-run") == 0
    assert "would be open" in capsys.readouterr().out
    assert run(*opening, "--json") == 0
    window = json.loads(capsys.readouterr().out)
    assert window["nodes"] == ["n0", "n1"] and window["reason"] == "fans"
    assert run("maintenance", "--end", window["id"]) == 0
    assert "ended: 2 nodes, n0 first" in capsys.readouterr().out
    assert run("maintenance", "--end", window["id"]) == 1


def test_a_time_that_cannot_be_is_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("maintenance", "--domain", "row-a", "--for", "soon")
    assert "should be a number and one of s, m, h, d" in capsys.readouterr().err
