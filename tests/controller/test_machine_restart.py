"""A controller that is away for less than a lease: what its successor takes limits' heat for, and that it changes no cap."""

import pytest
from fakes.limiters import KEY, Limiter, Row

from gpuwarden.controller.events import RememberHeat
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.limit_heat import LimitHeat
from gpuwarden.controller.power.node_class import NodeClass

NODES = tuple(f"n{number}" for number in range(8))
LEASE_S, AWAY_S = 5.0, 2.0
BUSY_W, CALM_W = 3000.0, 1500.0  # of a node's cards: 46.1 kW of the row, which may carry 44, and 32.3 kW
CONFIG = DomainConfig("row", 44e3, (NodeClass("h100", NODES),), mode="auto", policy="none")


def controller(past_epoch: int, heats: tuple[LimitHeat, ...] = ()) -> Controller:
    return Controller(ControllerSetup("c1", past_epoch, (CONFIG,), (), Timing(LEASE_S, 3.0, LEASE_S / 2), heats=heats), dict.fromkeys(NODES, KEY))


def cooled() -> Row:
    """After a minute of little load its breaker is cold, and limits add up beyond what it carries for ever."""
    row = Row(controller(0), [Limiter(node, demand_w=CALM_W) for node in NODES])
    row.connect()
    row.run(60.0)
    assert 0.0 <= heat_of(row) < 0.01 and sum(limiter.limit_w for limiter in row.limiters) > 8 * BUSY_W
    return row


def heat_of(row: Row) -> float:
    return row.controller.keepers["row"].loads.heats[-1].item()


def start_anew(row: Row, away_s: float) -> None:
    """A successor, which knows what was remembered, and hears everybody within a second."""
    heats = [heat for action in row.done if isinstance(action, RememberHeat) for heat in action.heats]
    row.now_s = round(row.now_s + away_s, 1)
    row.controller = controller(row.controller.epoch, tuple({heat.limit: heat for heat in heats}.values()))
    row.connect()
    row.run(1.5)


@pytest.mark.parametrize("away_s", [0.1, 1.0, AWAY_S])
def test_it_changes_no_cap_and_takes_a_cold_breaker_for_one(away_s: float) -> None:
    row = cooled()
    before_w = [limiter.limit_w for limiter in row.limiters]
    start_anew(row, away_s)
    assert heat_of(row) < 0.05 * 11.0
    row.run(LEASE_S)
    assert [limiter.limit_w for limiter in row.limiters] == before_w


def test_what_was_drawn_meanwhile_warms_it() -> None:
    row = cooled()
    for limiter in row.limiters:
        limiter.demand_w = BUSY_W
    start_anew(row, AWAY_S)
    ratio = 8 * (2300.0 + 1.155 * BUSY_W) / 44e3
    assert heat_of(row) >= (ratio * ratio - 1.0) * AWAY_S


@pytest.mark.parametrize(("older", "away_s"), [(len(NODES), 0.1), (0, LEASE_S + 1.0)], ids=["no limiter tells", "longer than a lease"])
def test_where_nobody_knows_when_somebody_last_granted_it_begins_with_what_leases_may_have_led_to(older: int, away_s: float) -> None:
    row = cooled()
    for limiter in row.limiters[:older]:
        limiter.tells_age = False
    start_anew(row, away_s)
    assert heat_of(row) > 0.2 * 11.0


def test_one_that_may_be_dead_is_not_believed_to_have_been_granted_anything_just_now() -> None:
    row = cooled()
    for limiter in row.limiters[1:]:
        limiter.tells_age = False
    start_anew(row, 0.1)
    assert heat_of(row) > 0.2 * 11.0
