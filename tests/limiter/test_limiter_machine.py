"""The limiter: a limit above the floor is a lease, and nobody without the key, from yesterday or with a lower epoch raises it."""

from dataclasses import replace

import pytest
from fakes.limited import DEFAULT_W, FLOOR_W, KEY, LEASE_S, SETUP, Node
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuwarden.agent.limiter.events import (
    DriverHung,
    PowerRead,
    Remember,
    SetLimits,
)
from gpuwarden.agent.limiter.machine import Limiter
from gpuwarden.agent.limiter.standing import SAME_W
from gpuwarden.core.seal import Way, unseal
from gpuwarden.proto.lease_pb2 import Mode, PowerReport


def reporting() -> Node:
    node = Node()
    node.run(0.2)
    return node


def test_in_observe_nothing_is_touched() -> None:
    node = Node()
    node.run(20.0)
    assert not any(isinstance(a, SetLimits | Remember) for a in node.done)


def test_a_grant_is_remembered_before_it_is_set_and_then_read_back() -> None:
    node = reporting()
    *remembered, last = node.grant()[:3]
    assert set(remembered) == {Remember(5, Mode.MODE_AUTO)}
    assert isinstance(last, SetLimits) and last.limits_w == (500.0, 500.0)
    node.run(1.5)
    report = node.reports()[-1]
    assert report.confirmed_for_s >= 1.0
    assert [card.enforced_w for card in report.cards] == [500.0, 500.0]
    assert report.applied.sequence == 1 and report.applied.set_s >= report.applied.received_s >= report.applied.echo_s


def test_a_lease_ends_lease_s_after_the_stamp_that_the_grant_answers() -> None:
    node = reporting()
    stamp_s = node.reports()[-1].stamp_s
    node.run(0.7)
    node.grant(echo_stamp_s=stamp_s)
    node.run(LEASE_S - 0.9)
    assert node.limits_w == (500.0, 500.0)
    node.run(0.3)
    assert node.limits_w == (FLOOR_W, FLOOR_W)
    assert "every GPU goes to its floor" in node.said()[-1]


def test_renewed_in_time_a_limit_stays_and_is_set_only_once() -> None:
    node = reporting()
    for _ in range(10):
        node.grant()
        node.run(1.1)
    assert node.limits_w == (500.0, 500.0)
    assert sum(isinstance(a, SetLimits) for a in node.done) == 1


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"key": bytes(32)}, "seal: does not match"),
        ({"way": Way.UP}, "seal: does not match"),
        ({"version": 2}, "version: is 2"),
        ({"node": "n2"}, "node: is 'n2'"),
        ({"mode": Mode.MODE_APPROVE}, "mode: is 3"),
        ({"limits_w": [500.0]}, "limits_w: are 1, this node has 2 cards"),
        ({"limits_w": [500.0, float("nan")]}, "limits_w: each should be above 0 W"),
        ({"lease_s": 3600.0}, "lease_s: is 3600"),
        ({"lease_s": float("nan")}, "lease_s: is nan"),
        ({"echo_limiter_start": "start-0"}, "echo_limiter_start: answers a report of 'start-0'"),
        ({"echo_stamp_s": 1e9}, "echo_stamp_s: 1000000000.000 is no report"),
        ({"echo_stamp_s": 1.0}, "lease_s: the grant's 5 s ended"),
        ({"epoch": 4}, "epoch: is 4, 5 has been obeyed"),
        ({"epoch": 1 << 63}, "epoch: is 9223372036854775808, above"),
        ({"controller_id": "c2", "epoch": 9}, "controller_id: a lease of 'c1' runs"),
        ({"sequence": 1}, "sequence: is 1, 1 has been obeyed"),
    ],
)
def test_a_directive_that_may_not_be_obeyed_changes_nothing_and_says_why(changed: dict[str, object], says: str) -> None:
    node = reporting()
    node.grant(300.0)
    node.run(1.2)
    node.grant(600.0, **changed)  # type: ignore[arg-type]  # a test's keywords
    assert node.limits_w == (300.0, 300.0)
    assert says in node.said()[-1]
    node.run(0.2)
    assert says in node.reports()[-1].refusal


