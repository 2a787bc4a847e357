"""What one node counts: the order of the four rules, seen from the reports that the limiter sends."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.power.exposure import DRIFT, Exposure, grant, surely_ended_s
from gpuwarden.proto.lease_pb2 import CardReport, GrantInForce, Mode, PowerReport

FLOOR_W, DEFAULT_W, SETTLE_S, LEASE_S = 400.0, 1400.0, 1.0, 5.0
EPOCH = 7


def exposure() -> Exposure:
    return Exposure(FLOOR_W, DEFAULT_W, SETTLE_S)


def report(
    enforced_w: float, confirmed_s: float | None = 9.0, sequence: int | None = None, start: str = "a", loads: int = 0,
    mode: "Mode.ValueType" = Mode.MODE_AUTO,
) -> PowerReport:
    """Two cards. `sequence` is that of the grant in force, if one is."""
    cards = [CardReport(enforced_w=enforced_w / 2) for _ in range(2)]
    made = PowerReport(limiter_start=start, driver_loads=loads, cards=cards, mode=mode, confirmed_for_s=confirmed_s)
    if sequence is not None:
        made.grant.CopyFrom(GrantInForce(epoch=EPOCH, sequence=sequence, limits_w=[enforced_w / 2] * 2, ends_in_s=LEASE_S))
    return made


def known() -> Exposure:
    node = exposure()
    node.reported(0.0, report(FLOOR_W), EPOCH)
    return node


def granted(node: Exposure, sequence: int, limit_w: float, received_s: float) -> None:
    ends_s = surely_ended_s(np.array([received_s]), LEASE_S, np.array([SETTLE_S]))
    grant([node], node.row[:, None], np.array([0]), [sequence], np.array([limit_w]), ends_s)


def test_never_heard_of_counts_at_the_default_for_ever() -> None:
    assert exposure().counted(0.0) == (DEFAULT_W, math.inf)


def test_not_in_auto_counts_at_the_default_for_ever() -> None:
    node = known()
    node.reported(1.0, report(FLOOR_W, mode=Mode.MODE_OBSERVE), EPOCH)
    assert node.counted(1.0) == (DEFAULT_W, math.inf)


def test_told_to_leave_auto_it_counts_at_the_default_until_its_own_clock_says_that_it_refuses_that_word() -> None:
    node = known()
    node.released(1, 100.0, LEASE_S)
    assert node.counted(60.0) == (DEFAULT_W, math.inf), "obeyed once, it outlasts its lease"
    early, late = report(FLOOR_W), report(FLOOR_W)
    early.stamp_s, late.stamp_s = 100.0 + LEASE_S - 0.01, 100.0 + LEASE_S
    node.reported(60.0, early, EPOCH)
    assert node.counted(60.0) == (DEFAULT_W, math.inf)
    node.reported(61.0, late, EPOCH)
    assert node.counted(61.0) == (FLOOR_W, 0.0)


@pytest.mark.parametrize(("epoch", "sequence", "taken_back"), [(EPOCH, 2, True), (EPOCH, 1, False), (EPOCH + 1, 2, False)])
def test_a_newer_grant_that_it_obeys_takes_the_word_to_leave_auto_back(epoch: int, sequence: int, taken_back: bool) -> None:
    node = known()
    node.released(1, 100.0, LEASE_S)
    granted(node, 2, 900.0, 0.0)
    node.reported(1.0, report(900.0, sequence=sequence), epoch)
    assert node.counted(1.0)[0] == (900.0 if taken_back else DEFAULT_W)


def test_another_start_ends_no_word_to_leave_auto_until_it_has_obeyed_a_later_grant() -> None:
    """Who carries reports may have kept back one of a start that has long ended."""
    node = known()
    node.released(1, 100.0, LEASE_S)
    node.reported(1.0, report(FLOOR_W, start="b"), EPOCH)
    node.reported(60.0, report(FLOOR_W, start="b"), EPOCH)
    assert node.counted(60.0) == (DEFAULT_W, math.inf)
    node.reported(61.0, report(FLOOR_W, start="b", sequence=2), EPOCH)
    assert node.counted(61.0)[0] == FLOOR_W


def test_just_come_up_counts_at_the_default_until_read_back_and_settled() -> None:
    node = exposure()
    node.reported(0.0, report(FLOOR_W, confirmed_s=0.4), EPOCH)
    assert node.counted(0.0) == (DEFAULT_W, math.inf)
    node.reported(0.6, report(FLOOR_W, confirmed_s=1.0), EPOCH)
    assert node.counted(0.6) == (FLOOR_W, 0.0)


def test_a_grant_counts_from_the_moment_that_it_leaves() -> None:
    node = known()
    granted(node, 1, 900.0, 0.0)
    assert node.counted(0.1)[0] == 900.0


def test_a_cut_frees_nothing_until_it_is_read_back_and_has_settled() -> None:
    node = known()
    granted(node, 1, 900.0, 0.0)
    granted(node, 2, 600.0, 1.0)
    assert node.counted(1.1)[0] == 900.0
    node.reported(1.2, report(600.0, confirmed_s=0.1, sequence=2), EPOCH)
    assert node.counted(1.2)[0] == 900.0
    node.reported(2.2, report(600.0, confirmed_s=1.1, sequence=2), EPOCH)
    assert node.counted(2.2)[0] == 600.0


def test_silence_counts_the_grant_until_the_lease_has_surely_ended_and_then_the_floor() -> None:
    node = known()
    granted(node, 1, 900.0, 0.0)
    end_s = LEASE_S * DRIFT + SETTLE_S
    assert node.counted(end_s - 0.01)[0] == 900.0
    assert node.counted(end_s + 0.01) == (FLOOR_W, 0.0)


def test_a_driver_reload_puts_the_node_back_to_the_default() -> None:
    node = known()
    node.reported(1.0, report(DEFAULT_W, confirmed_s=None, loads=1), EPOCH)
    assert node.counted(1.0) == (DEFAULT_W, math.inf)


@pytest.mark.parametrize("again", [{"start": "b"}, {"loads": 1}], ids=["another start", "a reload"])
def test_a_grant_that_runs_counts_also_where_a_limiter_says_that_it_has_come_up_at_its_floor(again: dict[str, object]) -> None:
    node = known()
    granted(node, 1, 900.0, 0.0)
    node.reported(1.0, report(FLOOR_W, **again), EPOCH)  # type: ignore[arg-type]  # start is str, loads int
    assert node.counted(1.0)[0] == 900.0
    assert node.counted(LEASE_S * DRIFT + SETTLE_S + 0.01) == (FLOOR_W, 0.0)


def test_a_limit_that_somebody_else_raised_counts_as_long_as_it_lasts() -> None:
    node = known()
    node.reported(1.0, report(1000.0, confirmed_s=None), EPOCH)
    assert node.counted(1.0) == (1000.0, math.inf)
    node.reported(2.0, report(FLOOR_W, confirmed_s=1.0), EPOCH)
    assert node.counted(2.0) == (FLOOR_W, 0.0)


def test_in_contact_but_unable_to_confirm_a_grant_counts_for_as_long_as_that_lasts() -> None:
    node = known()
    granted(node, 1, 900.0, 0.0)
    hung = report(FLOOR_W, confirmed_s=None)
    hung.driver_hung = True
    node.reported(1.0, hung, EPOCH)
    assert node.counted(60.0) == (900.0, math.inf)
    node.reported(61.0, report(FLOOR_W, confirmed_s=1.0), EPOCH)
    assert node.counted(61.0) == (FLOOR_W, 0.0)


def test_a_grant_from_before_a_restart_counts_until_it_ends() -> None:
    node = exposure()
    node.reported(0.0, report(1100.0, sequence=40), EPOCH + 1)
    limit_w, held_s = node.counted(0.0)
    assert limit_w == 1100.0
    assert held_s == pytest.approx(LEASE_S * DRIFT + SETTLE_S)


@given(st.lists(st.tuples(st.floats(FLOOR_W, DEFAULT_W), st.floats(0, 3)), min_size=1, max_size=30))
def test_whatever_was_granted_and_still_runs_is_never_counted_lower(grants: list[tuple[float, float]]) -> None:
    node, now_s, running = known(), 0.0, []
    for sequence, (limit_w, after_s) in enumerate(grants, 1):
        now_s += after_s
        granted(node, sequence, limit_w, now_s)
        running.append((limit_w, now_s + LEASE_S))
        worst_w = max(w for w, end_s in running if end_s >= now_s)
        assert node.counted(now_s)[0] >= worst_w


steps = st.tuples(
    st.floats(0, 3), st.sampled_from(["grant", "report", "foreign", "hung", "reload", "release", "nothing"]), st.floats(FLOOR_W, DEFAULT_W), st.integers(0, 3),
)


@given(st.lists(steps, max_size=25))
def test_the_columns_are_at_any_moment_what_a_look_would_find(taken: list[tuple[float, str, float, int]]) -> None:
    node, now_s, sequence = known(), 0.0, 0
    for after_s, what, watts, back in taken:
        now_s += after_s
        if what == "grant":
            sequence += 1
            granted(node, sequence, watts, now_s - 0.3 * back)
        elif what == "release":
            sequence += 1
            node.released(sequence, now_s, LEASE_S)
        elif what != "nothing":
            told = report(watts, 9.0 if what == "report" else None, max(sequence - back, 0), loads=node.driver_loads + (what == "reload"))
            told.driver_hung = what == "hung"
            node.reported(now_s, told, EPOCH)
        counted = node.counted(now_s)
        limit_w, ends_s, _ = node.found(now_s)
        assert counted == (limit_w, max(ends_s - now_s, 0.0))
