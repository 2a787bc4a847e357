"""The guard over a node's own draw: what settles as sound cards do trips it in no less than two seconds, and no card that disobeys keeps on for longer."""

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from fakes.limited import DEFAULT_W, FLOOR_W, KEY, SETUP, Node
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.agent.limiter.events import LimitsRead, SetLimits
from gpuwarden.agent.limiter.guard import ABOVE_RATIO, ABOVE_S, QUIET_S, RAISED_S, SETTLED_S, SPIKE_S, Guard
from gpuwarden.agent.limiter.machine import Limiter
from gpuwarden.proto.lease_pb2 import Mode

TICK_S, SENSOR_S, WINDOW_S = 0.1, 0.1, 0.025
SET_S, OBEYS_S, SPIKE_LASTS_S, SPIKE, TAIL = 0.16, 1.0, 0.249, 1.5, 1.10  # the reference's worst of a card that is sound


def granted(limit_w: float = 300.0) -> Node:
    """A node whose cards have long obeyed this."""
    node = Node()
    node.run(0.2)
    node.grant(limit_w)
    for _ in range(3):
        node.run(1.0)
        node.grant(limit_w)
    assert node.limits_w == (limit_w,) * 2 and not node.limiter._guard_trips
    return node


def test_a_card_that_draws_far_more_than_its_limit_sends_the_node_to_its_floor_with_the_reading_that_shows_it() -> None:
    node = granted()
    node.power_w = (600.0, 150.0)
    node.run(0.1)
    assert node.limits_w == (FLOOR_W, FLOOR_W)
    node.run(0.1)
    assert node.reports()[-1].guard_trips == 1


def test_a_card_that_draws_a_third_more_does_so_for_less_than_half_a_second() -> None:
    node = granted()
    node.power_w = (400.0, 150.0)
    node.run(SPIKE_S)
    assert node.limits_w == (300.0, 300.0)
    node.run(0.1)
    assert node.limits_w == (FLOOR_W, FLOOR_W)


def test_a_limit_that_was_lowered_is_given_time_and_a_card_that_never_obeys_it_less_than_two_seconds() -> None:
    node = granted(600.0)
    node.power_w = (600.0, 600.0)
    node.run(0.5)
    node.grant(300.0)
    node.run(SETTLED_S - 0.1)
    assert node.limits_w == (300.0, 300.0)
    node.run(2.0 - SETTLED_S)
    assert node.limits_w == (FLOOR_W, FLOOR_W)


def test_no_answer_to_a_report_from_before_the_floor_was_read_back_takes_the_node_from_it() -> None:
    """To whoever gives that, it is a renewal, which overshoots nothing; to the cards it would be a raise."""
    node = granted()
    before_s = node.reports()[-1].stamp_s
    node.power_w = (600.0, 150.0)
    node.run(0.1)
    node.power_w = (190.0, 150.0)
    node.grant(300.0, echo_stamp_s=before_s)
    assert node.limits_w == (FLOOR_W, FLOOR_W)
    node.run(SETTLED_S + 0.1)
    node.grant(300.0, echo_stamp_s=before_s)
    assert node.limits_w == (FLOOR_W, FLOOR_W)
    assert [card.requested_w for card in node.reports()[-1].cards] == [FLOOR_W, FLOOR_W]
    node.grant(300.0)
    assert node.limits_w == (300.0, 300.0)


def test_a_card_that_obeys_no_limit_keeps_its_node_at_the_floor_for_as_long_as_that_lasts() -> None:
    node = granted()
    node.power_w = (600.0, 150.0)
    for _ in range(10):
        node.run(1.0)
        node.grant(300.0)
        assert node.limits_w == (FLOOR_W, FLOOR_W)
    assert 1 < node.limiter._guard_trips <= 7  # set anew now and then, not with every reading
    node.power_w = (190.0, 150.0)
    node.run(QUIET_S + SETTLED_S)
    node.grant(300.0)
    assert node.limits_w == (300.0, 300.0)


def test_a_lease_is_renewed_while_the_guard_holds_the_node() -> None:
    node = granted()
    node.power_w = (600.0, 150.0)
    for _ in range(8):
        node.run(1.0)
        node.grant(300.0)
    assert not any("lease of grant" in sentence for sentence in node.said())
    assert node.reports()[-1].HasField("grant")


def test_a_node_that_was_at_its_floor_when_it_left_auto_obeys_when_it_comes_back() -> None:
    node = granted()
    node.power_w = (600.0, 150.0)
    node.run(0.1)
    node.power_w = (190.0, 150.0)
    node.grant(300.0, mode=Mode.MODE_OBSERVE)
    node.run(3.0)
    node.grant(300.0)
    assert node.limits_w == (300.0, 300.0)


