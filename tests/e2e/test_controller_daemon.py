"""The controller as a process: operated by the command line, ended, killed, and with everything around it dead."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from services import kafka
from services.port import free_port, wait_until_open

from gpuwarden.cli.main import main
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto import topics
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject

COMMAND = (sys.executable, "-m", "gpuwarden.cli")
STOPS_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Said:
    returncode: int
    stdout: str
    stderr: str


def gpuwarden(*words: str) -> Said:
    """An operator's command, in this process: one of its own takes most of a second to load what it needs."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        returncode = main(words)
    return Said(returncode, out.getvalue(), err.getvalue())


class Daemon:
    """A configuration in a folder, and the controller that runs by it."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.server = f"127.0.0.1:{free_port()}"
        self.file = folder / "controller.toml"
        self.log = folder / "log"
        made = gpuwarden("config", "node-keys", "n[1-8]", "--out", str(folder / "keys"))
        assert made.returncode == 0, made.stderr
        self.file.write_text(
            f'listen = "{self.server}"\nledger_file = "{folder / "ledger"}"\nkeys_dir = "{folder / "keys"}"\n{more}\n'
            '[[domains]]\nname = "row-a"\nrating_w = 60_000\n'
            '[[domains.classes]]\nname = "h100"\nnodes = ["n[1-8]"]\n',
            encoding="utf-8",
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*COMMAND, "controller", "--config", str(self.file)], stderr=log)
        wait_until_open(int(self.server.rpartition(":")[2]), self.process, self.log, 20.0)
        self.wait_for(lambda: self.ask("status").returncode != 2)  # it draws its first picture a second later

    def ask(self, *words: str) -> Said:
        return gpuwarden(*words, "--server", self.server)

    def status(self) -> dict[str, Any]:
        answer = self.ask("status", "--json")
        assert answer.returncode == 1, answer.stderr  # its nodes have no limiters
        seen: dict[str, Any] = json.loads(answer.stdout)
        return seen

    def wait_for(self, true: Callable[[], object], within_s: float = 20) -> None:
        until_s = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < until_s, self.log.read_text(encoding="utf-8")[-4000:]
            time.sleep(0.1)

    def end(self, with_signal: int) -> tuple[int, float]:
        """(exit status, seconds that it took)"""
        assert self.process is not None
        began_s = time.monotonic()
        os.kill(self.process.pid, with_signal)
        status, self.process = self.process.wait(30), None
        return status, time.monotonic() - began_s


@pytest.fixture
def make_daemon(tmp_path: Path) -> Iterator[Callable[[str], Daemon]]:
    made: list[Daemon] = []

    def make(more: str = "") -> Daemon:
        made.append(Daemon(tmp_path, more))
        return made[-1]

    yield make
    for daemon in made:
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()


def test_an_operator_sets_budget_and_mode_and_sees_them(make_daemon: Callable[[], Daemon]) -> None:
    daemon = make_daemon()
    daemon.start()
    assert "row-a   observe" in daemon.ask("status").stdout
    tried = daemon.ask("budget", "row-a", "50000", "--dry-run")
    assert (tried.returncode, tried.stdout) == (0, "row-a: budget would be 50,000 W\n")
    assert daemon.ask("budget", "row-a", "48000").stdout == "row-a: budget is 48,000 W\n"
    assert json.loads(daemon.ask("mode", "row-a", "auto", "--json").stdout)["mode"] == "MODE_AUTO"
    time.sleep(1.2)
    seen = daemon.status()
    assert seen["cluster"]["domains"][0]["budget_w"] == 48000.0
    assert seen["cluster"]["domains"][0]["mode"] == "MODE_AUTO"
    assert [node["name"] for node in seen["nodes"]] == [f"n{i}" for i in range(1, 9)]
    refused = daemon.ask("mode", "row-a", "observe")
    assert refused.returncode == 1
    assert "may draw 70,144 W at the driver's defaults" in refused.stderr
    forced = daemon.ask("mode", "row-a", "observe", "--force")
    assert (forced.returncode, forced.stdout) == (0, "row-a: mode is observe\n")
    assert "warning: outside auto row-a may draw 70,144 W" in forced.stderr


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One that nobody changes."""
    daemon = Daemon(tmp_path_factory.mktemp("running"))
    daemon.start()
    yield daemon
    daemon.end(signal.SIGKILL)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("budget", "row-a", "9000"), "8 x (2,300 + 1.1 x 1.05 x 8 x 200 W) + 1 dead at the driver's default = 37,804 W"),
        (("budget", "row-a", "nan"), "refused (INVALID_ARGUMENT): budget_w: is nan W, should be above 0"),
        (("budget", "row-z", "50000"), "there is no power domain 'row-z'; there are row-a"),
    ],
)
def test_a_refusal_says_what_is_wrong(running: Daemon, words: tuple[str, ...], says: str) -> None:
    answer = running.ask(*words)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert says in answer.stderr


