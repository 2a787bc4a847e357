"""From reports to grants: who is granted what, when, and what stands in the ledger before it."""

import math

import pytest
from fakes.limiters import GPUS, KEY, Limiter, Row

from gpuwarden.controller.events import (
    Publish,
    RememberEpoch,
    ReportArrived,
    SendGrant,
    SessionClosed,
    SessionOpened,
    WriteLedger,
)
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.level import SETTLING_S
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.turns import URGENT_DECISIONS
from gpuwarden.core.machine import Say
from gpuwarden.core.seal import Way, seal, unseal
from gpuwarden.proto.control_pb2 import NodeState
from gpuwarden.proto.lease_pb2 import Grant, Mode

NODES = tuple(f"n{i}" for i in range(8))
LEASE_S = 5.0


def row(mode: str = "auto", budget_w: float = 60e3, past_epoch: int = 0, nodes: int = 8, name: str = "c1") -> Row:
    config = DomainConfig("row-a", budget_w, (NodeClass("h100", NODES[:nodes]),), mode=mode)
    setup = ControllerSetup(name, past_epoch, (config,), (), Timing(LEASE_S, 3.0, 2.5))
    made = Row(Controller(setup, dict.fromkeys(NODES, KEY)), [Limiter(node) for node in NODES[:nodes]])
    made.connect()
    return made


def grants(actions: list[object]) -> list[Grant]:
    return [
        Grant.FromString(unseal(KEY, Way.DOWN, NODES[a.session], a.sealed)) for a in actions if isinstance(a, SendGrant)
    ]


def test_while_it_learns_it_grants_nothing() -> None:
    made = row()
    made.run(2.4)
    assert grants(made.done) == []


def test_the_first_grants_are_the_floor_in_auto() -> None:
    made = row()
    made.run(2.7)
    first = grants(made.done)
    assert len(first) >= 8
    assert {(g.mode, *g.limits_w) for g in first} == {(Mode.MODE_AUTO, *[200.0] * GPUS)}


def test_once_all_are_confirmed_everyone_gets_what_the_breaker_carries() -> None:
    made = row(budget_w=50e3)
    made.run(12.0)
    keeper = made.controller.keepers["row-a"]
    assert min(limiter.limit_w for limiter in made.limiters) > 2400
    assert keeper.decision is not None and keeper.decision.holds and not keeper.decision.unaccounted.any()


def test_a_grant_answers_a_report_and_is_renewed_without_a_ledger_line() -> None:
    made = row()
    made.run(12.0)
    lines, done = len(made.lines), len(made.done)
    made.run(2.0)
    renewed = grants(made.done[done:])
    assert len(made.lines) == lines
    assert len(renewed) == 16
    assert all(made.now_s - 2.2 <= g.echo_stamp_s <= made.now_s for g in renewed)
    assert [g.sequence for g in renewed if g.node == "n0"] == sorted({g.sequence for g in renewed if g.node == "n0"})


def test_each_change_of_a_limit_has_its_line_before_the_grant() -> None:
    made = row(budget_w=45e3)
    made.run(6.0)
    made.limiters[3].demand_w = 5600.0
    made.run(10.0)
    last: dict[str, float] = dict.fromkeys(NODES, 1600.0)
    written: set[tuple[str, float]] = set()
    lines = iter(made.lines)
    for action in made.done:
        if isinstance(action, WriteLedger):
            for line in (next(lines) for _ in action.payloads):
                written.add((line.subject, next((e.value for e in line.evidence if e.name == "limit"), 0.0)))
        elif isinstance(action, SendGrant):
            (grant,) = grants([action])
            limit_w = sum(grant.limits_w)
            assert limit_w == last[grant.node] or (grant.node, limit_w) in written
            last[grant.node] = limit_w


