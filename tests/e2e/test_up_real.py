"""`gpuwarden up` where NVML finds cards: it watches them, and touches nothing unless it is told to."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.nvml.steer import FakeNode

from gpuwarden.controller.ledger import Ledger
from gpuwarden.proto.lease_pb2 import Mode

SOMEBODY_ELSES_W = 451.0
LIMIT_RANGE = "nvmlDeviceGetPowerManagementLimitConstraints,nvmlDeviceGetPowerManagementDefaultLimit,187,188,189"


@pytest.fixture
def cards(tmp_path: Path) -> Iterator[FakeNode]:
    with FakeNode(tmp_path / "cards", gpus=8) as node:
        node.set_demands(400.0)
        node.reset_limits(SOMEBODY_ELSES_W)
        yield node


def limits_w(cards: FakeNode) -> set[float]:
    return {cards.limit_w(gpu) for gpu in range(8)}


def start(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    """In a process group of its own, so that a Ctrl-C can reach all of it."""
    command = [sys.executable, "-m", "gpuwarden.cli", "up", "--headless", *arguments]
    return subprocess.Popen(
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> tuple[Any, str]:
    figures, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said
    return json.loads(figures), said


def until(process: subprocess.Popen[str], said: str) -> None:
    """What is said up to there is gone for `ended`."""
    assert process.stderr is not None
    assert any(said in line for line in process.stderr), f"it ended without a word of {said!r}"


def run(env: dict[str, str], *arguments: str, code: int = 0) -> tuple[Any, str]:
    return ended(start(env, "--json", *arguments), code)


def all_judged(made: dict[str, Any]) -> bool:
    lost, repeated, refused = made["samples_lost"], made["samples_repeated"], made["samples_refused"]
    return (made["samples_judged"], lost, repeated, refused) == (made["samples_sent"], 0, 0, 0)


def test_it_watches_eight_cards_loses_nothing_sees_an_xid_and_sets_no_limit(cards: FakeNode, tmp_path: Path) -> None:
    process = start(cards.env(), "--json", "--duration", "8", "--record", str(tmp_path / "history"))
    until(process, "8 GPUs found: watching, nothing is capped.")
    time.sleep(2.0)
    cards.xid(2, 79)
    made, _ = ended(process)
    assert all_judged(made)
    assert made["samples_sent"] >= 7
    assert made["mode"] == "observe"
    assert made["findings"] == {"xid_79": 1}
    assert [one["kind"] for one in made["findings_firing"]] == ["xid_79"]
    assert made["gpu_peak_w"] == pytest.approx(8 * 400.0, rel=0.05)
    assert made["ledger_lines"] == sum(made["ledger_kinds"].values()) >= 1
    assert limits_w(cards) == {SOMEBODY_ELSES_W}
    assert list((tmp_path / "history").rglob("*.parquet")), "--record holds for real cards too"


def test_in_observe_a_budget_below_the_draw_is_only_written_about(cards: FakeNode) -> None:
    made, _ = run(cards.env(), "--duration", "6", "--budget-w", "4400")
    assert any(kind.startswith("would ") for kind in made["ledger_kinds"]), made["ledger_kinds"]
    assert limits_w(cards) == {SOMEBODY_ELSES_W}


def test_a_run_before_in_auto_is_not_taken_up_again(cards: FakeNode, tmp_path: Path) -> None:
    """The ledger of a kept state folder remembers what an operator set."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.remember_domain("this-node", 4400.0, Mode.MODE_AUTO)
    ledger.close()
    made, _ = run(cards.env(), "--duration", "8", "--state", str(tmp_path))
    assert made["mode"] == "observe"
    assert limits_w(cards) == {SOMEBODY_ELSES_W}


def test_in_auto_by_the_operators_word_it_caps_and_tells_what_it_leaves(cards: FakeNode) -> None:
    made, said = run(cards.env(), "--duration", "9", "--mode", "auto", "--budget-w", "5500")
    assert "8 GPUs found: watching, capping, as --mode auto says." in said
    assert made["ledger_kinds"]["cap"] >= 1
    assert made["limits_left_w"] == [200.0] * 8, "what ends leaves the floor"
    assert limits_w(cards) == {200.0}


def test_a_library_that_lacks_most_calls_does_not_stop_it(cards: FakeNode) -> None:
    made, _ = run(cards.env(few=True), "--duration", "4")
    assert (made["gpus"], made["failures"]) == (8, [])
    assert all_judged(made)
    assert made["samples_sent"] >= 3


def test_without_a_range_of_limits_it_says_so_and_watches_on_without_limiter(cards: FakeNode) -> None:
    made, said = run(cards.env(lacks=LIMIT_RANGE), "--duration", "4", "--mode", "auto")
    assert "8 GPUs found: watching, nothing can be capped (GPU 0: gpu_power_limit_" in said
    assert "gpu_power_limit_min_watts" in made["not_capped_because"]
    assert all_judged(made)
    assert made["gpu_peak_w"] == pytest.approx(8 * 400.0, rel=0.05)
    assert limits_w(cards) == {SOMEBODY_ELSES_W}


def test_ctrl_c_ends_it_within_seconds_and_with_a_summary_for_people(cards: FakeNode) -> None:
    process = start(cards.env())
    until(process, "8 GPUs found: watching")
    time.sleep(2.0)
    asked_s = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    told, said = process.communicate(timeout=30)
    assert time.monotonic() - asked_s < 5.0
    assert (process.returncode, "Traceback" in said) == (0, False)
    assert "8 GPUs for " in told
    assert " 0 lost, 0 judged twice, 0 refused." in told
    assert "Findings: none." in told
    assert "Ledger: 1 line (1 epoch)." in told


def test_ctrl_c_ends_it_also_while_the_driver_hangs(cards: FakeNode) -> None:
    process = start(cards.env(), "--json", "--mode", "auto")
    until(process, "8 GPUs found: watching, capping")
    time.sleep(2.0)
    cards.hang(True)
    time.sleep(1.5)
    asked_s = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    made, said = ended(process)
    assert time.monotonic() - asked_s < 8.0, "the driver is given 4 s to take the floors"
    assert all_judged(made)
    assert made["limits_left_w"] == []
    assert "the driver does not answer: the limits stay as they are" in said


def test_a_daemon_that_cannot_run_ends_it_and_is_named(cards: FakeNode, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)  # longer than the name of a Unix socket may be
    made, _ = run(cards.env(), "--state", str(deep), code=1)
    (failure,) = made["failures"]
    assert failure.startswith("limiter: socket ")
    assert failure.endswith("AF_UNIX path too long")


def test_real_cards_have_no_other_speed(cards: FakeNode) -> None:
    process = start(cards.env(), "--speed", "10")
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (2, "gpuwarden: --speed: real GPUs go at their own; leave it out\n")


def test_where_nvml_finds_nothing_it_is_the_simulated_row_and_says_why(tmp_path: Path) -> None:
    absent = {"GPUWARDEN_FAKE_NVML": str(tmp_path / "absent")}
    with FakeNode(tmp_path / "cards") as cards:
        made, said = run(cards.env() | absent, "--duration", "5")
    assert said.startswith("No GPU to watch (")
    assert "): a simulated row of eight nodes, in auto.\n" in said
    assert (made["nodes"], made["mode"]) == (8, "auto")
