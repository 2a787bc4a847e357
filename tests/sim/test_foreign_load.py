"""A row in virtual time with a meter on its breaker: what somebody else begins to draw is made room for, by the real machines on both ends."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gpuwarden.controller.events import MeterRead
from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.limit import HOT_TRIP_HEAT_S
from gpuwarden.controller.power.meter_config import MeterConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.sim import thermal
from gpuwarden.sim.cluster import TICK_S, Cluster, Outside, Row
from gpuwarden.sim.loads import ChangingLoad
from gpuwarden.sim.plant import STEP_S
from gpuwarden.sim.watch import Watch

BUDGET_W, LEASE_S, METER_S, FOREIGN_W, BEGINS_S = 58e3, 5.0, 2.0, 12e3, 30.0
SETTLES_S = 1.0  # setting eight cards behind one lock, and their lag


class Breaker:
    """What truly goes through it, and the meter that shows it every METER_S. It is hot when all begins."""

    def __init__(self, row: Cluster, metered: bool) -> None:
        self._row, self.foreign_w, self.heat = row, 0.0, 0.0
        self.load_w, self.calm_s = list[float](), list[float]()
        row.time.every(STEP_S, self._pass_by)
        if metered:
            row.time.every(METER_S, lambda: row.hear(MeterRead("row", "row", self.load_w[-1], 0.0)), first_s=METER_S)

    def _pass_by(self) -> None:
        self.load_w.append(float(self._row.plant.node_w().sum()) + self.foreign_w)
        self.heat = thermal.after(self.heat, self.load_w[-1] / BUDGET_W, STEP_S)
        assert self.heat < HOT_TRIP_HEAT_S, f"tripped at {self._row.time.now_s:.1f} s"

    def limits_w(self) -> float:
        return float(self._row.plant.limit_w.sum())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def row(ledger: Ledger, metered: bool) -> tuple[Cluster, Breaker]:
    load = ChangingLoad(np.random.default_rng(2))
    meter = MeterConfig("grpc", window_s=METER_S) if metered else None
    made = NodeClass("h100", load.nodes, base_w=float(load.host_w.max()))
    domain = DomainConfig("row", BUDGET_W, (made,), mode="auto", meter=meter)
    assert list(domain.problems()) == []
    outside = Outside(ledger, Watch(), lambda snapshot: None, lambda who, say: None, lambda node, payload: None)
    cluster = Cluster(Row(load, domain, Timing(LEASE_S, 3.0, 2.5), 1, 10**18), outside)
    return cluster, Breaker(cluster, metered)


def test_the_breaker_holds_when_somebody_else_begins_to_draw(ledger: Ledger) -> None:
    cluster, breaker = row(ledger, metered=True)
    cluster.time.run(BEGINS_S)
    assert max(breaker.load_w[-400:]) > 0.8 * BUDGET_W, "the row is put to use"
    breaker.foreign_w = FOREIGN_W
    cluster.time.run(BEGINS_S + METER_S + SETTLES_S)
    began = len(breaker.load_w)
    cluster.time.run(BEGINS_S + 40.0)
    assert max(breaker.load_w[began:]) <= BUDGET_W
    keeper = cluster.controller.keepers["row"]
    assert keeper.meters.by_limit["row"].foreign_w == pytest.approx(FOREIGN_W, rel=0.15)


def test_grants_fall_within_one_tick_of_the_reading_and_limits_as_soon_as_cards_are_set(ledger: Ledger) -> None:
    cluster, breaker = row(ledger, metered=True)
    cluster.time.run(BEGINS_S - 2 * TICK_S)
    before_w = breaker.limits_w()
    breaker.foreign_w = FOREIGN_W
    granted_w = sum(node.granted_w for node in cluster.controller.keepers["row"].nodes)
    cluster.time.run(BEGINS_S + TICK_S)
    fallen_w = granted_w - sum(node.granted_w for node in cluster.controller.keepers["row"].nodes)
    assert fallen_w * 1.10 >= 0.8 * FOREIGN_W
    cluster.time.run(BEGINS_S + SETTLES_S)
    assert (before_w - breaker.limits_w()) * 1.10 >= 0.8 * FOREIGN_W


def test_without_a_meter_it_is_overloaded_for_long(ledger: Ledger) -> None:
    """So that the tests above can fail."""
    cluster, breaker = row(ledger, metered=False)
    cluster.time.run(BEGINS_S)
    breaker.foreign_w, began = FOREIGN_W, len(breaker.load_w)
    cluster.time.run(BEGINS_S + 40.0)
    overloaded_s = STEP_S * sum(load_w > BUDGET_W for load_w in breaker.load_w[began:])
    assert overloaded_s > 10.0