def test_a_controller_that_is_not_there_is_said_with_what_to_look_at() -> None:
    answer = gpuwarden("status", "--server", f"127.0.0.1:{free_port()}")
    assert answer.returncode == 2
    assert "gpuwarden: no controller answers at 127.0.0.1:" in answer.stderr
    assert "is it running" in answer.stderr


def test_a_bad_configuration_is_said_with_file_and_key_and_starts_nothing(make_daemon: Callable[[str], Daemon]) -> None:
    daemon = make_daemon("lease = 3")
    answer = subprocess.run([*COMMAND, "controller", "--config", str(daemon.file)], capture_output=True, text=True, timeout=30, check=False)
    assert answer.returncode == 2
    assert answer.stderr == f"gpuwarden: {daemon.file}: lease: unknown key; did you mean lease_s?\n"


def test_it_stops_in_time_with_kafka_gone_and_a_webhook_that_hangs(make_daemon: Callable[[str], Daemon]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}/"
        daemon = make_daemon()
        text = daemon.file.read_text(encoding="utf-8").replace("rating_w", 'mode = "auto"\nrating_w', 1)
        more = f'\n[[webhooks]]\nname = "hangs"\nurl = "{url}"\n[bus]\nbootstrap = ["127.0.0.1:{free_port()}"]\n'
        daemon.file.write_text(text + more, encoding="utf-8")
        daemon.start()
        hanging.settimeout(20)
        connection, _ = hanging.accept()  # 8 nodes that nobody vouches for are told of
        first = daemon.status()["cluster"]["unix_ns"]
        daemon.wait_for(lambda: daemon.status()["cluster"]["unix_ns"] > first, within_s=5)
        status, took_s = daemon.end(signal.SIGTERM)
        connection.close()
    assert status == 0
    assert took_s < STOPS_WITHIN_S
    assert "Kafka" in daemon.log.read_text(encoding="utf-8")


def test_a_killed_controller_comes_back_with_a_higher_epoch_and_the_operators_budget(
    make_daemon: Callable[[], Daemon],
) -> None:
    daemon = make_daemon()
    daemon.start()
    assert daemon.ask("budget", "row-a", "48000").returncode == 0
    daemon.end(signal.SIGKILL)
    daemon.start()
    cluster = daemon.status()["cluster"]
    assert (int(cluster["epoch"]), cluster["domains"][0]["budget_w"]) == (2, 48000.0)


def test_findings_come_in_and_ledger_lines_go_out_over_kafka_and_power_outlives_it(
    make_daemon: Callable[[str], Daemon], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with kafka.running(tmp_path_factory.mktemp("kafka")) as broker:
        daemon = make_daemon()
        with daemon.file.open("a", encoding="utf-8") as more:
            more.write(f'[bus]\nbootstrap = ["{broker.bootstrap}"]\npartitions = 1\n')
        daemon.start()
        kinds = tell_of_a_finding(broker.bootstrap)
        daemon.wait_for(lambda: daemon.status().get("findings"))
        assert "n3: n3 has fallen off the bus.\n       next: Reset it." in daemon.ask("status").stdout
        assert set(kinds) == {"epoch", "notify"}
        broker.kill()
        assert daemon.ask("budget", "row-a", "48000").returncode == 0
        status, took_s = daemon.end(signal.SIGTERM)
    assert status == 0
    assert took_s < STOPS_WITHIN_S


def tell_of_a_finding(bootstrap: str) -> list[str]:
    """Kinds of the ledger lines that come back, until one tells of it."""
    from gpuwarden.core.bus import BusConfig
    from gpuwarden.core.connect import connect

    bus, kinds = connect(BusConfig(bootstrap=(bootstrap,), partitions=1)), list[str]()
    finding = Finding(
        version=1, id="f1", kind="xid", subject=Subject(node="n3"), severity=Severity.SEVERITY_CRITICAL,
        state=FindingState.FINDING_STATE_FIRING, summary="n3 has fallen off the bus.", suggested_action="Reset it.",
    )
    with closing(bus.producer()) as producer, closing(bus.consumer([topics.ACTIONS], "e2e")) as consumer:
        producer.send(topics.FINDINGS, "n3", finding.SerializeToString())
        until_s = time.monotonic() + 40
        while "notify" not in kinds and time.monotonic() < until_s:
            kinds += [pb.Action.FromString(record.value).kind for record in consumer.poll(0.5, 100)]
    return kinds