def test_an_answer_to_an_older_report_than_the_one_obeyed_is_refused() -> None:
    node = reporting()
    old_s = node.reports()[-1].stamp_s
    node.run(1.2)
    node.grant(300.0)
    node.grant(600.0, echo_stamp_s=old_s)
    assert node.limits_w == (300.0, 300.0)


def test_another_controller_is_obeyed_once_the_lease_has_ended() -> None:
    node = reporting()
    node.grant(300.0)
    node.run(LEASE_S + 1.0)
    node.grant(600.0, controller_id="c2", epoch=6)
    assert node.limits_w == (600.0, 600.0)


@pytest.mark.parametrize("mode", [Mode.MODE_OBSERVE, Mode.MODE_AUTO])
def test_a_grant_whose_lease_has_ended_is_refused_in_any_mode(mode: "Mode.ValueType") -> None:
    node = reporting()
    node.grant(300.0)
    stamp_s = node.reports()[-1].stamp_s
    node.run(LEASE_S + 1.0)
    node.grant(600.0, mode=mode, echo_stamp_s=stamp_s, epoch=7)
    assert (node.limits_w, node.limiter.mode, node.limiter.epoch) == ((FLOOR_W,) * 2, Mode.MODE_AUTO, 5)
    assert "lease_s: the grant's 5 s ended 1." in node.said()[-1]


def test_limits_are_kept_within_the_cards_range() -> None:
    node = reporting()
    node.grant(5000.0)
    assert node.limits_w == (DEFAULT_W, DEFAULT_W)
    node.grant(1.0)
    assert node.limits_w == (200.0, 200.0)


def test_leaving_auto_gives_the_limits_back_once_and_touches_nothing_after() -> None:
    node = reporting()
    node.grant(300.0)
    node.run(1.2)
    node.grant(300.0, mode=Mode.MODE_OBSERVE)
    assert node.limits_w == (DEFAULT_W, DEFAULT_W)
    node.limits_w = (450.0, 450.0)
    node.run(LEASE_S + 3.0)
    assert node.limits_w == (450.0, 450.0)


def test_started_again_in_auto_it_sets_the_floor_before_it_hears_of_anyone() -> None:
    node = Node(Limiter(replace(SETUP, mode=Mode.MODE_AUTO, epoch=5), KEY))
    node.run(0.2)
    assert node.limits_w == (FLOOR_W, FLOOR_W)


def test_somebody_elses_limit_is_seen_corrected_and_counted() -> None:
    node = reporting()
    node.grant(300.0)
    node.run(1.5)
    node.limits_w = (DEFAULT_W, 300.0)
    node.run(1.5)
    assert node.limits_w == (300.0, 300.0)
    assert node.reports()[-1].foreign_changes == 1


def test_after_a_driver_reload_the_limits_are_set_again_and_are_unconfirmed_until_then() -> None:
    node = reporting()
    node.grant(300.0)
    node.run(1.5)
    node.limits_w, node.driver_loads = (DEFAULT_W, DEFAULT_W), 2
    node.run(1.5)
    assert node.limits_w == (300.0, 300.0)
    assert node.reports()[-1].driver_loads == 2
    assert node.reports()[-1].confirmed_for_s < 1.5


def test_a_driver_that_hangs_is_reported_and_confirms_nothing() -> None:
    node = reporting()
    node.grant(300.0)
    node.run(1.5)
    node.perform(node.limiter.step(node.now_s, DriverHung("power")))
    node.power_w = (float("nan"),) * 2
    node.limiter.step(node.now_s, PowerRead(node.power_w))
    report = PowerReport.FromString(unseal(KEY, Way.UP, "n1", node.limiter._report(node.now_s).sealed))
    assert report.driver_hung and not report.HasField("confirmed_for_s")


def test_a_card_that_is_lost_is_reported_at_once_and_then_once_a_second() -> None:
    node = reporting()
    node.run(1.0)
    before = len(node.reports())
    node.power_w = (float("nan"), 150.0)
    node.run(0.1)
    assert len(node.reports()) == before + 1
    node.run(3.0)
    assert len(node.reports()) <= before + 4


