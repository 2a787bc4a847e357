"""A month of a job that crashes: the paper's table comes out again, and what the real machine does of it and does not is lost time."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from gpuwarden.controller.isolation.signals import sort_of
from gpuwarden.sim.crashes import crash, watched
from gpuwarden.sim.crashes.crash import Crash
from gpuwarden.sim.crashes.inputs import Stated, measured
from gpuwarden.sim.crashes.lost import ROWS, Instants, Lost, Training
from gpuwarden.sim.crashes.paper import (
    BEFORE,
    CAUSES,
    INTERVAL_AFTER_S,
    INTERVAL_BEFORE_S,
    MONTH_S,
    ON_ONE_NODE,
)
from gpuwarden.sim.crashes.people import by_people
from gpuwarden.sim.crashes.watched import Watched

STATED = Stated()


def mean(months: list[Lost], row: str) -> float:
    return sum(one.percent(row) for one in months) / len(months)


def test_the_papers_before_comes_out_again_row_by_row() -> None:
    months = [by_people(BEFORE.crashes, INTERVAL_BEFORE_S, Random(seed)) for seed in range(100)]
    for row in ROWS:
        assert mean(months, row) == pytest.approx(getattr(BEFORE, row), rel=0.1)
    assert sum(mean(months, row) for row in ROWS) == pytest.approx(31.19, rel=0.1)


def test_the_mix_is_the_papers() -> None:
    assert sum(one.share for one in CAUSES.values()) == pytest.approx(1.0)
    assert pytest.approx(0.825, abs=0.001) == ON_ONE_NODE


def test_every_sign_is_one_that_the_machine_knows() -> None:
    for _, behaviour, sensed in crash.SIGNS.values():
        assert all(sort_of(kind) is not None for kind, _, _ in (behaviour, *sensed))


def test_no_measured_input_is_without_its_command() -> None:
    for name, table in measured().items():
        for one in table.values() if name == "detection" else (table,):
            assert one["command"].startswith("python bench/")


def one_crash(monkeypatch: pytest.MonkeyPatch, crash: Crash, stated: Stated = STATED) -> Lost:
    """A month with that crash alone, at some time."""
    monkeypatch.setattr(watched, "drawn", lambda nodes, *_: crash)
    return Watched(INTERVAL_AFTER_S, stated, Random(1)).run(1, 0)


def test_two_witnesses_move_the_job_within_the_schedulers_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = one_crash(monkeypatch, Crash("n7", 3.9, (("n7", crash.DIED), ("n7", ("gpu_nvlink_down", crash.Scope.GPU, "GPU-0")))))
    hold = measured()["hold"]
    assert lost.by_person == lost.false_drains == 0
    assert lost.s["detection"] == pytest.approx(3.9)
    assert min(hold["held_s"]) <= lost.s["diagnosis_isolation"] <= max(hold["held_s"]) + 30.0
    assert lost.s["reinit"] == pytest.approx(STATED.reinit_s)
    assert 0.0 < lost.s["post_checkpoint"] < INTERVAL_AFTER_S


def test_one_witness_costs_a_test_more(monkeypatch: pytest.MonkeyPatch) -> None:
    accused = (("n7", crash.STOOD),)
    shown = one_crash(monkeypatch, Crash("n7", 17.9, accused, shown=True))
    assert shown.by_person == 0
    assert STATED.test_s < shown.s["diagnosis_isolation"] < STATED.test_s + 200.0
    hidden = one_crash(monkeypatch, Crash("n7", 17.9, accused, shown=False))
    assert hidden.by_person == 1
    assert hidden.s["diagnosis_isolation"] > STATED.person_s


@pytest.mark.parametrize("somewhere", ["", "n7"])
def test_what_nobody_names_takes_a_person(monkeypatch: pytest.MonkeyPatch, somewhere: str) -> None:
    lost = one_crash(monkeypatch, Crash(somewhere, 600.0), replace(STATED, person_s=1800.0))
    assert lost.by_person == 1
    assert 1800.0 < lost.s["diagnosis_isolation"] < 1800.0 + 300.0


def test_a_false_drain_is_loss() -> None:
    well = Watched(INTERVAL_AFTER_S, replace(STATED, wrong_ratio=0.0), Random(5)).run(0, 5)
    assert (well.false_findings, well.false_drains, well.s["post_checkpoint"]) == (5, 0, 0.0)
    assert well.s["diagnosis_isolation"] == pytest.approx(5 * STATED.test_s)  # each takes a card from the job for a test
    drained = Watched(INTERVAL_AFTER_S, replace(STATED, wrong_ratio=1.0), Random(5)).run(0, 5)
    assert 1 <= drained.false_drains <= 5  # one that comes as the job has just started is no evidence
    assert drained.s["reinit"] == pytest.approx(drained.false_drains * STATED.reinit_s)
    assert drained.s["post_checkpoint"] > 0.0


def test_the_same_seed_is_the_same_month() -> None:
    def month() -> Lost:
        return Watched(INTERVAL_AFTER_S, STATED, Random(3)).run(3, 1)

    assert (first := month()) == month()
    assert (first.crashes, first.false_findings) == (3, 1)


def test_a_crash_finds_what_is_not_saved_undone() -> None:
    training = Training(600.0, 1000.0)
    assert [training.undone_s(now_s) for now_s in (1000.0, 1599.0, 1600.0, 2500.0)] == [0.0, 599.0, 0.0, 300.0]


def test_an_instant_while_nobody_trains_is_drawn_anew() -> None:
    instants, seen = Instants(40, Random(1)), list[float]()
    now_s = 0.0
    while (at_s := instants.next_s(now_s)) < MONTH_S:
        instants.take()
        seen.append(at_s)
        now_s = at_s + 3600.0
    assert len(seen) >= 39
    assert all(later - earlier > 3600.0 for earlier, later in pairwise(seen))
