"""When nodes that no limiter answers for are held by their BMCs: late, one at a time, written down before, and in its own two modes."""

from pathlib import Path

import pytest
from fakes.limiters import KEY, Limiter, Row

from gpuwarden.controller.events import Action, OutOfBand, OutOfBandDone, WriteLedger
from gpuwarden.controller.lines import Lines
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.out_of_band import (
    HOLD_S,
    LIFT_AFTER_S,
    LOST_S,
    OFF_EVERY_S,
    RETRY_S,
    TRIES,
    OutOfBandOrders,
)
from gpuwarden.controller.out_of_band_config import OutOfBandConfig
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.core.config import ConfigError, parse
from gpuwarden.proto.control_pb2 import Action as Line

NODES = tuple(f"n{i}" for i in range(8))
CLASS = NodeClass("h100", NODES)
FLOOR_W = 4148.0  # 2300 + 1.10 x 1.05 x 8 x 200
LEARN_S = 2.5


def row(silent: set[str], rating_w: float, mode: str, config: OutOfBandConfig | None) -> Row:
    """With a controller that has learnt which nodes it does not hear."""
    domain = DomainConfig("row", rating_w, (CLASS,), mode=mode, dead_nodes=1)
    setup = ControllerSetup("c1", 0, (domain,), (), Timing(5.0, 3.0, LEARN_S), out_of_band=config)
    made = Row(Controller(setup, dict.fromkeys(NODES, KEY)), [Limiter(node) for node in NODES], silent=silent)
    made.connect()
    made.run(12.0)
    return made


class Held:
    """A row of which some nodes were never heard, looked at once a second from its newest decision; and BMCs that do as they are told or fail."""

    def __init__(
        self, silent: set[str], mode: str = "auto", off: str = "observe", rating_w: float = 45e3, nodes: tuple[str, ...] = (), domain_mode: str = "auto"
    ) -> None:
        self.row, self.now_s, self.lines = row(silent, rating_w, domain_mode, None), 0.0, list[Line]()
        config = OutOfBandConfig("https://{node}-bmc", "u", Path("/p"), nodes, mode, off)
        self._orders = OutOfBandOrders(config, list(self.row.controller.keepers.values()), Lines())

    def run(self, seconds: float) -> list[OutOfBand]:
        """What is ordered meanwhile."""
        ordered = []
        for _ in range(round(seconds)):
            actions = list(self._orders.tick(self.now_s))
            self._write(actions)
            ordered += [action for action in actions if isinstance(action, OutOfBand)]
            self.now_s += 1.0
        return ordered

    def answer(self, orders: list[OutOfBand], ok: bool) -> None:
        for order in orders:
            self._write(self._orders.done(OutOfBandDone(order.node, order.kind, ok, "as told")))

    def _write(self, actions: list[Action]) -> None:
        self.lines += [Line.FromString(payload) for action in actions if isinstance(action, WriteLedger) for payload in action.payloads]


def test_a_controller_writes_its_order_down_before_it_is_carried_out_and_then_what_came_of_it() -> None:
    made = row({"n5", "n6", "n7"}, 45e3, "auto", OutOfBandConfig("https://{node}-bmc", "u", Path("/p"), mode="auto"))
    made.run(HOLD_S)
    first = next(number for number, action in enumerate(made.done) if isinstance(action, OutOfBand))
    line, order = made.done[first - 1], made.done[first]
    assert isinstance(line, WriteLedger) and Line.FromString(line.payloads[0]).subject == "n5"
    assert order == OutOfBand("n5", "limit", FLOOR_W)
    (outcome,) = made.controller.step(made.now_s, OutOfBandDone("n5", "limit", True, "6,500 W before, 4,148 W now"))
    assert isinstance(outcome, WriteLedger) and "done: 6,500 W before" in Line.FromString(outcome.payloads[0]).reason


def test_nodes_beyond_the_dead_ones_are_limited_to_what_they_would_draw_at_their_floor() -> None:
    held = Held({"n5", "n6", "n7"})
    assert held.run(HOLD_S) == []
    assert held.run(3.0) == [OutOfBand(node, "limit", FLOOR_W) for node in ("n5", "n6", "n7")]
    assert held.lines[0].performed and "limit the node to 4,148 W: nobody vouches for it" in held.lines[0].reason


