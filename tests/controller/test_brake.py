"""The brake: cards that draw more than their limits bring down all that hang on the limit they overload, and nobody else."""

import pytest
from fakes.limiters import GPUS, KEY, Limiter, Row

from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.brake import CALM_S, HOT, OVER_S
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Keeper, Timing
from gpuwarden.controller.power.limit import HOT_TRIP_HEAT_S, LimitConfig
from gpuwarden.controller.power.node_class import NodeClass

NODES = tuple(f"n{number}" for number in range(8))
FLOOR_W = GPUS * 200.0
RACK_W = 24e3
MUCH = 1.6  # a hard limit is used to some 70 %


def row(kind: str, mode: str = "auto") -> Row:
    """Four of eight nodes hang on a rack that cannot carry them all at their defaults; all want all they can get."""
    rack = LimitConfig("rack", RACK_W, nodes=("n[0-3]",), kind=kind, dead_nodes=0)
    domain = DomainConfig("row", 80e3, (NodeClass("h100", NODES),), mode=mode, limits=(rack,), dead_nodes=0)
    setup = ControllerSetup("c1", 0, (domain,), (), Timing(5.0, 3.0, 2.5))
    made = Row(Controller(setup, dict.fromkeys(NODES, KEY)), [Limiter(node, demand_w=5600.0) for node in NODES])
    made.connect()
    made.run(120.0)
    return made


def keeper(made: Row) -> Keeper:
    return made.controller.keepers["row"]


def at_floor(made: Row) -> set[str]:
    return {limiter.node for limiter in made.limiters if limiter.limit_w <= FLOOR_W}


def disobey(made: Row, ratio: float) -> None:
    for limiter in made.limiters[:4]:
        limiter.obeys = ratio


@pytest.mark.parametrize("kind", ["hard", "thermal"])
def test_while_all_obey_nothing_is_braked(kind: str) -> None:
    made = row(kind)
    assert not keeper(made).brake.on.any() and not at_floor(made)


def test_where_cards_draw_more_than_their_limits_all_under_a_hard_limit_go_to_their_floors_and_others_stay() -> None:
    made = row("hard")
    disobey(made, MUCH)
    made.run(1.0 + OVER_S + 1.0)
    assert at_floor(made) == {"n0", "n1", "n2", "n3"}
    line = next(line for line in reversed(made.lines) if line.subject == "n0" and line.kind == "floor")
    assert "the brake: rack draws up to" in line.reason


def test_a_thermal_limit_is_braked_before_it_trips_and_not_long_before() -> None:
    made = row("thermal")
    disobey(made, 1.2)
    heats = []
    while not at_floor(made):
        heats.append(keeper(made).brake.heat[0] / HOT_TRIP_HEAT_S)
        made.run(0.1)
        assert heats[-1] < 1.0 and keeper(made).loads.heat_ratio < 1.0
    assert heats[-1] > HOT - 0.02 and heats[0] < 0.6


def test_it_lets_go_once_the_load_has_been_below_the_rating_for_a_while() -> None:
    made = row("hard")
    disobey(made, MUCH)
    made.run(5.0)
    disobey(made, 1.0)
    made.run(CALM_S - 5.0)
    assert at_floor(made) == {"n0", "n1", "n2", "n3"}
    made.run(20.0)
    assert not at_floor(made) and not keeper(made).brake.on.any()


def test_people_are_told_and_told_when_it_is_over() -> None:
    made = row("hard")
    disobey(made, MUCH)
    made.run(10.0)
    assert any("rack" in line.reason and "at their floors" in line.reason for line in made.lines if line.kind == "notify")
    disobey(made, 1.0)
    made.run(CALM_S + 50.0)
    assert any("row: braked is over" in line.reason for line in made.lines if line.kind == "notify")


def test_silence_is_no_measurement() -> None:
    made = row("hard")
    made.silent.update(NODES[:4])
    made.run(20.0)
    assert not keeper(made).brake.on.any()


def test_outside_auto_nothing_is_braked() -> None:
    made = row("hard", mode="observe")
    assert keeper(made).loads.measured_w[0][0] > RACK_W and not keeper(made).brake.on.any()