def test_a_silent_node_is_granted_nothing_and_is_stale() -> None:
    made = row()
    made.run(12.0)
    made.silent.add("n5")
    made.run(8.0)
    done = len(made.done)
    made.run(5.0)
    assert {g.node for g in grants(made.done[done:])} == set(NODES) - {"n5"}
    snapshot = [a for a in made.done if isinstance(a, Publish)][-1].snapshot
    assert snapshot.nodes[5].state == NodeState.NODE_STATE_STALE
    assert snapshot.nodes[5].counted_w == 1600.0


def test_in_observe_it_writes_what_it_would_have_done_and_no_limiter_is_in_auto() -> None:
    made = row("observe", budget_w=40e3)
    made.run(15.0)
    caps = [line for line in made.lines if line.kind in ("cap", "floor")]
    assert caps and not any(line.performed for line in caps)
    assert {limiter.mode for limiter in made.limiters} == {Mode.MODE_OBSERVE}


def test_a_power_step_does_not_wait_for_the_tick() -> None:
    made = row(budget_w=45e3)
    made.limiters[2].demand_w = 1000.0
    made.run(14.0)
    made.limiters[2].demand_w = 5600.0
    made.now_s += 0.05
    assert [a for a in made.report(2) if isinstance(a, SendGrant)]


def test_a_limiter_that_has_obeyed_a_higher_epoch_makes_ours_higher() -> None:
    made = row(past_epoch=3)
    made.limiters[0].grant, made.limiters[0].epoch = Grant(epoch=41, controller_id="c0", limits_w=[200.0] * GPUS), 41
    actions = made.report(0)
    assert isinstance(actions[0], RememberEpoch) and actions[0].epoch == 42
    assert made.controller.epoch == 42


def test_a_controller_that_comes_back_within_a_lease_changes_no_cap() -> None:
    before = row(budget_w=50e3)
    before.run(20.0)
    limits = [limiter.limit_w for limiter in before.limiters]
    after = row(budget_w=50e3, past_epoch=before.controller.epoch, name="c2")
    after.limiters, after.now_s = before.limiters, before.now_s
    after.run(4.0)
    assert [limiter.limit_w for limiter in after.limiters] == limits
    assert not [line for line in after.lines if line.kind in ("cap", "floor")]
    assert {limiter.grant.epoch for limiter in after.limiters if limiter.grant} == {after.controller.epoch}


def test_a_forged_report_is_refused_and_does_not_flood_the_log() -> None:
    made = row()
    made.run(1.0)
    said: list[Say] = []
    for _ in range(1000):
        said += [a for a in made.controller.step(1.0, ReportArrived(0, b"junk")) if isinstance(a, Say)]
    assert len(said) == 10
    assert "n0: report refused, 1 by now: " in said[0].sentence


def test_what_is_sealed_but_is_no_report_is_refused() -> None:
    made = row()
    (said,) = made.controller.step(1.0, ReportArrived(0, seal(KEY, Way.UP, "n0", b"\xff\xff\xff")))
    assert isinstance(said, Say) and "payload: is no power report" in said.sentence


@pytest.mark.parametrize("age", [0, 1])
def test_a_report_that_came_already_is_refused(age: int) -> None:
    made = row()
    old = made.limiters[0].report(0.0)
    made.report(0)
    for _ in range(age):
        made.report(0)
    (said,) = made.controller.step(made.now_s, ReportArrived(0, old))
    assert isinstance(said, Say) and "sequence: 1 came already" in said.sentence


def test_a_new_session_of_a_node_takes_the_place_of_the_old_one() -> None:
    made = row()
    made.controller.step(0.0, SessionOpened(99, "n0", "test"))
    assert made.controller.step(0.0, ReportArrived(0, made.limiters[0].report(0.0))) == []
    assert made.controller.step(0.0, SessionClosed(0, "late")) == []
    made.controller.step(0.0, ReportArrived(99, made.limiters[0].report(0.0)))
    assert made.controller.keepers["row-a"].nodes[0].report is not None


def test_a_row_that_loses_its_controller_never_exceeds_its_budget() -> None:
    made = row(budget_w=45e3)
    for limiter in made.limiters:
        limiter.demand_w = 5600.0
    for _ in range(40):
        made.run(1.0)
        draw_w = sum(2300 + 1.1 * min(limiter.demand_w, limiter.enforced_w) for limiter in made.limiters)
        assert made.now_s < 4.0 or draw_w <= 45e3


