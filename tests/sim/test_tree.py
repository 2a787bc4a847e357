"""A row on two feeds in virtual time: whenever one is lost, with every message after it, the other carries what then goes through it."""

from pathlib import Path

import numpy as np
import pytest

from gpuwarden.controller.ledger import Ledger
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.limit import HOT_TRIP_HEAT_S, LimitConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.power.topology import Contingency
from gpuwarden.sim import thermal
from gpuwarden.sim.cluster import Cluster, Outside, Row
from gpuwarden.sim.loads import ChangingLoad
from gpuwarden.sim.plant import STEP_S
from gpuwarden.sim.watch import Watch

FEED_W, BUDGET_W, LEASE_S = 46e3, 60e3, 5.0


class Feeds:
    """What truly goes through both feeds. The maker's breaker trips at a heat of 11 s, and is hot when all begins."""

    def __init__(self, row: Cluster) -> None:
        self._row, self.lost, self.highest_w = row, False, 0.0
        self.heats = [0.0, 0.0]
        row.time.every(STEP_S, self._pass_by)

    def _pass_by(self) -> None:
        drawn_w = float(self._row.plant.node_w().sum())
        for feed, load_w in enumerate((0.0, drawn_w) if self.lost else (drawn_w / 2, drawn_w / 2)):
            self.heats[feed] = thermal.after(self.heats[feed], load_w / FEED_W, STEP_S)
            assert self.heats[feed] < HOT_TRIP_HEAT_S, f"feed {feed} has tripped at {self._row.time.now_s:.1f} s"
        self.highest_w = max(self.highest_w, drawn_w)


def row_on_two_feeds(folder: Path, contingencies: tuple[Contingency, ...]) -> tuple[Cluster, Feeds, Ledger]:
    load = ChangingLoad(np.random.default_rng(2))
    feeds = tuple(LimitConfig(feed, FEED_W, nodes=load.nodes, share=0.5) for feed in "ab")
    domain = DomainConfig("row", BUDGET_W, (NodeClass("h100", load.nodes),), mode="auto", limits=feeds, contingencies=contingencies)
    assert list(domain.problems()) == []
    ledger = Ledger(folder / "ledger.sqlite")
    outside = Outside(ledger, Watch(), lambda snapshot: None, lambda who, say: None, lambda node, payload: None)
    row = Cluster(Row(load, domain, Timing(LEASE_S, 3.0, 2.5), 1, 10**18), outside)
    return row, Feeds(row), ledger


@pytest.mark.parametrize("lost_s", [25.0, 41.7, 63.3, 97.1])
def test_whenever_a_feed_is_lost_the_other_carries_all(tmp_path: Path, lost_s: float) -> None:
    row, feeds, ledger = row_on_two_feeds(tmp_path, (Contingency("a lost", lost=("a",)),))
    row.time.run(lost_s)
    feeds.lost = True
    row.cut_off()
    row.time.run(lost_s + LEASE_S + 15.0)  # all are at their floors since the lease has ended
    ledger.close()


def test_a_feed_that_stays_lost_is_carried_for_good_though_nobody_tells(tmp_path: Path) -> None:
    row, feeds, ledger = row_on_two_feeds(tmp_path, (Contingency("a lost", lost=("a",)),))
    row.time.run(30.0)
    feeds.lost = True
    row.time.run(150.0)
    assert feeds.highest_w > 0.8 * FEED_W, "and it is put to use"
    ledger.close()


def test_a_contingency_that_is_not_listed_trips_it(tmp_path: Path) -> None:
    """So that the tests above can fail."""
    row, feeds, ledger = row_on_two_feeds(tmp_path, ())
    row.time.run(30.0)
    feeds.lost = True
    with pytest.raises(AssertionError, match="feed 1 has tripped"):
        row.time.run(150.0)
    ledger.close()
