"""A row with a training job: what its nodes draw, what is lost where they may not, and what a ramp makes of its rises."""

import csv
import os
from collections import defaultdict
from math import inf
from pathlib import Path

import numpy as np
import pytest

from gpuwarden.controller.policies.ladder import LADDERS
from gpuwarden.sim.powerlog import PowerLog
from gpuwarden.sim.serving.frozen import frozen, requests_of
from gpuwarden.sim.serving.live import LiveRow
from gpuwarden.sim.serving.mixed import Mixed
from gpuwarden.sim.serving.model import Server
from gpuwarden.sim.serving.relation import Relation
from gpuwarden.sim.serving.requests import DAY_S, Requests
from gpuwarden.sim.serving.row import RowSetup, Run, largest_rise, row_of, run
from gpuwarden.sim.serving.study import HIGH
from gpuwarden.sim.serving.training import (
    LEFT,
    NAMEPLATE_W,
    RECORDED_NAMEPLATE_W,
    TIME,
    Job,
    Training,
    job_of,
)

SERVER, NODES, SERVERS = Server(), 4, 6
IDLE_W, BUSY_W = SERVER.gpus * SERVER.tdp_w * SERVER.idle_ratio, 2900.0
ZEUS = Path(os.environ.get("GPUWARDEN_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "power"


def job(period_s: float = 40.0, dips_s: float = 5.0) -> Job:
    """All nodes wait together, from a little after its beginning on."""
    time_s = [0.0] * NODES + [1.0] * NODES + [1.0 + dips_s] * NODES
    return Job(NODES, period_s, time_s, [*range(NODES)] * 3, [BUSY_W] * NODES + [1000.0] * NODES + [BUSY_W] * NODES)


def requests(seconds: float) -> Requests:
    return requests_of(frozen(), SERVERS, (seconds + 40000.0) / DAY_S, 1, None).since(40000.0)


def alone() -> Training:
    return Training(job(), SERVER, [], [])


def gone_on(training: Training, until_s: float) -> Training:
    while training.due_s < until_s:
        training.go_on()
    return training


def test_a_job_is_the_first_nodes_of_a_log_as_shares_of_nameplate() -> None:
    log = PowerLog(("1", "2", "3"), np.array([0.0, 0.5, 1.0, 2.0, 2.5]), np.array([0, 1, 2, 0, 1]), np.array([5100.0, 7140.0, 9999.0, 10200.0, 1020.0]), 0)
    made = job_of(log, 2, SERVER)
    assert (made.time_s, made.node, made.period_s) == ([0.0, 0.5, 2.0, 2.5], [0, 1, 0, 1], 4.5)
    shares = np.array([5100.0, 7140.0, 10200.0]) / RECORDED_NAMEPLATE_W
    assert made.wanted_w == pytest.approx([*(shares * NAMEPLATE_W - SERVER.base_w), 0.0]), "what is not the cards' is not theirs to draw less of"


def test_it_is_played_again_and_again() -> None:
    training, sums = alone(), []
    for second in np.arange(0.5, 90.0, 1.0):
        while training.due_s < second:
            training.go_on()
        sums.append(float(training.watts.sum()))
    low, high = NODES * (SERVER.base_w + 1000.0), NODES * (SERVER.base_w + BUSY_W)
    assert sums == pytest.approx([low if second % 40 in range(1, 6) else high for second in range(90)])


def test_the_slowest_node_holds_all_back_and_the_others_draw_on() -> None:
    training = alone()
    left = LEFT[3]
    training.hold(0.0, 1, 1.0, left * BUSY_W - IDLE_W)
    training.hold(0.0, 2, 1.0, 0.95 * BUSY_W - IDLE_W)
    assert training.watts == pytest.approx(SERVER.base_w + BUSY_W * np.array([1.0, left, 0.95, 1.0]))
    gone_on(training, 40.0)
    assert training.lost_ratio(0.0, 40.0) == pytest.approx((1 - 1 / TIME[3]) * 35.0 / 40.0), "nothing is lost while all wait"
    training.hold(40.0, 1, 1.0, inf)
    assert gone_on(training, 80.0).lost_ratio(40.0, 80.0) == pytest.approx((1 - 1 / np.interp(0.95, LEFT, TIME)) * 35.0 / 40.0)


def test_a_lock_costs_training_about_what_polca_found() -> None:
    training = alone()
    for node in range(NODES):
        training.hold(0.0, node, float(Relation().power(np.array([0.787]))[0]))
    assert 1 - float(training.watts.sum()) / (NODES * (SERVER.base_w + BUSY_W)) == pytest.approx(0.12, abs=0.02), "a fifth of the cards' peak"
    assert 0.05 < gone_on(training, 1.0).lost_ratio(0.0, 1.0) < 0.10


def test_the_row_draws_what_its_servers_and_the_job_draw() -> None:
    setup = RowSetup(SERVERS, SERVERS + NODES, (), training=job())
    row = row_of(setup, requests(120.0), HIGH)
    assert isinstance(row, Mixed) and len(row.watts) == len(setup.lasts) == SERVERS + NODES and setup.lasts[SERVERS:].all()
    began_w = row.watts.sum()
    row.advance(30.0)
    row.hold(30.0, SERVERS + 1, 1.0, 0.7 * BUSY_W - IDLE_W)
    row.advance(60.0)
    row.lock(60.0, np.full(SERVERS + NODES, 0.787))
    row.advance(120.0)
    assert row.watts.sum() == pytest.approx(began_w + sum(row.step_w)) and row.step_s == sorted(row.step_s)


def mixed(policy: str, ramp_w_per_s: float | None, seconds: float = 240.0, budget: int = 12) -> Run:
    setup = RowSetup(SERVERS, budget, LADDERS["none"], training=job())
    made, _ = LiveRow(setup, policy, requests(seconds), HIGH, 1, ramp_w_per_s).run(seconds)
    return made


def test_a_ramp_halves_the_rises_of_a_job_under_the_real_controller_and_costs_little() -> None:
    def told(ramp_w_per_s: float | None) -> tuple[float, float]:
        made = mixed("headroom", ramp_w_per_s)
        assert made.training is not None and made.trips == 0
        return largest_rise(made.training.sums_w(np.arange(60.0, 240.0, 0.25)), 8), made.training.lost_ratio(60.0, 240.0)

    free_w, nothing = told(None)
    slowed_w, lost = told(1000.0)
    assert free_w == pytest.approx(NODES * (BUSY_W - 1000.0)) and nothing < 0.005
    assert slowed_w < 0.5 * free_w and nothing < lost < 0.1


def test_the_brake_of_polca_is_counted_and_costs_the_job_much() -> None:
    made = mixed("polca", None, 120.0, budget=6)
    assert made.brakes > 0
    assert made.training is not None and made.training.lost_ratio(30.0, 120.0) > 0.05


def test_a_job_that_nobody_holds_back_loses_nothing() -> None:
    made = run(RowSetup(SERVERS, 12, (), brake=False, training=job()), requests(120.0), HIGH, 120.0)
    assert made.training is not None and made.training.lost_ratio(0.0, 110.0) == 0.0


@pytest.mark.skipif(not ZEUS.exists(), reason=f"no measured data in {ZEUS}")
def test_what_a_power_limit_costs_is_as_zeus_measured_it() -> None:
    points = [point for card, highest_w in (("v100", 250.0), ("a40", 300.0)) for point in _measured(ZEUS / f"zeus_power_limit_{card}.csv", highest_w)]
    for left, time in points:
        assert np.interp(left, LEFT, TIME) >= 0.99 * time, "never cheaper than measured"
    for left, time in zip(LEFT, TIME, strict=True):
        assert any((left, time) == pytest.approx(point, rel=0.005) for point in points), (left, time)


def _measured(file: Path, highest_w: float) -> list[tuple[float, float]]:
    """Of each limit, over all trainings: the median of the power that is left, the 90th percentile of the time."""
    by_training: dict[tuple[str, ...], dict[float, tuple[float, float]]] = defaultdict(dict)
    with file.open(newline="") as lines:
        for row in csv.DictReader(lines):
            name = tuple(row[key] for key in ("dataset", "network", "batch_size", "optimizer"))
            by_training[name][float(row["power_limit"])] = float(row["average_power"]), float(row["time_per_epoch"])
    points = defaultdict(list)
    for name, by_limit in by_training.items():
        power_w, time_s = by_limit.get(highest_w, (0.0, 1.0))
        if power_w >= 0.7 * highest_w and "movielens" not in name[0]:
            for limit_w, (limited_w, slowed_s) in by_limit.items():
                points[limit_w].append((limited_w / power_w, slowed_s / time_s))
    return [(float(np.median(left)), float(np.quantile(time, 0.9))) for left, time in (zip(*of, strict=True) for of in points.values())]