def restart(made: Row, count: int) -> None:
    """The first nodes' limiters end, leave the floor behind and come up anew, as in an upgrade."""
    for limiter in made.limiters[:count]:
        limiter.start, limiter.limit_w, limiter.since_s, limiter.grant = f"start at {made.now_s}", 1600.0, made.now_s, None


@pytest.mark.parametrize(("restarted", "others_fall"), [(1, False), (2, True)])
def test_others_keep_more_than_the_floor_while_dead_nodes_limiters_are_restarted_and_no_more(restarted: int, others_fall: bool) -> None:
    made = row(budget_w=45e3)
    for limiter in made.limiters:
        limiter.demand_w = 5600.0
    made.run(12.0)
    restart(made, restarted)
    lowest_w = []
    for _ in range(25):
        made.run(0.1)
        lowest_w.append(min(limiter.limit_w for limiter in made.limiters[restarted:]))
    assert (min(lowest_w) <= 1600.0) is others_fall
    made.run(8.0)
    assert min(limiter.limit_w for limiter in made.limiters) > 1600.0


def test_a_report_of_an_earlier_start_does_not_take_the_place_of_one_just_heard() -> None:
    """An agent may keep a report back, and bring it after the controller has forgotten which starts have ended."""
    made = row(past_epoch=4)
    made.run(12.0)
    granted_w = made.limiters[0].limit_w
    captured = Limiter("n0", mode=Mode.MODE_AUTO, start="start-0", epoch=4).report(made.now_s)
    said = made.perform(made.controller.step(made.now_s, ReportArrived(0, captured)))
    assert any(isinstance(one, Say) and "epoch" in one.sentence for one in said)
    made.run(3.0)
    assert made.limiters[0].limit_w >= granted_w > 1600.0


def test_a_step_of_one_node_lowers_the_others_with_the_report_that_shows_its_beginning() -> None:
    made = row(budget_w=45e3)
    for limiter in made.limiters:
        limiter.demand_w = 960.0 if limiter.node in ("n0", "n7") else 5600.0  # n7 may be the one that counts as dead
    made.run(40.0)
    before_w = made.limiters[1].limit_w
    made.limiters[0].demand_w = 1330.0  # of a step to 4,800 W, as a sensor sees it first
    made.report(0)
    assert made.limiters[1].limit_w <= before_w - GPUS * 5.0


def test_urgent_reports_are_decided_at_once_also_just_after_a_tick_and_many_of_them_are_not() -> None:
    made = row(budget_w=45e3)
    for limiter in made.limiters:
        limiter.demand_w = 1000.0
    made.run(20.0)
    answered = []
    for session, limiter in enumerate(made.limiters):
        limiter.demand_w += 400.0
        answered.append(any(isinstance(action, SendGrant) for action in made.report(session)))
    assert answered == [True] * URGENT_DECISIONS + [False] * (8 - URGENT_DECISIONS)


@pytest.mark.parametrize("after_s", [0.0, 60.0], ids=["before it has granted anything", "while it grants"])
def test_a_limiter_that_obeyed_the_same_epoch_from_another_makes_ours_higher_and_every_heat_unknown(after_s: float) -> None:
    made = row(past_epoch=3)
    made.run(after_s)
    loads = made.controller.keepers["row-a"].loads
    made.limiters[0].grant, made.limiters[0].epoch = Grant(epoch=4, controller_id="c0", limits_w=[200.0] * GPUS), 4
    assert any(isinstance(action, RememberEpoch) and action.epoch == 5 for action in made.report(0))
    assert loads.heat_ratio > 0.99


def test_an_older_ledger_of_the_same_controller_gives_way_to_the_epoch_that_was_obeyed_since() -> None:
    before = row(past_epoch=3)
    before.run(20.0)
    after = row(past_epoch=3)
    after.limiters[:] = before.limiters
    after.now_s = before.now_s
    after.run(10.0)
    assert after.controller.epoch == 5
    assert {limiter.grant.epoch for limiter in after.limiters if limiter.grant} == {5}


