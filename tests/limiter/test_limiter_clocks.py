"""Clock locks: held for as long as the lease, taken back with it, set again after a reload, and given up on a card that refuses."""

from dataclasses import replace

from fakes.limited import CARDS, KEY, SETUP, Node

from gpuwarden.agent.limiter.events import ClocksLocked, LockClocks, Remember
from gpuwarden.agent.limiter.machine import Limiter
from gpuwarden.proto.lease_pb2 import Mode

MAX_HZ, LOCK_HZ = 1.98e9, 1.56e9
LOCKABLE = replace(SETUP, cards=tuple(replace(card, clock_max_hz=MAX_HZ) for card in CARDS))


class Locked(Node):
    """A node whose cards take a lock at once, or refuse with these reasons."""

    def __init__(self, refused: tuple[str, str] = ("", ""), setup: object = LOCKABLE) -> None:
        super().__init__(Limiter(setup, KEY))  # type: ignore[arg-type]  # a LimiterSetup
        self.refused, self.orders = refused, list[tuple[float, ...]]()

    def perform(self, actions):  # type: ignore[no-untyped-def]  # as Node's
        for action in actions:
            if isinstance(action, LockClocks):
                self.orders.append(action.clocks_hz)
                self.done += self.limiter.step(self.now_s, ClocksLocked(action.clocks_hz, self.refused))
        return super().perform(actions)


def locked(**more: object) -> Locked:
    node = Locked(**more)  # type: ignore[arg-type]  # a test's keywords
    node.run(2.0)
    node.grant(clocks_hz=[LOCK_HZ] * 2)
    node.run(0.5)
    return node


def test_a_lock_is_ordered_once_and_told_in_the_report() -> None:
    node = locked()
    assert node.orders == [(LOCK_HZ,) * 2]
    assert list(node.reports()[-1].clocks_hz) == [LOCK_HZ] * 2
    assert node.reports()[-1].clock_max_hz == MAX_HZ


def test_a_grant_without_one_unlocks() -> None:
    node = locked()
    node.grant()
    node.run(0.5)
    assert node.orders[1:] == [(0.0,) * 2]
    assert list(node.reports()[-1].clocks_hz) == []


def test_it_ends_with_the_lease_though_the_limits_are_at_the_floor_already() -> None:
    node = Locked()
    node.run(2.0)
    node.grant(limit_w=200.0, clocks_hz=[LOCK_HZ] * 2)
    node.run(4.0)
    assert len(node.orders) == 1
    node.run(3.0)
    assert node.orders[1:] == [(0.0,) * 2]


def test_it_ends_as_the_node_leaves_auto() -> None:
    node = locked()
    node.grant(mode=Mode.MODE_OBSERVE, clocks_hz=[LOCK_HZ] * 2)
    node.run(0.5)
    assert node.orders[1:] == [(0.0,) * 2]


def test_outside_auto_nothing_is_locked() -> None:
    node = Locked()
    node.run(2.0)
    node.grant(mode=Mode.MODE_OBSERVE, clocks_hz=[LOCK_HZ] * 2)
    node.run(2.0)
    assert node.orders == []


def test_a_reloaded_driver_is_told_again() -> None:
    node = locked()
    node.driver_loads += 1
    node.run(1.5)
    assert node.orders == [(LOCK_HZ,) * 2] * 2


def test_a_limiter_that_was_in_auto_takes_back_what_it_may_have_left_behind() -> None:
    node = Locked(setup=replace(LOCKABLE, mode=Mode.MODE_AUTO))
    node.run(0.3)
    assert node.orders == [(0.0,) * 2]


def test_a_card_that_refuses_is_told_of_and_no_card_of_the_node_is_locked_from_then_on() -> None:
    node = locked(refused=("", "not supported"))
    assert node.orders == [(LOCK_HZ,) * 2, (0.0,) * 2]
    node.run(3.0)
    assert len(node.orders) == 2, "it is not asked again"
    assert node.reports()[-1].clock_max_hz == 0.0
    assert node.said().count("clocks cannot be locked: card 1: not supported") == 1


def test_a_card_whose_highest_clock_nobody_knows_is_not_locked() -> None:
    node = locked(setup=SETUP)
    assert node.orders == []
    assert node.reports()[-1].clock_max_hz == 0.0


def test_a_driver_that_does_not_answer_is_asked_again() -> None:
    node = Node(Limiter(LOCKABLE, KEY))
    node.run(2.0)
    node.grant(clocks_hz=[LOCK_HZ] * 2)
    node.run(2.0)
    orders = [action for action in node.done if isinstance(action, LockClocks)]
    assert 2 <= len(orders) <= 6


def test_a_clock_that_cannot_be_is_refused_at_the_door() -> None:
    for clocks_hz in ([LOCK_HZ], [LOCK_HZ, -1.0], [LOCK_HZ, float("nan")], [LOCK_HZ, 1e12]):
        node = Locked()
        node.run(2.0)
        assert not any(isinstance(action, Remember) for action in node.grant(clocks_hz=clocks_hz))
        node.run(1.1)
        assert node.reports()[-1].refusal.startswith("clocks_hz: ")
