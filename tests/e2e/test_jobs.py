"""Accounting on the whole chain: simulated cards, agent, Kafka, recorder, Parquet, command; held against the cards' own counters."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from fakes.nvml.steer import FakeNode
from numpy.typing import NDArray
from services import stack
from services.kafka import Broker

GPUS = 8
BUSY_W, IDLE_W = 650.0, 70.0
BUDGET_W = 6000.0  # some 420 W for each of eight busy cards
WITHIN = 0.02
PERIOD_S = 0.2
CHANGE_J = 2 * PERIOD_S * BUSY_W
"""Two cards change hands between two passes, and that is known to a pass at best."""
COMMAND = (sys.executable, "-m", "gpuwarden.cli")


class Meter:
    """The cards' own counters, twenty times a second, in a thread."""

    def __init__(self, node: FakeNode) -> None:
        self._node, self._seen = node, list[tuple[int, list[float]]]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.wait(0.05):
            self._seen.append((time.time_ns(), [self._node.counted_energy_j(gpu) for gpu in range(GPUS)]))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def rise_j(self, first_ns: int, last_ns: int) -> NDArray[np.float64]:
        """Of each card (GPUS,) between two times of the wall clock."""
        times, counters = (np.array(column, np.float64) for column in zip(*self._seen, strict=True))
        return np.array([np.subtract(*np.interp([last_ns, first_ns], times, counters[:, gpu])) for gpu in range(GPUS)])


@pytest.fixture
def meter() -> Iterator[Callable[[FakeNode], Meter]]:
    made = list[Meter]()
    yield lambda node: made.append(Meter(node)) or made[-1]  # type: ignore[func-returns-value]  # append gives None, on purpose
    for one in made:
        one.close()


@pytest.fixture
def job() -> Iterator[Callable[[str, str, str], int]]:
    """A process of a job: (id, user, class) to its number."""
    started = list[subprocess.Popen[bytes]]()

    def start(job_id: str, user: str, job_class: str) -> int:
        env = {**os.environ, "SLURM_JOB_ID": job_id, "SLURM_JOB_USER": user, "GPUWARDEN_JOB_CLASS": job_class}
        started.append(subprocess.Popen(["sleep", "600"], env=env))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_until(true: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.05)


def accounted(history: Path, since_ns: int) -> tuple[dict[str, object], str]:
    since = datetime.fromtimestamp(since_ns / 1e9, UTC).isoformat()
    command = [*COMMAND, "jobs", "--history", str(history), "--since", since]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True, timeout=60).stdout), told


def test_what_is_printed_is_what_the_cards_counted(
    kafka_broker: Broker, tmp_path: Path, meter: Callable[[FakeNode], Meter], job: Callable[[str, str, str], int]
) -> None:
    """Two jobs that share a card, one of which ends; an agent that is killed between; caps that hold the cards back."""
    domain = f'name = "row"\nrating_w = {BUDGET_W}\nmode = "auto"\ndead_nodes = 0\n'
    plan = stack.Plan(("jobs-a",), domain, kafka_broker.bootstrap, agents=f"period_s = {PERIOD_S}")
    history = tmp_path / "history"
    with stack.running(tmp_path, plan) as row:
        node = row.gpus["jobs-a"]
        first, second = job("71", "ada", "training"), job("72", "bo", "batch")
        for gpu, pids in enumerate([[first]] * 4 + [[second, second]] * 2 + [[first, second]] + [[]]):
            node.set_demand(gpu, BUSY_W if pids else IDLE_W)
            for pid in pids:
                node.add_process(gpu, pid, 1 << 30)
        wait_until(lambda: 250.0 < node.limit_w(0) < BUSY_W)
        metered = meter(node)
        time.sleep(1.0)
        since_ns = time.time_ns()
        row.start("record", "record", "--bootstrap", kafka_broker.bootstrap, "--out", str(history), "--flush-s", "1")
        time.sleep(6.0)
        row.kill("agent-jobs-a")
        time.sleep(3.0)
        row.start_agent("jobs-a")
        time.sleep(10.0)
        node.end_processes(6)
        node.add_process(6, first, 1 << 30)
        for gpu in (4, 5):
            node.end_processes(gpu)
            node.set_demand(gpu, IDLE_W)
        ended_ns = time.time_ns()
        time.sleep(5.0)
        row.end("agent-jobs-a")
        time.sleep(2.0)
        row.end("record")
    made, told = accounted(history, since_ns)
    print(told)
    before, after = metered.rise_j(int(made["first_unix_ns"]), ended_ns), metered.rise_j(ended_ns, int(made["last_unix_ns"]))
    one, other = made["jobs"]
    print({"before": before.round(1).tolist(), "after": after.round(1).tolist()}, json.dumps(made))
    truth_j = {
        "71": before[:4].sum() + before[6] / 2 + after[:4].sum() + after[6], "72": before[4:6].sum() + before[6] / 2,
        "idle": before[7] + after[[4, 5, 7]].sum(),
    }
    assert {one["job_id"]: one["energy_j"], other["job_id"]: other["energy_j"], "idle": made["idle"]["energy_j"]} == {
        name: pytest.approx(joules, rel=WITHIN, abs=CHANGE_J) for name, joules in truth_j.items()
    }
    assert made["energy_j"] == pytest.approx(before.sum() + after.sum(), rel=WITHIN)
    assert abs(made["difference_ratio"]) < 1e-6 and made["power_j"] == made["unread_s"] == 0
    assert (one["user"], one["job_class"], one["gpus"], other["user"], other["gpus"]) == ("ada", "training", 5, "bo", 3)
    assert 0 < one["capped_s"] <= one["gpu_s"] and one["held_s"] > 0
    assert 0 < one["slowdown_least_ratio"] < one["slowdown_most_ratio"]
    assert "71" in told and "training" in told and "(idle)" in told
