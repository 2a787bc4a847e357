"""A disk that is full, as a limit on the size of files: who must not go on says so and ends, who may go on says so and does."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from services import kafka
from services.port import free_port

from gpuwarden.controller.ledger import Ledger, LedgerError
from gpuwarden.core.bus import BusConfig
from gpuwarden.core.connect import connect
from gpuwarden.proto import control_pb2 as pb
from gpuwarden.proto import topics
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.control_pb2_grpc import ControlServiceStub
from gpuwarden.proto.encode import encode, encode_block

COMMAND = (sys.executable, "-m", "gpuwarden.cli")


class Limited:
    """A daemon none of whose files may grow beyond `most_bytes`; what it says comes through a pipe, which is none."""

    def __init__(self, most_bytes: int, *words: str) -> None:
        limit = f"import resource, os, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({most_bytes},) * 2); os.execv(sys.argv[1], sys.argv[1:])"
        self.process = subprocess.Popen([sys.executable, "-c", limit, *COMMAND, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.said = b""
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)

    def says(self, sentence: str, within_s: float = 20) -> None:
        until_s = time.monotonic() + within_s
        assert self.process.stderr is not None
        while sentence.encode() not in self.said:
            assert time.monotonic() < until_s, self.said.decode()[-3000:]
            self.said += self.process.stderr.read() or b""
            time.sleep(0.05)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start() -> Iterator[Callable[..., Limited]]:
    started: list[Limited] = []

    def one(most_bytes: int, *words: str) -> Limited:
        started.append(Limited(most_bytes, *words))
        return started[-1]

    yield one
    for daemon in started:
        daemon.close()


def test_a_controller_that_cannot_write_its_ledger_stops_says_so_and_has_lost_no_line(
    start: Callable[..., Limited], tmp_path: Path
) -> None:
    key, file, port = tmp_path / "n1.key", tmp_path / "controller.toml", free_port()
    key.write_text("1" * 64, encoding="ascii")
    key.chmod(0o600)
    file.write_text(
        f'ledger_file = "{tmp_path}/ledger"\nkeys_dir = "{tmp_path}"\nlisten = "127.0.0.1:{port}"\n'
        '[[domains]]\nname = "a"\nrating_w = 60_000\n[[domains.classes]]\nname = "h"\nnodes = ["n1"]\n', encoding="utf-8",
    )
    controller = start(260_000, "controller", "--config", str(file))
    controller.says("agents and operators are served")
    with pytest.raises(LedgerError, match=rf"another controller \(process {controller.process.pid}\) is writing it"):
        Ledger(tmp_path / "ledger")
    told = 0
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError):
        for told in range(500):
            request = pb.SetBudgetRequest(domain="a", budget_w=30_000 + told, request_id=str(told))
            ControlServiceStub(channel).SetBudget(request, timeout=3)
    controller.says("the controller stops: the ledger cannot be written: ")
    assert controller.process.wait(10) == 1
    after = Ledger(tmp_path / "ledger")
    assert sum(line.kind == "budget" for line in after.newest(999)) >= told > 5
    after.close()


def test_an_event_log_that_cannot_be_written_ends_and_the_daemon_goes_on(start: Callable[..., Limited], tmp_path: Path) -> None:
    page = free_port()
    (tmp_path / "agent.toml").write_text(
        f'node = "n1"\ncollectors = ["fake"]\nperiod_s = 0.1\nmetrics_listen = "127.0.0.1:{page}"\n', encoding="utf-8"
    )
    agent = start(60_000, "agent", "--config", str(tmp_path / "agent.toml"), "--events", str(tmp_path / "events"))
    log = tmp_path / "events" / "agent-n1.jsonl"
    agent.says(f"event log {log}: File too large: it ends here, and the daemon goes on without it")
    before_j = energy_j(page)
    time.sleep(0.6)
    assert energy_j(page) > before_j
    agent.process.send_signal(signal.SIGTERM)
    assert agent.process.wait(10) == 0
    replayed = subprocess.run([*COMMAND, "replay", str(log)], capture_output=True, text=True, timeout=30, check=False)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def energy_j(page: int) -> float:
    """What the first card has taken by the newest pass."""
    with urllib.request.urlopen(f"http://127.0.0.1:{page}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    (said,) = [line for line in lines if line.startswith("gpuwarden_gpu_energy_joules_total{") and 'gpu="0"' in line]
    return float(said.split()[-1])


def test_a_recorder_that_cannot_write_says_so_and_the_next_one_reads_the_same_again(
    start: Callable[..., Limited], tmp_path: Path, kafka_broker: kafka.Broker
) -> None:
    producer = connect(BusConfig(bootstrap=(kafka_broker.bootstrap,))).producer()
    for sequence in range(1, 40):
        block = encode_block(Device.GPU, ["GPU-0"], [BY_NAME["gpu_power_watts"]], [[500.0]])
        producer.send(topics.TELEMETRY, "full-a", encode("full-a", "start", sequence, time.time_ns(), [block]))
    producer.flush(10)
    producer.close()
    words = ("record", "--bootstrap", kafka_broker.bootstrap, "--out", str(tmp_path / "history"), "--flush-s", "1")
    for _ in range(2):
        recorder = start(500, *words)
        recorder.says("what is not written there is not committed, and will be read again", 40)
        assert recorder.process.wait(10) == 2
    assert not list((tmp_path / "history").rglob("*.parquet"))
