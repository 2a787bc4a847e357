"""What befalls a serving row under the real controller, limiters and agents, by an operator's list."""

import numpy as np
import pytest

from gpuwarden.sim.safety.network import CLEAR, Weather
from gpuwarden.sim.serving import study
from gpuwarden.sim.serving.faults import FOREIGN_RATIO, KINDS, Planned, planned
from gpuwarden.sim.serving.frozen import frozen, requests_of
from gpuwarden.sim.serving.live import LAG_S, TIMING, LiveRow
from gpuwarden.sim.serving.requests import DAY_S
from gpuwarden.sim.serving.row import RowSetup, Run
from gpuwarden.sim.serving.study import HIGH

SERVERS, BUDGET, SECONDS, BEGIN_S = 6, 5, 90.0, 60.0
FLOOR_W, DEFAULT_W = 1600.0, 3200.0


def row(*faults: Planned, weather: Weather = CLEAR) -> LiveRow:
    asked = requests_of(frozen(), SERVERS, SECONDS / DAY_S, 1, None)
    return LiveRow(RowSetup(SERVERS, BUDGET, ()), "headroom", asked, HIGH, 1, faults=faults, weather=weather)


def ran(*faults: Planned, seconds: float = SECONDS) -> tuple[LiveRow, Run]:
    made = row(*faults)
    run, _ = made.run(seconds)
    return made, run


def test_a_killed_controllers_leases_end_and_a_restarted_one_gives_new_ones() -> None:
    dead = Planned("controller-killed", BEGIN_S, 60.0)
    made, _ = ran(dead, seconds=BEGIN_S + TIMING.lease_s + 3.0)
    assert dead.struck and all(node.limit_w == FLOOR_W for node in made.servers)
    back, _ = ran(Planned("controller-killed", BEGIN_S, 10.0), seconds=BEGIN_S + 60.0)
    assert min(node.limit_w for node in back.servers) > FLOOR_W and back.head.memory.epoch() == 2


def test_only_those_that_are_cut_off_go_to_their_floor() -> None:
    made, _ = ran(Planned("partition", BEGIN_S, 60.0), seconds=BEGIN_S + TIMING.lease_s + 3.0)
    cut = [bool(way.cut) for way in made.network.ways]
    assert any(cut)
    assert [node.limit_w == FLOOR_W for node in made.servers] == cut or all(cut)


def test_a_limiter_that_is_killed_leaves_the_floor_and_one_that_is_dead_its_last_limit() -> None:
    killed, _ = ran(Planned("limiter-killed", BEGIN_S, 60.0), seconds=BEGIN_S + 10.0)
    assert sum(node.limit_w == FLOOR_W for node in killed.servers) == 1
    dead, _ = ran(Planned("limiter-dead", BEGIN_S, 60.0), Planned("controller-killed", BEGIN_S + 1.0, 60.0), seconds=BEGIN_S + 15.0)
    assert sum(node.limit_w > FLOOR_W for node in dead.servers) == 1, "all others have gone to theirs"


def test_limits_that_somebody_resets_are_set_again() -> None:
    made = row(Planned("controller-killed", BEGIN_S, 20.0), Planned("limits-reset", BEGIN_S + 12.0, 2.0))
    made.time.at(BEGIN_S + 12.0 + LAG_S, lambda: seen.append(sum(node.limit_w == DEFAULT_W for node in made.servers)))
    seen: list[int] = []
    made.run(BEGIN_S + 18.0)
    assert seen == [1] and all(node.limit_w == FLOOR_W for node in made.servers)


def test_foreign_load_is_in_the_meter_and_gone_again() -> None:
    fault = Planned("foreign-load", BEGIN_S, 10.0)
    (_, with_it), (_, without) = ran(fault), ran()
    struck = round(BEGIN_S / 2.0)
    assert with_it.load[struck] - without.load[struck] == pytest.approx(FOREIGN_RATIO, abs=0.005)
    assert with_it.load[:struck - 1] == pytest.approx(without.load[:struck - 1])


def test_a_meter_that_is_gone_tells_nothing_and_one_that_is_back_tells_again() -> None:
    def told_s(seconds: float) -> float:
        made, _ = ran(Planned("meter-gone", BEGIN_S, 10.0), seconds=seconds)
        assert made.head.controller is not None
        return made.head.controller.keepers["row"].meters.by_limit["row"].told_s

    began_s = told_s(BEGIN_S)
    assert told_s(BEGIN_S + 9.0) == began_s < told_s(BEGIN_S + 20.0)


@pytest.mark.parametrize("weather", [Weather(loss=0.8), Weather(late_s=12.0)], ids=["lost", "late"])
def test_a_bad_network_costs_limits_and_nothing_trips(weather: Weather) -> None:
    fair, foul = row(), row(weather=weather)
    (_, well), (bad, badly) = fair.run(SECONDS), foul.run(SECONDS)
    assert bad.trips == 0 and badly.capped_ratio > 1.5 * well.capped_ratio


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_strikes_and_heals_and_trips_nothing(kind: str) -> None:
    fault = Planned(kind, 30.0, 8.0)
    made, run = ran(fault)
    assert fault.struck and run.trips == 0
    assert np.isfinite(run.finish_s).any() and made.head.up and not any(way.cut or way.agent for way in made.network.ways)


def test_the_same_seed_and_faults_are_the_same_run() -> None:
    (_, one), (_, other) = (ran(Planned("partition", 40.0, 10.0), Planned("messages-lost", 50.0, 20.0)) for _ in range(2))
    assert one.load.tolist() == other.load.tolist()


def test_a_fault_is_written_as_kind_minute_and_seconds() -> None:
    assert planned("foreign-load@90") == Planned("foreign-load", 5400.0, KINDS["foreign-load"].lasts_s)
    assert planned("controller-killed@1.5+20") == Planned("controller-killed", 90.0, 20.0)
    for text, why in (("earthquake@1", "is no kind"), ("partition", "MINUTE is ''"), ("partition@x", "MINUTE is 'x'"), ("partition@1+-3", "SECONDS is -3")):
        with pytest.raises(ValueError, match=why):
            planned(text)


def test_a_study_tells_of_each_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "FILLING_S", 20.0)
    faults = (Planned("partition", 30.0, 10.0),)
    made, loads = study.done(study.Study("headroom", None, 4, 0.5, SECONDS / DAY_S, 1, 1.0, 0.5, faults, Weather(loss=0.01)), lambda what, share: None)
    peak = loads["added, headroom"][15:36].max()
    assert made["faults"] == [{"kind": "partition", "minute": 0.5, "seconds": 10.0, "struck": True, "peak_fraction": pytest.approx(peak, abs=1e-4)}]
    assert made["message_loss"] == 0.01
