"""Who is told of what: as one, none where it is known why, again and louder where nobody answers."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.controller.actuators.post import word_id
from gpuwarden.controller.events import Notify
from gpuwarden.controller.telling import SHOWN_SUBJECTS, Alert, Telling, TellTiming

TIMING = TellTiming(group_wait_s=5.0, escalate_after_s=60.0, repeat_s=600.0)


def alert(number: int = 0, kind: str = "xid_79", severity: str = "critical") -> Alert:
    return Alert(f"f{number}", kind, "row-a", f"n{number}", severity, f"{kind} on n{number}", "It fell off the bus.", f"n{number}", 1000 + number)


def nobody(alert: Alert) -> bool:
    return False


def told(telling: Telling, start_s: float, end_s: float, muted: Callable[[Alert], bool] = nobody) -> list[tuple[float, Notify]]:
    return [(s / 2, notice) for s in range(round(2 * start_s), round(2 * end_s)) for notice in telling.tick(s / 2, s, muted, lambda alert: False)]


def test_what_begins_together_is_told_as_one_with_the_subjects_named() -> None:
    telling = Telling(TIMING)
    for number in range(3):
        telling.fires(alert(number))
    ((when_s, notice),) = told(telling, 0.0, 50.0)
    assert when_s == 5.0
    assert (notice.title, notice.subject, notice.severity) == ("xid_79 on 3 of row-a", "row-a", "critical")
    assert notice.text.startswith("n0, n1, n2. It fell") and notice.unix_ns == 1000


def test_many_subjects_are_counted_rather_than_named() -> None:
    telling = Telling(TIMING)
    for number in range(SHOWN_SUBJECTS + 32):
        telling.fires(alert(number))
    ((_, notice),) = told(telling, 0.0, 10.0)
    assert " and 32 more. " in notice.text


def test_one_alone_is_told_in_its_own_words_and_so_is_its_end() -> None:
    telling = Telling(TIMING)
    telling.fires(alert(7))
    ((_, fired),) = told(telling, 0.0, 10.0)
    telling.resolved("row-a/xid_79", "f7")
    ((_, over),) = told(telling, 10.0, 20.0)
    assert (fired.title, fired.subject, fired.firing) == ("xid_79 on n7", "n7", True)
    assert (over.key, over.firing, over.title) == (fired.key, False, fired.title)
    assert telling.groups == {}


def test_what_may_soon_be_known_waits_if_untold_and_goes_on_as_it_was_if_told() -> None:
    """A rack that is silent for a moment: nobody is told twice, and an acknowledgement stands."""
    telling = Telling(TIMING)
    telling.fires(alert(1))
    assert len(told(telling, 0.0, 10.0)) == 1
    telling.acknowledge("row-a/xid_79", "ada")
    telling.fires(alert(2))
    assert [notice for s in range(10, 60) for notice in telling.tick(s, s, nobody, lambda one: True)] == []
    assert telling.groups["row-a/xid_79"].acknowledged_by == "ada"
    telling.resolved("row-a/xid_79", "f2")
    assert told(telling, 60.0, 120.0) == []


def test_what_is_over_before_it_could_be_told_is_never_told() -> None:
    telling = Telling(TIMING)
    telling.fires(alert())
    assert told(telling, 0.0, 4.0) == []
    telling.resolved("row-a/xid_79", "f0")
    assert told(telling, 4.0, 40.0) == []


def test_what_joins_later_is_told_of_too_and_takes_an_acknowledgement_back() -> None:
    telling = Telling(TIMING)
    telling.fires(alert(0))
    told(telling, 0.0, 10.0)
    assert telling.acknowledge("row-a/xid_79", "alice")
    telling.fires(alert(1))
    ((_, grown),) = told(telling, 10.0, 20.0)
    assert grown.title == "xid_79 on 2 of row-a"
    assert telling.groups["row-a/xid_79"].acknowledged_by == ""


def test_one_that_was_resolved_and_fires_again_within_its_group_is_told_again() -> None:
    telling = Telling(TIMING)
    telling.fires(alert(0))
    telling.fires(alert(1))
    told(telling, 0.0, 10.0)
    telling.resolved("row-a/xid_79", "f1")
    assert told(telling, 10.0, 20.0) == []
    telling.fires(alert(1))
    assert len(told(telling, 20.0, 30.0)) == 1


def test_a_critical_alert_that_nobody_acknowledges_is_escalated_once() -> None:
    telling = Telling(TIMING)
    telling.fires(alert())
    assert [(when_s, notice.level) for when_s, notice in told(telling, 0.0, 200.0)] == [(5.0, 1), (65.0, 2)]


def test_acknowledged_or_not_critical_it_is_not_escalated() -> None:
    telling = Telling(TIMING)
    telling.fires(alert(0))
    telling.fires(alert(1, kind="nic_down", severity="warning"))
    told(telling, 0.0, 10.0)
    assert telling.acknowledge("row-a/xid_79", "alice") and not telling.acknowledge("row-a/nothing", "alice")
    assert told(telling, 10.0, 300.0) == []


def test_the_end_of_an_escalated_alert_goes_to_whoever_was_told() -> None:
    telling = Telling(TIMING)
    telling.fires(alert())
    told(telling, 0.0, 100.0)
    telling.resolved("row-a/xid_79", "f0")
    ((_, over),) = told(telling, 100.0, 110.0)
    assert (over.firing, over.level) == (False, 2)


def test_what_still_fires_is_told_again_and_again() -> None:
    telling = Telling(TIMING)
    telling.fires(alert(severity="warning"))
    assert [when_s for when_s, _ in told(telling, 0.0, 2000.0)] == [5.0, 605.0, 1205.0, 1805.0]


def test_muted_alerts_are_told_when_nothing_mutes_them_any_more_if_they_still_fire() -> None:
    telling = Telling(TIMING)
    telling.fires(alert(0))
    telling.fires(alert(1))
    assert told(telling, 0.0, 100.0, lambda one: True) == []
    telling.resolved("row-a/xid_79", "f1")
    ((_, notice),) = told(telling, 100.0, 120.0)
    assert notice.title == "xid_79 on n0"


def test_a_window_that_opens_over_what_was_told_says_neither_that_it_is_over_nor_that_it_goes_on() -> None:
    telling = Telling(TIMING)
    telling.fires(alert())
    told(telling, 0.0, 10.0)
    assert told(telling, 10.0, 1000.0, lambda one: True) == []
    telling.resolved("row-a/xid_79", "f0")
    assert [notice.firing for _, notice in told(telling, 1000.0, 1010.0, lambda one: True)] == [False]


def test_what_was_told_is_over_though_something_that_is_muted_keeps_its_group_alive() -> None:
    telling = Telling(TIMING)
    telling.fires(alert(0))
    told(telling, 0.0, 10.0)
    telling.fires(alert(1))
    telling.resolved("row-a/xid_79", "f0")
    assert [notice.firing for _, notice in told(telling, 10.0, 20.0, lambda one: one.node == "n1")] == [False]
    telling.resolved("row-a/xid_79", "f1")
    assert told(telling, 20.0, 30.0, lambda one: one.node == "n1") == [] and telling.groups == {}


def test_what_was_told_before_a_window_is_told_at_its_end_and_escalated_from_then_on() -> None:
    telling = Telling(TIMING)
    telling.fires(alert())
    told(telling, 0.0, 10.0)
    assert told(telling, 10.0, 500.0, lambda one: True) == []
    assert [(when_s, notice.level) for when_s, notice in told(telling, 500.0, 600.0)] == [(505.0, 1), (565.0, 2)]


def test_neither_what_joins_nor_what_is_told_again_puts_escalation_off() -> None:
    telling = Telling(TellTiming(group_wait_s=5.0, escalate_after_s=60.0, repeat_s=15.0))
    telling.fires(alert())
    said = told(telling, 0.0, 20.0)
    for number in range(1, 9):
        telling.fires(alert(number))
        said += told(telling, 10.0 + 10.0 * number, 20.0 + 10.0 * number)
    assert next(when_s for when_s, notice in said if notice.level == 2) == 65.0
    assert said[-1][1].level == 2, "until it is acknowledged or over"
    telling.acknowledge("row-a/xid_79", "alice")
    telling.fires(alert(99))
    assert [notice.level for _, notice in told(telling, 100.0, 106.0)] == [1]


CHANGES = st.lists(st.tuples(st.sampled_from(["fires", "resolved", "mute", "unmute", "ack", "wait"]), st.integers(0, 4)), max_size=40)


@given(CHANGES)
def test_every_alert_is_told_unless_it_is_muted_or_ends_first_and_every_end_is_told(changes: list[tuple[str, int]]) -> None:
    telling, muted, firing, now_s = Telling(TIMING), set[str](), dict[str, Alert](), 0.0
    said: list[Notify] = []

    def fire_of(group: str) -> bool:
        return any(one.group == group for one in firing.values())

    def run(seconds: float) -> None:
        nonlocal now_s
        said.extend(notice for _, notice in told(telling, now_s, now_s + seconds, lambda one: one.node in muted))
        now_s += seconds
        last = {notice.key: notice for notice in said}
        assert [key for key, notice in last.items() if seconds and notice.firing and not fire_of(key)] == [], "the end is told at once"

    for what, number in changes:
        one = alert(number, kind=f"kind{number % 2}")
        match what:
            case "fires":
                telling.fires(one)
                firing[one.key] = one
            case "resolved":
                telling.resolved(one.group, one.key)
                firing.pop(one.key, None)
            case "mute":
                muted.add(one.node)
            case "unmute":
                muted.discard(one.node)
            case "ack":
                telling.acknowledge(one.group, "alice")
            case _:
                run(float(number))
    muted.clear()
    run(20.0)
    last = {notice.key: notice for notice in said}
    for group in {one.group for one in firing.values()}:
        named = [one.subject for one in firing.values() if one.group == group]
        assert last[group].firing
        assert all(one in telling.groups[group].told for one in (a.key for a in firing.values() if a.group == group)), named
    telling_over = {key for key, notice in last.items() if notice.firing} - {one.group for one in firing.values()}
    assert telling_over == set(), "what fires no longer was said to be over"


def test_each_word_that_is_said_of_an_alert_has_an_id_of_its_own() -> None:
    telling = Telling(TIMING)
    telling.fires(alert(0))
    first = told(telling, 0.0, 10.0)
    telling.fires(alert(1))
    said = [*first, *told(telling, 10.0, 1000.0)]
    assert len(said) == 4, "told, grown, escalated, repeated"
    assert len({word_id(notice) for _, notice in said}) == len(said)
