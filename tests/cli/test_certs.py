"""`gpuwarden config certs`: what it makes is enough for what the guides say to type."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuwarden.cli.certs import HERE
from gpuwarden.cli.client import SERVER
from gpuwarden.cli.main import main
from gpuwarden.controller.config import ControllerConfig, read_keys
from gpuwarden.controller.main import ControllerShell
from gpuwarden.core.config import load

DRAWN_WITHIN_S = 20.0  # the first picture


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    out = tmp_path / "ca"
    assert main(["config", "certs", "--out", str(out), "--controller", "ctl.example.org", "--viewer", "wall"]) == 0
    return out


@pytest.fixture(params=["127.0.0.1", "[::1]"])
def port_of(request: pytest.FixtureRequest, machine, certs: Path) -> Iterator[tuple[str, int]]:
    """Where a controller with its certificate listens."""
    machine.replace("controller", 'listen = "127.0.0.1:' + str(machine.controller_port), f'listen = "{request.param}:{machine.controller_port}')
    machine.replace("controller", "ledger_file", f'tls_dir = "{certs / "controller-ctl.example.org"}"\nledger_file')
    config = load(machine.place.file("controller"), ControllerConfig)
    with ControllerShell(config, read_keys(config)):
        yield request.param, machine.controller_port


def test_status_answers_on_the_controllers_own_machine(port_of: tuple[str, int], certs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host, port = port_of
    for called in (host, "localhost"):
        status, until_s = ["status", "--server", f"{called}:{port}", "--tls", str(certs / "viewer-wall")], time.monotonic() + DRAWN_WITHIN_S
        while (answer := main(status)) == 2 and time.monotonic() < until_s:
            time.sleep(0.1)
        assert answer != 2, capsys.readouterr().err


def test_the_commands_default_is_one_of_those_names() -> None:
    assert SERVER.host in HERE
