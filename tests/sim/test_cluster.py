"""The row in virtual time: nothing is lost, the budget holds, and the same seed gives the same bytes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuwarden.agent.events import FromController
from gpuwarden.controller.events import ReportArrived
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.proto.lease_pb2 import Mode
from gpuwarden.sim.cluster import Cluster, Outside, Row
from gpuwarden.sim.loads import ChangingLoad
from gpuwarden.sim.summary import figures
from gpuwarden.sim.watch import Watch

LEASE_S = 5.0


def cluster(folder: Path, mode: str = "auto", budget_w: float = 54e3, seed: int = 1) -> tuple[Cluster, Row, Ledger]:
    load = ChangingLoad(np.random.default_rng(seed + 1))
    domain = DomainConfig("row-a", budget_w, (NodeClass("h100", load.nodes),), mode=mode)
    row = Row(load, domain, Timing(LEASE_S, 3.0, 2.5), seed, 10**18)
    ledger = Ledger(folder / "ledger.sqlite")
    outside = Outside(ledger, Watch(), lambda snapshot: None, lambda who, say: None, lambda node, payload: None)
    return Cluster(row, outside), row, ledger


@pytest.fixture
def auto(tmp_path: Path) -> Iterator[tuple[Cluster, Row, Ledger]]:
    made = cluster(tmp_path)
    yield made
    made[2].close()


def test_a_changing_load_is_held_below_the_budget_and_every_sample_is_judged_once(auto: tuple[Cluster, Row, Ledger]) -> None:
    row, plan, ledger = auto
    row.time.run(120.0)
    row.settle()
    made = figures(plan, row, ledger, {"budget_w": plan.domain.rating_w, "mode": "auto"})
    assert made["peak_before_w"] > plan.domain.rating_w > made["peak_after_w"]
    assert made["over_budget_s"] == 0
    assert made["samples_sent"] == made["samples_judged"] == 8 * 120 + 1
    assert made["samples_lost"] == made["samples_repeated"] == made["samples_refused"] == 0
    assert made["ledger_agrees"]


def test_a_controller_that_falls_silent_leaves_every_card_at_its_floor_within_the_lease_and_a_second(
    auto: tuple[Cluster, Row, Ledger]
) -> None:
    row, _, _ = auto
    row.time.run(30.0)
    assert row.plant.limit_w.max() > 300.0
    row.cut_off()
    row.time.run(30.0 + LEASE_S + 1.0)
    assert row.plant.limit_w.max() == 200.0


@pytest.mark.parametrize("mode", ["observe", "notify"])
def test_outside_auto_no_limit_is_touched(tmp_path: Path, mode: str) -> None:
    row, _, ledger = cluster(tmp_path, mode)
    row.time.run(30.0)
    assert row.plant.limit_w.min() == 700.0
    assert sum(node.limits_set for node in row.nodes) == 0
    assert any(not line.performed for line in ledger.newest(100))
    ledger.close()


def test_messages_of_a_stranger_change_nothing(auto: tuple[Cluster, Row, Ledger]) -> None:
    row, _, _ = auto
    row.time.run(20.0)
    before = row.plant.limit_w.copy()
    assert all(not list(row.controller.step(20.0, ReportArrived(99, b"x"))) for _ in range(3))
    row.nodes[0].hear(FromController(b"not sealed"))
    row.time.run(20.05)
    assert (row.plant.limit_w == before).all()
    assert row.controller.keepers["row-a"].mode == Mode.MODE_AUTO


def ran(folder: Path, *more: str, hash_seed: str = "0") -> Any:
    command = [sys.executable, "-m", "gpuwarden.cli", "up", "--headless", "--json", "--duration", "25", *more]
    env = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, check=True, capture_output=True, cwd=folder, env=env, timeout=100).stdout


def test_the_same_seed_gives_the_same_bytes_at_any_speed_and_hash_seed(tmp_path: Path) -> None:
    first = ran(tmp_path, "--seed", "3")
    assert ran(tmp_path, "--seed", "3", "--speed", "20", hash_seed="7") == first
    other = json.loads(ran(tmp_path, "--seed", "4"))
    assert other["energy_wanted_kwh"] != json.loads(first)["energy_wanted_kwh"]
