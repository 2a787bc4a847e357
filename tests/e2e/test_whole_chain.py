"""Everything in separate processes, on simulated GPUs: caps come down, and whoever dies, the floor follows within lease + 1 s."""

import base64
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from services import stack
from services.kafka import Broker

FLOOR_W, GPUS = 200.0, 8
BUDGET_W = 12_000.0


@pytest.fixture(scope="module")
def row(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    domain = f'name = "row"\nrating_w = {BUDGET_W}\nmode = "auto"\ndead_nodes = 0\n'
    plan = stack.Plan(("a", "b"), domain, kafka_broker.bootstrap)
    with stack.running(tmp_path_factory.mktemp("row"), plan) as running:
        for gpus in running.gpus.values():
            gpus.set_demands(650.0)
        yield running


def limits_w(row: stack.Stack, node: str) -> list[float]:
    return [row.gpus[node].limit_w(gpu) for gpu in range(GPUS)]


def wait_until(true: Callable[[], bool], timeout_s: float) -> float:
    """Seconds that it took; fails if it did not come true."""
    start_s = time.monotonic()
    while not true():
        assert time.monotonic() - start_s < timeout_s
        time.sleep(0.05)
    return time.monotonic() - start_s


def above_the_floor(row: stack.Stack, node: str) -> bool:
    return min(limits_w(row, node)) > FLOOR_W + 50.0


def draw_w(row: stack.Stack) -> float:
    return sum(2300 + 1.1 * sum(row.gpus[node].true_power_w(gpu) for gpu in range(GPUS)) for node in "ab")


def capped(row: stack.Stack, node: str) -> bool:
    return above_the_floor(row, node) and max(limits_w(row, node)) < 650.0


def test_two_busy_nodes_are_capped_above_the_floor_and_within_the_budget(row: stack.Stack) -> None:
    wait_until(lambda: all(capped(row, node) for node in "ab"), 40.0)
    time.sleep(2.0)  # cards obey
    for _ in range(30):
        assert 0.8 * BUDGET_W < draw_w(row) <= BUDGET_W
        time.sleep(0.1)


@pytest.mark.parametrize("victim", ["agent-a", "controller"])
def test_whoever_dies_every_gpu_is_at_its_floor_within_the_lease_and_a_second(row: stack.Stack, victim: str) -> None:
    nodes = "a" if victim == "agent-a" else "ab"
    wait_until(lambda: all(capped(row, node) for node in nodes), 40.0)
    row.kill(victim)
    took_s = wait_until(lambda: all(max(limits_w(row, node)) <= FLOOR_W for node in nodes), stack.LEASE_S + 1.0)
    print(f"{victim} killed: {len(nodes) * GPUS} GPUs at the floor after {took_s:.2f} s")
    if victim == "agent-a":
        row.start_agent("a")
    else:
        row.start_controller()
    wait_until(lambda: all(capped(row, node) for node in "ab"), 40.0)


def test_every_daemons_metrics_pass_prometheus_own_lint(row: stack.Stack) -> None:
    for name, port in row.metrics.items():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10.0) as page:
            text = page.read()
        assert b"gpuwarden_build_info" in text, name
        found = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False, timeout=30)
        assert found.returncode == 0, f"{name}: {found.stderr.decode()}"


def test_logs_tell_of_no_accident(row: stack.Stack) -> None:
    for log in Path(row.folder).glob("*.log"):
        assert "Traceback" not in log.read_text(), log.name


def test_no_key_is_in_a_command_line_which_all_users_of_a_host_can_read(row: stack.Stack) -> None:
    lines = {pid: line for process in row.processes.values() for pid, line in command_lines(process.pid)}
    said = b"\n".join(lines.values())
    assert len(lines) >= len(row.processes) == 6 and said.count(b"--config") >= 6
    for node in "ab":
        key = (row.folder / "keys" / f"{node}.key").read_text().strip()
        forms = (key.encode(), key.upper().encode(), bytes.fromhex(key), base64.b64encode(bytes.fromhex(key)))
        assert len(key) == 64 and not any(form in said for form in forms)


def command_lines(pid: int) -> Iterator[tuple[int, bytes]]:
    """A process's and those of all that it has started."""
    yield pid, Path(f"/proc/{pid}/cmdline").read_bytes()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from command_lines(int(child))
