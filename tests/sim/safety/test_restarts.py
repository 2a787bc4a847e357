"""The judge of brief restarts, by hand: which cut is broken word, which is excused, and that the excused are counted."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.sim.safety.breakers import Breakers
from gpuwarden.sim.safety.cards import Cards
from gpuwarden.sim.safety.ordeal import undergo
from gpuwarden.sim.safety.restarts import Restarts
from gpuwarden.sim.safety.row import ONE_HZ
from gpuwarden.sim.safety.server import Server
from gpuwarden.sim.safety.silence import Silence
from gpuwarden.sim.safety.site import ENDLESS_S, USUAL, Element, Site
from gpuwarden.sim.safety.told import figures, lines

CLASS = NodeClass("one", ("n[1-4]",), gpus=1, base_w=100.0, floor_w=200.0, default_w=700.0, slope=1.0, gain_error=0.0)
ELEMENT = Element("row", "thermal", 2000.0, ENDLESS_S, 11.0, 2.0, dead_count=1)
CAP_W = 400.0  # four nodes at that draw what the row carries


@pytest.fixture
def cards() -> Cards:
    made = Cards([CLASS] * 4, 1.0, np.random.default_rng(0))
    made.limit_w[:], made.power_w[:], made.gain[:] = CAP_W, CAP_W, 1.0
    return made


@pytest.fixture
def restarts(cards: Cards) -> Restarts:
    """Of four nodes that have no lease."""
    domain = DomainConfig("row", ELEMENT.rating_w, (CLASS,), mode="auto")
    site = Site(domain, Timing(5.0, 3.0, 2.5), ("1", "2", "3", "4"), (CLASS,) * 4, (ELEMENT,), {USUAL: np.ones((1, 4))}, {USUAL: np.zeros(1)}, 1, ())
    servers = [cast(Server, SimpleNamespace(name=name, limiter=None)) for name in site.names]
    made = Restarts(cards, servers, Silence(site), Breakers([ELEMENT], np.random.default_rng(0)))
    made.watches_power(100.0)
    made.begin()
    return made


def test_a_cut_while_all_is_well_is_broken_word(restarts: Restarts) -> None:
    assert restarts.ordered(0, CAP_W, 102.0) == ""
    assert "1 sets 300 instead of 400 W" in restarts.ordered(0, 300.0, 102.0)
    assert (restarts.judged, restarts.excused) == (1, 0)


def test_a_cut_where_the_row_may_have_been_warmed_is_excused_and_counted_once_a_restart(restarts: Restarts, cards: Cards) -> None:
    cards.power_w[:] = CAP_W + 100.0
    restarts.advance()
    cards.power_w[:] = CAP_W  # the highest counts
    restarts.advance()
    assert [restarts.ordered(node, 300.0, 102.0) for node in (0, 1)] == ["", ""]
    assert (restarts.judged, restarts.excused) == (1, 1)
    restarts.end()
    restarts.watches_power(200.0)
    restarts.begin()
    assert restarts.ordered(0, 300.0, 202.0), "what was excused in one restart is not in the next"
    assert (restarts.judged, restarts.excused) == (2, 1)


def test_a_limit_that_stays_needs_no_excuse(restarts: Restarts, cards: Cards) -> None:
    cards.power_w[:] = CAP_W + 100.0
    restarts.advance()
    assert restarts.ordered(0, CAP_W, 102.0) == ""
    assert (restarts.judged, restarts.excused) == (1, 0)


def test_before_and_after_limits_may_change(restarts: Restarts) -> None:
    restarts.end()
    assert restarts.ordered(0, 300.0, 102.0) == ""


def test_how_many_were_judged_and_excused_is_told() -> None:
    outcome = undergo(12, "none", ONE_HZ, 60.0, ("brief restart",))
    assert outcome.restarts == outcome.faults["brief restart"] > 0
    outcome.restarts_excused = 1
    told = figures([outcome, outcome], {ONE_HZ.name: 0.1})
    assert (told["restarts"], told["restarts_excused"]) == (2 * outcome.restarts, 2)
    assert f"{2 * outcome.restarts} brief restarts judged, 2 of them" in "\n".join(lines(told))
