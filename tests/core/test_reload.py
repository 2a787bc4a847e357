"""SIGHUP kills no daemon: it says which keys differ, and that a restart makes them take effect."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fakes.nvml.steer import FakeNode
from services.port import free_port

from gpuwarden.core.address import Address
from gpuwarden.core.config import option
from gpuwarden.core.reload import differences

COMMAND = (sys.executable, "-m", "gpuwarden.cli")
FAKE_AGENT = 'node = "n1"\ncollectors = ["fake"]\nperiod_s = 1.0\n'


@dataclass(frozen=True, slots=True)
class Class:
    name: str = option("a")
    floor_w: float = option("b", default=200.0)


@dataclass(frozen=True, slots=True)
class Config:
    classes: tuple[Class, ...] = option("c", default=(Class("x"), Class("y")))
    listen: Address = option("d", default=Address("127.0.0.1", 1))
    inner: Class | None = option("e", default=None)


def test_keys_that_differ_are_named_to_the_last_and_values_are_not() -> None:
    running = Config()
    assert list(differences(running, Config())) == []
    other = replace(running, classes=(Class("x"), Class("y", 250.0)), listen=Address("127.0.0.1", 2), inner=Class("z"))
    assert list(differences(running, other)) == ["classes[1].floor_w", "listen.port", "inner"]
    assert list(differences(running, replace(running, classes=()))) == ["classes"]


class Daemon:
    """A daemon whose standard error is in a file."""

    def __init__(self, log: Path, *words: str) -> None:
        self.log = log
        with log.open("ab") as err:
            self.process = subprocess.Popen([*COMMAND, *words], stderr=err, stdout=subprocess.DEVNULL)

    def says(self, sentence: str, times: int = 1) -> None:
        until_s = time.monotonic() + 20
        while self.log.read_text(encoding="utf-8").count(sentence) < times:
            assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
            assert time.monotonic() < until_s, self.log.read_text(encoding="utf-8")[-2000:]
            time.sleep(0.05)

    def hang_up(self) -> None:
        os.kill(self.process.pid, signal.SIGHUP)

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    started: list[Daemon] = []

    def one(*words: str) -> Daemon:
        started.append(Daemon(tmp_path / "log", *words))
        return started[-1]

    yield one
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.process.kill()
            daemon.process.wait()


def test_a_daemon_tells_what_differs_then_what_is_wrong_then_that_nothing_does(
    start: Callable[..., Daemon], tmp_path: Path
) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(FAKE_AGENT, encoding="utf-8")
    agent = start("agent", "--config", str(file))
    agent.says("reads fake")
    file.write_text(FAKE_AGENT.replace("1.0", "2.0") + "[fake]\nseed = 7\n", encoding="utf-8")
    agent.hang_up()
    agent.says(f"SIGHUP: {file} differs from what runs in period_s, fake.seed; nothing takes effect before a restart")
    file.write_text("perod_s = 1\n", encoding="utf-8")
    agent.hang_up()
    agent.says("SIGHUP: nothing has changed here, and a restart would fail: ")
    agent.says("perod_s: unknown key; did you mean period_s?")
    file.write_text(FAKE_AGENT, encoding="utf-8")
    agent.hang_up()
    agent.says("is as what runs: there is nothing to take effect")
    assert agent.end() == 0


def test_a_limiter_does_not_die_of_a_hangup(start: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its death would leave its last limits in the driver."""
    key, file = tmp_path / "n1.key", tmp_path / "limiter.toml"
    key.write_text("1" * 64, encoding="ascii")
    key.chmod(0o600)
    text = f'node = "n1"\nkey_file = "{key}"\nfloor_w = 200.0\nsocket = "{tmp_path}/sock"\nstate_file = "{tmp_path}/state"\n'
    file.write_text(text, encoding="utf-8")
    with FakeNode(tmp_path / "cards", gpus=2) as node:
        for name, value in node.env().items():
            monkeypatch.setenv(name, value)
        limiter = start("limiter", "--config", str(file))
        limiter.says("2 cards, mode")
        file.write_text(text.replace("200.0", "250.0"), encoding="utf-8")
        limiter.hang_up()
        limiter.says("differs from what runs in floor_w; nothing takes effect before a restart")
        assert limiter.end() == 0


@pytest.mark.parametrize("verb", ["detector", "record", "controller"])
def test_no_other_daemon_dies_of_a_hangup(start: Callable[..., Daemon], tmp_path: Path, verb: str) -> None:
    file, bus = tmp_path / f"{verb}.toml", f'bootstrap = ["127.0.0.1:{free_port()}"]'
    if verb == "record":
        daemon = start("record", "--bootstrap", f"127.0.0.1:{free_port()}", "--out", str(tmp_path / "out"))
    else:
        file.write_text(
            f"[bus]\n{bus}\n" if verb == "detector" else
            f'ledger_file = "{tmp_path}/ledger"\nkeys_dir = "{tmp_path}"\nlisten = "127.0.0.1:0"\n'
            '[[domains]]\nname = "a"\nrating_w = 30_000\n[[domains.classes]]\nname = "h"\nnodes = ["n1"]\n', encoding="utf-8",
        )
        key = tmp_path / "n1.key"
        key.write_text("1" * 64, encoding="ascii")
        key.chmod(0o600)
        daemon = start(verb, "--config", str(file))
    daemon.says("agents and operators are served" if verb == "controller" else "connecting to Kafka")
    daemon.hang_up()
    daemon.says("SIGHUP: ")
    daemon.hang_up()
    daemon.says("SIGHUP: ", times=2)
    assert daemon.process.poll() is None
