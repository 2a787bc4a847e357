"""`gpuwarden up` where NVML finds cards: it watches them, and touches nothing."""

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


@pytest.fixture
def cards(tmp_path: Path) -> Iterator[FakeNode]:
    with FakeNode(tmp_path / "cards", gpus=8) as node:
        node.set_demands(500.0)
        yield node


def start(env: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gpuwarden.cli", "up", "--headless", "--json", *arguments]
    return subprocess.Popen(command, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[Any, str]:
    figures, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return json.loads(figures), said


def test_it_watches_eight_cards_loses_nothing_and_sees_an_xid(cards: FakeNode) -> None:
    process = start(cards.env(), "--duration", "9")
    time.sleep(5.0)
    cards.xid(2, 79)
    made, said = ended(process)
    assert "8 GPUs found: watching them, nothing is capped." in said
    assert made["samples_sent"] == made["samples_judged"] >= 7
    assert (made["samples_lost"], made["samples_repeated"], made["mode"], made["findings"]) == (0, 0, "observe", ["xid_79"])
    assert made["peak_w"] == pytest.approx(8 * 500.0, rel=0.05)
    assert [cards.limit_w(gpu) for gpu in range(8)] == [700.0] * 8


def test_on_a_library_that_lacks_most_calls_it_runs_all_the_same(cards: FakeNode) -> None:
    made, _ = ended(start(cards.env(few=True), "--duration", "5"))
    assert made["gpus"] == 8
    assert made["samples_sent"] == made["samples_judged"] >= 4


def test_in_auto_by_the_operators_word_it_caps(cards: FakeNode) -> None:
    _, said = ended(start(cards.env(), "--duration", "9", "--mode", "auto", "--budget-w", "5500"))
    assert "capping, as --mode auto says" in said
    assert max(cards.limit_w(gpu) for gpu in range(8)) == 200.0, "what ends leaves the floor"


def test_ctrl_c_ends_it_within_seconds_and_with_the_summary(cards: FakeNode) -> None:
    process = start(cards.env())
    time.sleep(4.0)
    asked_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    made, _ = ended(process)
    assert time.monotonic() - asked_s < 8.0
    assert made["samples_sent"] == made["samples_judged"] > 0