def test_a_new_controller_of_the_same_epoch_counts_from_one() -> None:
    node = reporting()
    for _ in range(3):
        node.grant(300.0)
    node.run(LEASE_S + 1.0)
    node.sequence = 0
    node.grant(600.0, controller_id="c2")
    assert node.limits_w == (600.0, 600.0)


def test_a_power_step_is_reported_at_once() -> None:
    node = reporting()
    node.run(1.0)
    before = len(node.reports())
    node.power_w = (300.0, 150.0)
    node.run(0.1)
    assert len(node.reports()) == before + 1


def test_a_report_that_leaves_as_a_step_begins_does_not_hide_the_step() -> None:
    """100 W of 1,400 are a step, whatever is reported on the way."""
    node = reporting()
    node.run(1.0)
    node.power_w = (200.0, 150.0)  # not yet a step
    before = len(node.reports())
    while len(node.reports()) == before:
        node.run(0.1)
    node.power_w = (250.0, 150.0)  # of which 50 W are new
    node.run(0.1)
    assert len(node.reports()) == before + 2


def test_limits_that_have_been_set_are_told_with_the_next_power_so_that_a_step_behind_them_does_not_wait() -> None:
    node = reporting()
    node.run(0.5)
    node.power_w = (300.0, 150.0)
    node.grant()  # set and read back at once: news, but of the power before
    node.run(0.1)
    last = node.reports()[-1]
    assert [card.power_w for card in last.cards] == [300.0, 150.0]
    assert last.stamp_s == node.now_s and last.applied.set_s == pytest.approx(node.now_s - 0.1)
    assert len([report for report in node.reports() if report.stamp_s == pytest.approx(node.now_s - 0.1)]) == 0


def test_a_card_that_does_not_obey_is_sent_to_the_floor_and_counted() -> None:
    node = reporting()
    node.grant(300.0)
    node.power_w = (600.0, 150.0)
    node.run(2.5)
    assert node.reports()[-1].guard_trips >= 1
    assert node.limits_w == (FLOOR_W, FLOOR_W)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.floats(0.1, 4.0)),
        st.tuples(st.just("grant"), st.floats(100.0, 900.0)),
        st.tuples(st.just("forged"), st.floats(100.0, 900.0)),
        st.tuples(st.just("old"), st.floats(100.0, 900.0)),
        st.tuples(st.just("foreign"), st.floats(200.0, 700.0)),
    ),
    max_size=25,
)


@settings(max_examples=150)
@given(steps)
def test_whatever_happens_a_limit_above_the_floor_has_a_lease_that_runs(script: list[tuple[str, float]]) -> None:
    node = reporting()
    node.grant(FLOOR_W)
    for what, value in script:
        match what:
            case "run":
                node.run(value)
            case "grant":
                node.grant(value)
            case "forged":
                node.grant(value, key=bytes(32))
            case "old":
                node.grant(value, sequence=0)
            case "foreign":
                node.limits_w = (value, value)
                node.run(1.2)
        lease = node.limiter.lease
        assert lease is not None
        allowed_w = max(lease.limits_w) if node.now_s < lease.ends_s else FLOOR_W
        assert max(node.limits_w) <= allowed_w + SAME_W


def test_at_its_floor_it_obeys_no_answer_to_a_report_from_before_its_lease_ended() -> None:
    """To whoever gives that, it is a renewal, which overshoots nothing; to the cards it would be a raise."""
    node = reporting()
    node.grant(600.0)
    node.run(LEASE_S - 1.0)
    before_s = node.reports()[-1].stamp_s
    node.run(1.5)
    assert node.limits_w == (FLOOR_W, FLOOR_W)
    node.grant(600.0, echo_stamp_s=before_s)
    assert node.limits_w == (FLOOR_W, FLOOR_W)
    assert "since it started or went to its floor" in node.said()[-1]
    node.grant(600.0)
    assert node.limits_w == (600.0, 600.0)
