"""Policies at work in virtual time, with real limiters and the real controller: the row holds, and who gives is who should."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.policies.restore import HOLD_S
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.level import Watts
from gpuwarden.controller.power.limit import HOT_TRIP_HEAT_S
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.sim import thermal
from gpuwarden.sim.cluster import Cluster, Outside, Row
from gpuwarden.sim.plant import STEP_S
from gpuwarden.sim.watch import Watch

RATING_W = 54e3
NODES, LOW = 8, slice(0, 4)
IDLE_W, FULL_W = 100.0, 660.0
PEAK_S = 35.0, 55.0  # after the start, through which a breaker counts as warm and limits stand at the floor: half a minute


class Wanted:
    """Eight nodes, each of whose cards wants `each_w(now_s)`[node]; the first four are of low priority."""

    def __init__(self, each_w: Callable[[float], Watts]) -> None:
        self.nodes = tuple(f"n{place}" for place in range(NODES))
        self.gpus, self.host_w, self._each_w = 8, np.full(NODES, 2300.0), each_w

    def demands_w(self, now_s: float) -> Watts:
        demands_w: Watts = self._each_w(now_s)[:, None] * np.ones((NODES, 8))
        return demands_w

    def samples(self) -> Iterator[tuple[float, int]]:
        return iter(())


class Seen:
    """The row and its breaker as they truly are, forty times a second: limits and draws of nodes, W."""

    def __init__(self, folder: Path, policy: str, each_w: Callable[[float], Watts], workload: str = "inference", ramp_w_per_s: float | None = None) -> None:
        load = Wanted(each_w)
        classes = (NodeClass("low", load.nodes[LOW], priority="low", workload=workload), NodeClass("high", load.nodes[4:]))
        domain = DomainConfig("row", RATING_W, classes, mode="auto", policy=policy, ramp_w_per_s=ramp_w_per_s, ceiling_ratio=1.45)
        assert list(domain.problems()) == []
        self.ledger = Ledger(folder / f"{policy}.sqlite")
        outside = Outside(self.ledger, Watch(), lambda snapshot: None, lambda who, say: None, lambda node, payload: None)
        self.row = Cluster(Row(load, domain, Timing(5.0, 3.0, 2.5), 1, 10**18), outside)
        self.limits_w, self.draws_w, self.heat = list[Watts](), list[Watts](), 0.0
        self.row.time.every(STEP_S, self._look)

    def _look(self) -> None:
        self.limits_w.append(self.row.plant.limit_w.sum(axis=1))
        self.draws_w.append(self.row.plant.node_w())
        self.heat = thermal.after(self.heat, float(self.draws_w[-1].sum()) / RATING_W, STEP_S)
        assert self.heat < HOT_TRIP_HEAT_S, f"the breaker has tripped at {self.row.time.now_s:.1f} s"

    def run(self, until_s: float) -> "Seen":
        self.row.time.run(until_s)
        self.lines = list(self.ledger.newest(100))
        self.ledger.close()
        return self

    def after(self, from_s: float) -> tuple[Watts, Watts]:
        """Limits and draws from then on: (looks, nodes)."""
        first = round(from_s / STEP_S)
        return np.array(self.limits_w[first:]), np.array(self.draws_w[first:])


def steady(each_w: float) -> Callable[[float], Watts]:
    return lambda now_s: np.full(NODES, each_w)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Seen]:
    """A minute of every card wanting all it can draw, by policy."""
    return {policy: Seen(tmp_path_factory.mktemp("busy"), policy, steady(FULL_W)).run(60.0) for policy in ("headroom", "dynamo", "fair-share")}


@pytest.mark.parametrize("policy", ["headroom", "dynamo", "fair-share"])
def test_a_row_that_wants_more_than_its_rating_stays_below_it(busy: Mapping[str, Seen], policy: str) -> None:
    _, draws_w = busy[policy].after(30.0)
    assert draws_w.sum(axis=1).max() <= RATING_W
    assert draws_w.sum(axis=1).mean() > 0.6 * RATING_W


def test_without_a_policy_the_allocator_lets_the_breaker_warm_up_and_never_trip(tmp_path: Path) -> None:
    _, draws_w = Seen(tmp_path, "none", lambda now_s: np.full(NODES, FULL_W if now_s > 20.0 else 200.0)).run(110.0).after(20.0)
    assert draws_w.sum(axis=1).max() > 1.1 * RATING_W, "while it is cold"
    assert 0.8 * RATING_W < draws_w[round(30.0 / STEP_S) :].sum(axis=1).mean() < RATING_W


def test_headroom_takes_from_the_low_priority_what_fair_share_takes_from_all(busy: Mapping[str, Seen]) -> None:
    limits_w, _ = busy["headroom"].after(40.0)
    fair_w, _ = busy["fair-share"].after(40.0)
    assert limits_w[-1][LOW].max() < fair_w[-1].min() < limits_w[-1][4:].min()
    assert limits_w[-1][LOW].max() == 1600.0, "at the floor before the high priority gives"


def test_under_its_thresholds_headroom_caps_nobody_where_fair_share_cannot_but_cap(tmp_path: Path) -> None:
    def each_w(now_s: float) -> Watts:
        return 300.0 + 250.0 * (np.arange(NODES) == int(now_s / 10) % NODES)  # peaks come one at a time

    limits_w, draws_w = Seen(tmp_path, "headroom", each_w).run(120.0).after(60.0)
    fair_w, _ = Seen(tmp_path, "fair-share", each_w).run(80.0).after(60.0)
    assert (limits_w == 5600.0).all()
    assert fair_w.max() < 5600.0
    assert draws_w.sum(axis=1).max() < RATING_W


def test_after_a_peak_power_comes_back_in_steps_and_in_the_end_all_of_it(tmp_path: Path) -> None:
    def each_w(now_s: float) -> Watts:
        return np.full(NODES, FULL_W if PEAK_S[0] < now_s < PEAK_S[1] else 250.0)

    limits_w, _ = Seen(tmp_path, "headroom", each_w).run(PEAK_S[0] + 180.0).after(PEAK_S[0])
    assert (limits_w[0] == 5600.0).all(), "the start is over"
    limits_w = limits_w[round(15.0 / STEP_S) :]
    assert limits_w[0][LOW].max() < 0.7 * limits_w[0][4:].min(), "the low priority has given"
    raises_w = np.diff(limits_w, axis=0)
    assert (raises_w[round(10.0 / STEP_S) :] >= 0).all()
    assert raises_w[round(10.0 / STEP_S) :].sum(axis=1).max() <= 600.0, "one node by a tenth of its default, in steps of a limit"
    assert (limits_w[-1] == 5600.0).all()


def test_a_load_that_swings_all_the_time_changes_limits_ever_less_often(tmp_path: Path) -> None:
    limits_w, draws_w = Seen(tmp_path, "headroom", lambda now_s: np.full(NODES, 400.0 + 200.0 * np.sin(now_s / 15.0))).run(285.0).after(90.0)
    changed_s = 90.0 + STEP_S * np.flatnonzero((np.diff(limits_w, axis=0) != 0).any(axis=1))
    assert np.diff(changed_s[changed_s < 210.0]).max() < HOLD_S, "given back step by step until it has to be taken again"
    assert np.diff(changed_s).max() > 1.9 * HOLD_S, "and then after twice as long"
    assert draws_w.sum(axis=1).max() < RATING_W


def test_a_training_job_comes_back_from_its_checkpoint_by_a_ramp(tmp_path: Path) -> None:
    def each_w(now_s: float) -> Watts:
        training_w = 190.0 if 60.0 <= now_s % 90.0 < 68.0 else 600.0
        return np.where(np.arange(NODES) < 4, training_w, 150.0)

    def steepest_w(ramp_w_per_s: float | None) -> float:
        """The largest rise of the training nodes within two seconds, once the first limits are in force."""
        _, draws_w = Seen(tmp_path, "headroom", each_w, "training", ramp_w_per_s).run(90.0).after(40.0)
        summed_w, two = draws_w[:, LOW].sum(axis=1), round(2.0 / STEP_S)
        assert np.isclose(summed_w[-1], summed_w[: round(15.0 / STEP_S)].mean(), rtol=0.03), "it is all back"
        return float((summed_w[two:] - summed_w[:-two]).max())

    assert steepest_w(None) > 9e3
    assert steepest_w(1500.0) < 1.25 * 2.0 * 1500.0


def test_polca_locks_the_low_priority_through_grants_and_its_draw_falls(tmp_path: Path) -> None:
    def each_w(now_s: float) -> Watts:
        return np.where(np.arange(NODES) < 4, 300.0 if now_s < 40.0 else 620.0, 150.0)

    seen = Seen(tmp_path, "polca", each_w).run(60.0)
    ratios, (_, draws_w) = seen.row.plant.clock_ratio, seen.after(40.0)
    assert draws_w[-1][LOW].max() < 2300.0 + 1.1 * 8 * 570.0, "of the 620 W that each card wants"
    assert np.allclose(ratios[LOW], 1785 / 1980) and (ratios[4:] == 1.0).all(), "0.904 of the highest clock, in steps of 15 MHz"
    lines = [line for line in seen.lines if line.kind == "clock"]
    assert {line.subject for line in lines} == {f"n{place}" for place in range(4)}
    assert lines[0].reason.startswith("clocks locked to 1785 MHz: row draws up to ")
    assert lines[0].reason.endswith("polca: above 80% clocks of the low priority are locked at 90%, until it is below 75%")


def test_a_lock_ends_with_the_lease(tmp_path: Path) -> None:
    seen = Seen(tmp_path, "polca", steady(380.0))
    seen.row.time.run(40.0)
    assert seen.row.plant.clock_ratio[LOW].max() < 1.0
    seen.row.cut_off()
    seen.run(46.0)
    assert (seen.row.plant.clock_ratio == 1.0).all()
