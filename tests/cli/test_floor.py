"""`gpuwarden floor` against a real controller."""

import json
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
    row = DomainConfig("row-a", 60e3, (NodeClass("h100", ("n0", "n1")),), policy="headroom")
    config = ControllerConfig(ledger_file=tmp_path / "ledger.sqlite", keys_dir=tmp_path, domains=(row,), listen=Address("127.0.0.1", 0))
    with ControllerShell(config, dict.fromkeys(("n0", "n1"), KEY)) as shell:
        yield lambda *words: main([*words, "--server", str(shell.address)])


def test_a_floor_is_tried_set_listed_and_ended(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("floor", "4711", "--watts", "500", "--nodes", "n[0-1]", "--for", "2h")
    assert run(*asked, "--dry-run") == 0
    assert "would be: job 4711 keeps 500 W a GPU on 2 nodes" in capsys.readouterr().out
    assert run(*asked, "--json") == 0
    assert json.loads(capsys.readouterr().out)["nodes"] == ["n0", "n1"]
    assert run("floor", "4711", "--end") == 0
    assert "ended: job 4711 keeps 500 W" in capsys.readouterr().out
    assert run("floor", "4711", "--end") == 1
    assert "'4711' keeps nothing" in capsys.readouterr().err


def test_what_cannot_be_is_said(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("floor", "4711") == 2
    assert "exactly one of --watts and --end" in capsys.readouterr().err
    assert run("floor", "4711", "--watts", "900", "--nodes", "n0") == 1
    assert "at most 700 W for class 'h100'" in capsys.readouterr().err