def test_a_limit_that_is_set_is_ordered_once() -> None:
    held = Held({"n5", "n6", "n7"}, off="auto")
    held.answer(held.run(20.0), ok=True)
    assert held.run(10 * RETRY_S) == []


def test_no_more_than_the_dead_ones_are_left_alone() -> None:
    assert Held({"n7"}).run(60.0) == []


def test_in_observe_it_is_written_once_and_nothing_is_done() -> None:
    held = Held({"n5", "n6", "n7"}, mode="observe")
    assert held.run(300.0) == []
    assert [(line.subject, line.performed) for line in held.lines] == [(node, False) for node in ("n5", "n6", "n7")]


def test_a_domain_outside_auto_is_left_alone() -> None:
    assert Held({"n5", "n6", "n7"}, domain_mode="notify").run(60.0) == []


def test_only_nodes_that_are_named_are_reached() -> None:
    assert {order.node for order in Held({"n5", "n6", "n7"}, nodes=("n[0-5]",)).run(60.0)} == {"n5"}


def failed_limits(off: str, rating_w: float = 45e3) -> Held:
    held = Held({"n5", "n6", "n7"}, off=off, rating_w=rating_w)
    for _ in range(TRIES):
        orders = held.run(RETRY_S + HOLD_S)
        assert {order.kind for order in orders} == {"limit"}
        held.answer(orders, ok=False)
    return held


def test_a_limit_that_cannot_be_set_is_tried_again_a_few_times_and_power_off_is_the_last_resort_one_node_at_a_time() -> None:
    held = failed_limits(off="auto")
    orders = held.run(OFF_EVERY_S)
    assert [(order.node, order.kind) for order in orders] == [("n5", "off")]
    held.answer(orders, ok=True)
    assert "power it off: nobody vouches for it" in held.lines[-2].reason and "row may draw more than it carries" in held.lines[-2].reason
    assert [order.node for order in held.run(OFF_EVERY_S - 1.0)] == ["n6"]


def test_power_off_has_its_own_mode() -> None:
    held = failed_limits(off="observe")
    assert held.run(10 * OFF_EVERY_S) == []
    assert {(line.subject, line.performed) for line in held.lines if line.kind == "bmc-off"} == {(node, False) for node in ("n5", "n6", "n7")}


def test_while_the_breaker_holds_nobody_is_switched_off() -> None:
    assert failed_limits(off="auto", rating_w=80e3).run(10 * OFF_EVERY_S) == []


def test_a_node_whose_limiter_answers_again_gets_its_limit_lifted() -> None:
    held = Held({"n5", "n6", "n7"})
    held.answer(held.run(20.0), ok=True)
    held.row.silent = set()
    held.row.run(10.0)
    assert held.run(LIFT_AFTER_S - 5.0) == []
    orders = held.run(20.0)
    assert [(order.node, order.kind) for order in orders] == [(node, "lift") for node in ("n5", "n6", "n7")]
    held.answer(orders, ok=True)
    assert held.run(10 * RETRY_S) == []


def test_an_outcome_that_was_lost_counts_as_failed_and_a_stray_one_as_nothing() -> None:
    held = Held({"n5", "n6", "n7"})
    held.run(20.0)
    held.answer([OutOfBand("n0", "limit", 0.0), OutOfBand("n5", "off", 0.0)], ok=True)
    assert len(held.lines) == 3
    assert len(held.run(LOST_S + 2.0)) == 3


TABLE = {"url": "https://{node}-bmc", "user": "u", "password_file": "/p"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"url": "https://bmc"}, "url: is 'https://bmc', should have {node} in it"),
        ({"url": "http://{node}"}, "should be https"),
        ({"url": "https://u:p@{node}"}, "url: holds a user or password"),
        ({"url": "https://{node}/redfish"}, "should be https://host or https://host:port"),
        ({"mode": "notify"}, "mode: is 'notify', should be observe or auto"),
        ({"power_off_mode": "auto"}, "power_off_mode: is auto where limits are not"),
        ({"nodes": ["n[1-"]}, "nodes: "),
        ({"user": "a:b"}, "user: is 'a:b'"),
    ],
)
def test_a_table_that_cannot_be_is_refused_with_its_key(changed: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse({**TABLE, **changed}, OutOfBandConfig)
    assert says in str(caught.value)