def test_what_somebody_else_raised_is_set_back_and_is_no_disobedience() -> None:
    node = granted()
    node.limits_w, node.power_w = (DEFAULT_W,) * 2, (690.0, 690.0)
    cards = LimitsRead(tuple(replace(node.limiter._limits[0], requested_w=w, enforced_w=w) for w in node.limits_w), 1, ordered=False)
    node.perform(node.limiter.step(node.now_s, cards))  # as the driver's thread tells before the power
    assert node.limits_w == (300.0, 300.0)
    node.run(1.2)
    node.power_w = (300.0, 300.0)
    node.run(1.0)
    assert node.limits_w == (300.0, 300.0) and not node.limiter._guard_trips


@pytest.mark.parametrize("power_w", [690.0, math.nan])
def test_a_limiter_that_starts_at_its_floor_gives_its_cards_time(power_w: float) -> None:
    node = Node(Limiter(replace(SETUP, mode=Mode.MODE_AUTO, epoch=5), KEY), power_w=(power_w, power_w))
    node.run(1.3)
    assert not node.limiter._guard_trips
    assert sum(isinstance(action, SetLimits) for action in node.done) == 1


@dataclass
class Card:
    """As bad as a sound one may be: it obeys a lower limit after `obeys_s`, and overshoots a raise, and load that comes under a limit."""

    obeys_s: float
    limits: list[tuple[float, float]] = field(default_factory=list)  # from when on the driver has it, W
    spikes_s: list[float] = field(default_factory=list)

    def power_w(self, at_s: float) -> float:
        since = [(from_s, w) for from_s, w in self.limits if from_s <= at_s]
        held = [w for (_, w), (until_s, _) in pairwise(since) if at_s < until_s + self.obeys_s]
        limit_w = max([*held, since[-1][1]])
        raised_s = [from_s for (_, old_w), (from_s, w) in pairwise(since) if w > old_w] + self.spikes_s
        over = max((SPIKE if at_s < s + SPIKE_LASTS_S else TAIL if at_s < s + OBEYS_S else 1.0 for s in raised_s if s <= at_s), default=1.0)
        return limit_w * over

    def sensor_w(self, at_s: float, phase_s: float) -> float:
        """The mean of the last 25 ms, every 100 ms, as its worst instant."""
        shown_s = (at_s - phase_s) // SENSOR_S * SENSOR_S + phase_s
        return max(self.power_w(max(0.0, shown_s - WINDOW_S)), self.power_w(max(0.0, shown_s)))


changes = st.lists(st.tuples(st.floats(0.05, 3.0), st.floats(200.0, 700.0), st.floats(0.0, SET_S)), max_size=12)


@settings(max_examples=150)
@given(changes, st.floats(0.0, OBEYS_S), st.floats(0.0, SENSOR_S), st.floats(0.0, TICK_S), st.lists(st.floats(2.0, 5.0), max_size=6))
def test_what_settles_as_sound_cards_do_trips_nothing_in_less_than_two_seconds(
    script: list[tuple[float, float, float]], obeys_s: float, phase_s: float, late_s: float, gaps_s: list[float]
) -> None:
    card, guard, wanted_w, ordered = Card(obeys_s, [(-9.0, 400.0)]), Guard(), 400.0, list[tuple[float, float]]()
    for after_s, limit_w, set_s in script:
        at_s = (ordered[-1][0] if ordered else 0.0) + max(after_s, SET_S)
        ordered.append((at_s, limit_w))
        card.limits.append((at_s + set_s, limit_w))
    above_s, changed_s = math.inf, ordered[-1][0] if ordered else 0.0
    card.spikes_s = [changed_s + sum(gaps_s[: place + 1]) for place in range(len(gaps_s))]
    for tick in range(round(10 * (changed_s + 3.0 + sum(gaps_s)))):
        now_s = tick * TICK_S + late_s
        while ordered and ordered[0][0] <= now_s:
            at_s, wanted_w = ordered.pop(0)
            guard.allows(at_s, (wanted_w,))
        power_w = card.sensor_w(now_s, phase_s)
        above_s = min(above_s, now_s) if power_w > ABOVE_RATIO * wanted_w else math.inf
        assert not guard.trips(now_s, (power_w,), (wanted_w,), lowest=False) or now_s - above_s >= ABOVE_S, f"at {now_s:.2f} s"


@settings(max_examples=100)
@given(changes, st.floats(1.001, 3.0), st.booleans())
def test_no_card_is_above_what_is_wanted_for_longer_than_two_seconds_but_for_the_overshoot_of_raises(
    script: list[tuple[float, float, float]], over: float, lowest: bool
) -> None:
    guard, now_s, wanted_w, tripped_s, raises = Guard(), 0.0, 400.0, 0.0, 0
    for after_s, limit_w, _ in [*script, (5.0, 400.0, 0.0)]:
        for _ in range(round(after_s / TICK_S)):
            now_s += TICK_S
            if guard.trips(now_s, (over * ABOVE_RATIO * wanted_w,), (wanted_w,), lowest=lowest):
                tripped_s, raises = now_s, 0
            assert now_s - tripped_s <= ABOVE_S + 2.5 * TICK_S + raises * (RAISED_S + SPIKE_S + TICK_S)
        raises += limit_w > wanted_w
        wanted_w = limit_w
        guard.allows(now_s, (wanted_w,))
