"""The agent as a process of its own, with nobody to talk to: it collects, shows metrics, and ends when it is asked to."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from services.port import free_port, wait_until_open

from gpuwarden.agent import events, machine, reading
from gpuwarden.core.eventlog import read_head, read_steps, replay
from gpuwarden.core.plain import Reader
from gpuwarden.proto import catalogue

TYPES = [t for module in (events, machine, reading, catalogue) for t in vars(module).values() if isinstance(t, type)]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    (tmp_path / "agent.toml").write_text(
        f'node = "n1"\nperiod_s = 0.3\ncollectors = ["host", "fake"]\nmetrics_listen = "127.0.0.1:{port}"\n'
        f'controller = "127.0.0.1:{free_port()}"\nlimiter_socket = "{tmp_path}/nobody.sock"\n'
    )
    command = [sys.executable, "-m", "gpuwarden.cli", "agent", "--config", "agent.toml", "--events", "events"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    wait_until_open(port, process, tmp_path / "log", 20.0)
    time.sleep(2.0)
    yield process, port
    process.kill()
    process.wait()


def test_it_serves_what_it_reads_and_ends_within_five_seconds(running: tuple[subprocess.Popen[bytes], int], tmp_path: Path) -> None:
    process, port = running
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5.0) as page:
        families = {family.name: family for family in text_string_to_metric_families(page.read().decode())}
    assert len(families["gpuwarden_gpu_power_watts"].samples) == 8
    assert families["gpuwarden_host_uptime_seconds"].samples[0].labels == {"node": "n1"}
    assert {s.labels["collector"]: s.value for s in families["gpuwarden_collector_success"].samples} == {"host": 1, "fake": 1}
    assert families["gpuwarden_collector_duration_seconds"].samples
    process.terminate()
    process.wait(5.0)
    log = (tmp_path / "log").read_text()
    assert process.returncode == 0 and "Traceback" not in log
    assert 1 <= log.count("controller out of reach") <= 2  # told on change only


def test_its_event_log_decides_the_same_again(running: tuple[subprocess.Popen[bytes], int], tmp_path: Path) -> None:
    running[0].terminate()
    running[0].wait(5.0)
    path = tmp_path / "events" / "agent-n1.jsonl"
    setup = Reader(TYPES).read(read_head(path)[1])
    steps = list(replay(read_steps(path, Reader(TYPES)), lambda: machine.Agent(setup)))
    assert len(steps) > 10 and all(step.same for step in steps)