def test_a_controller_that_was_overtaken_takes_every_heat_for_unknown() -> None:
    made = row(past_epoch=5)
    made.run(60.0)
    loads = made.controller.keepers["row-a"].loads
    assert loads.heat_ratio < 0.5
    made.limiters[0].epoch = 40
    made.report(0)
    assert loads.heat_ratio > 0.99


def test_a_node_whose_lease_has_lapsed_is_raised_anew_with_a_line_and_may_overshoot() -> None:
    made = row(budget_w=50e3)
    made.run(20.0)
    node = made.controller.keepers["row-a"].nodes[0]
    assert node.granted_w > 1600.0
    made.silent.add(NODES[0])
    made.run(20.0)
    made.limiters[0].limit_w = 1600.0  # its lease has ended
    assert node.standing_w(made.now_s) == 1600.0
    made.silent.clear()
    lines = len(made.lines)
    made.run(3.0)
    raised = [line for line in made.lines[lines:] if line.subject == NODES[0] and "raised" in line.reason]
    assert raised and node.overshoots_until_s >= 40.0 + SETTLING_S


def test_a_raise_that_has_not_arrived_may_still_overshoot_however_late_it_comes() -> None:
    made = row(budget_w=50e3)
    made.run(20.0)
    node, limiter = made.controller.keepers["row-a"].nodes[0], made.limiters[0]
    limiter.limit_w -= 200.0
    made.now_s += 5.0
    made.report(0)
    made.silent.add(NODES[0])
    made.run(3.0)
    assert node.overshoots_until_s == math.inf
    limiter.limit_w = node.granted_w
    made.report(0)
    assert node.overshoots_until_s == made.now_s + SETTLING_S


def test_a_raise_that_a_cut_has_overtaken_may_still_overshoot_until_the_cut_is_in_force() -> None:
    """Both are on the way: a report of neither may not end it, since the raise may be obeyed first."""
    made = row(budget_w=50e3)
    made.run(20.0)
    node, limiter = made.controller.keepers["row-a"].nodes[0], made.limiters[0]
    assert limiter.grant is not None
    before = Grant()
    before.CopyFrom(limiter.grant)
    node.overshoots_until_s, node.raised = math.inf, node.sequence + 1  # a raise, lost on its way so far
    node.sequence += 2  # and a cut to what it has
    made.now_s += 1.0
    made.report(0)
    assert node.overshoots_until_s == math.inf
    before.sequence = node.sequence
    limiter.grant = before
    made.report(0)
    assert node.overshoots_until_s == made.now_s + SETTLING_S


def test_a_raise_of_cards_that_press_against_their_limits_is_counted_once_as_heat() -> None:
    made = row(budget_w=50e3)
    for limiter in made.limiters:
        limiter.demand_w = 5600.0 if limiter in made.limiters[:4] else 800.0
    made.run(20.0)
    keeper = made.controller.keepers["row-a"]
    assert [node.pressing for node in keeper.nodes] == [1.0] * 4 + [0.0] * 4
    raised = keeper.nodes[0]
    raised.unpaid_s = SETTLING_S
    paid = []
    for _ in range(8):
        made.run(0.2)
        paid.append(raised.unpaid_s)
    assert paid[0] < SETTLING_S and paid[-1] == 0.0


class _Lowered(Limiter):
    enforced_w = 4000.0  # type: ignore[assignment]  # a plain number in place of a property


def test_in_observe_a_limit_that_somebody_set_lower_is_no_raise_under_way() -> None:
    made = row("observe", budget_w=75e3)
    made.limiters[:] = [_Lowered(limiter.node) for limiter in made.limiters]
    made.run(15.0)
    assert [line.kind for line in made.lines] == ["epoch"]
    assert made.controller.keepers["row-a"].nodes[0].overshoots_until_s < 0.0
