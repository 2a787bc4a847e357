"""What would be if all fell silent, by hand: one class of nodes, one limit."""

import numpy as np
import pytest

from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.sim.safety.breakers import Breakers
from gpuwarden.sim.safety.silence import Outlook, Silence
from gpuwarden.sim.safety.site import ENDLESS_S, USUAL, Element, Site

CLASS = NodeClass("one", ("n[1-4]",), gpus=1, base_w=100.0, floor_w=200.0, default_w=700.0, slope=1.0, gain_error=0.0)
FLOORS_W = 4 * 300.0 + 500.0  # one of them dead
NOBODY = np.zeros(4, bool)


def silence_of(element: Element) -> Silence:
    domain = DomainConfig("row", element.rating_w, (CLASS,), mode="auto")
    return Silence(Site(domain, Timing(5.0, 3.0, 2.5), ("1", "2", "3", "4"), (CLASS,) * 4, (element,), {USUAL: np.ones((1, 4))}, {USUAL: np.zeros(1)}, 1, ()))


def broken(rating_w: float, limit_w: float, ends_s: float, heat: float = 0.0, kind: str = "thermal", raised: bool = False) -> str:
    """Four nodes at `limit_w` until `ends_s`."""
    trip, ceiling = (np.inf, 1.0) if kind == "hard" else (11.0, 2.0)
    element = Element("row", kind, rating_w, ENDLESS_S, trip, ceiling, dead_count=1)
    breakers = Breakers([element], np.random.default_rng(0))
    breakers.heat[:] = heat
    outlook = Outlook(((np.full(4, limit_w), np.full(4, ends_s)),), ~NOBODY if raised else NOBODY, NOBODY)
    return silence_of(element).broken(breakers, outlook, USUAL)


def test_floors_and_a_dead_node_that_fit_hold_for_ever_and_a_watt_less_does_not() -> None:
    assert not broken(FLOORS_W, 200.0, 0.0)
    assert "row has tripped" in broken(FLOORS_W - 1.0, 200.0, 0.0)


@pytest.mark.parametrize(("ends_s", "holds"), [(5.0, True), (9.0, False)])
def test_grants_above_the_rating_hold_as_long_as_the_breaker_does(ends_s: float, holds: bool) -> None:
    limit_w = 500.0  # four nodes draw 2,400 W, and the dead one 200 more
    assert 5.0 < 11.0 / ((2600.0 / 1733.0) ** 2 - 1.0) < 9.0
    assert (broken(1733.0, limit_w, ends_s) == "") == holds


def test_a_warm_breaker_holds_less() -> None:
    assert not broken(1733.0, 500.0, 5.0)
    assert broken(1733.0, 500.0, 5.0, heat=6.0)


def test_a_limit_for_ever_above_the_rating_trips_it() -> None:
    assert broken(1733.0, 210.0, np.inf) == ""
    assert broken(1733.0, 250.0, np.inf)


def test_what_was_raised_may_overshoot_a_hard_limit() -> None:
    assert not broken(2600.0, 500.0, 5.0, kind="hard")
    assert "0.00 s on row carries" in broken(2600.0, 500.0, 5.0, kind="hard", raised=True)


def test_one_more_at_its_limit_for_ever_has_room_or_has_not_the_dead_one_beside_it() -> None:
    hung_w = np.array([600.0, 200.0, 200.0, 200.0])
    for rating_w, stands in ((FLOORS_W + 400.0, True), (FLOORS_W + 399.0, False)):
        element = Element("row", "thermal", rating_w, ENDLESS_S, 11.0, 2.0, dead_count=1)
        assert silence_of(element).stands(np.array([rating_w]), hung_w) == stands
