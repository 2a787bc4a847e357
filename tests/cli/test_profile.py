"""`gpuwarden profile` on simulated cards, whose physics a test knows: power goes with the 2.4th power of the clock."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.nvml.steer import FakeNode

ROOT = Path(__file__).resolve().parents[2]
WORKLOAD = str(ROOT / "tests/fakes/nvml/workload.py")
HIGHEST_HZ = 1980e6


@pytest.fixture
def node(tmp_path: Path) -> FakeNode:
    made = FakeNode(tmp_path / "cards", gpus=2)
    made.set("gain_ratio", 0.0, 0)
    made.set_demand(0, 650.0)
    return made


def command(node: FakeNode, *options: str, work: tuple[str, ...] = ("0.6",)) -> tuple[list[str], dict[str, str]]:
    line = [sys.executable, "-m", "gpuwarden.cli", "profile", "--socket", f"{node.path}.sock", *options, "--", sys.executable, WORKLOAD, *work]
    return line, {**os.environ, **node.env()}


def profiled(node: FakeNode, *options: str, work: tuple[str, ...] = ("0.6",)) -> subprocess.CompletedProcess[str]:
    line, env = command(node, *options, work=work)
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_clocks_cost_time_and_save_power_as_the_card_has_it(node: FakeNode) -> None:
    done = profiled(node, "--json", "--ratios", "0.5", "--repeats", "1", work=("2.0",))
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    free, locked = made["runs"]
    assert (free["point"]["clock_hz"], locked["point"]["clock_hz"]) == (0.0, 990e6)
    assert (free["clock_hz"], locked["clock_hz"]) == (HIGHEST_HZ, 990e6)
    assert locked["duration_s"] > free["duration_s"] + 1.0, "half the clock, 2 s more; a busy machine takes longer to start an interpreter"
    assert free["duration_s"] > 2.0 and locked["duration_s"] > 4.0
    for one, power_w in ((free, 650.0), (locked, 70.0 + 630.0 * 0.5**2.4)):
        assert one["p99_w"] == pytest.approx(power_w, rel=0.02)
        assert one["mean_w"] == pytest.approx(power_w, rel=0.15)  # the counter goes on ten times a second, and this is a few seconds


def test_limits_are_measured_too_and_shown_as_a_table(node: FakeNode) -> None:
    done = profiled(node, "--by", "limit", "--ratios", "0.6,0.2", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[0].startswith("card 0, GPU-") and "limit 200 to 700 W, default 700 W" in said[0]
    assert said[2].split()[:2] == ["700", "W"] and said[3].split()[:2] == ["420", "W"] and not said[4], "0.2 is below the card's lowest"
    assert "-3" in said[3].split("W", 2)[2], "650 to 420 W is 35 % less"
    assert "Runs of one setting differ" in said[5]


def test_a_card_that_became_slower_meanwhile_is_told(node: FakeNode, tmp_path: Path) -> None:
    """The fourth run, the last one at the first setting, takes six times as long."""
    line, env = command(node, "--ratios", "0.5", "--repeats", "1")
    work = f"echo >> {tmp_path}/runs; if [ $(wc -l < {tmp_path}/runs) -ge 4 ]; then sleep 1.8; else sleep 0.3; fi"
    done = subprocess.run([*line[: line.index("--") + 1], "sh", "-c", work], env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "That is much: card or node was not the same" in done.stdout


def found_again(node: FakeNode) -> tuple[float, float]:
    return node.get("locked_mhz", 0), node.get("requested_w", 0)


@pytest.mark.parametrize("by", ["clock", "limit"])
def test_the_card_is_left_as_it_was_found(node: FakeNode, by: str) -> None:
    node.set("requested_w", 550.0, 0)
    assert profiled(node, "--by", by, "--ratios", "0.8", "--repeats", "1", work=("0.3",)).returncode == 0
    assert found_again(node) == (0.0, 550.0)


def test_a_workload_that_fails_is_told_and_the_card_is_given_back(node: FakeNode) -> None:
    done = profiled(node, work=("0.1", "fail"))
    assert done.returncode == 2 and "ended with status 1: out of memory" in done.stderr
    assert found_again(node) == (0.0, 700.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_when_it_is_stopped_the_workload_ends_and_the_card_is_given_back(node: FakeNode, number: int) -> None:
    line, env = command(node, "--ratios", "0.5", work=("0.8",))
    with subprocess.Popen(line, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        end_s = time.monotonic() + 60.0
        while node.get("locked_mhz", 0) == 0.0:
            assert time.monotonic() < end_s
            time.sleep(0.02)
        time.sleep(1.2)
        running.send_signal(number)
        running.wait(20.0)
    assert found_again(node) == (0.0, 700.0)
    assert WORKLOAD not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_a_limiter_that_runs_is_not_fought(node: FakeNode) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{node.path}.sock")
        listening.listen()
        done = profiled(node)
    assert done.returncode == 2 and "systemctl stop gpuwarden-limiter" in done.stderr
    assert found_again(node) == (0.0, 700.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--card", "7"), "card 7: this node has cards 0 to 1"),
        (("--ratios", "2"), "--ratios: has 2, should be 0.1 to 1"),
        (("--ratios", "half"), "--ratios: is 'half', should be numbers"),
        (("--repeats", "0"), "--repeats: is 0, should be 1 to 100"),
    ],
)
def test_what_cannot_be_is_named(node: FakeNode, options: tuple[str, str], says: str) -> None:
    done = profiled(node, *options)
    assert done.returncode == 2 and says in done.stderr


def test_a_card_that_refuses_is_told(node: FakeNode) -> None:
    node.set("no_permission", True)
    done = profiled(node, "--repeats", "1")
    assert done.returncode == 2 and "NoPermission; only root may" in done.stderr
