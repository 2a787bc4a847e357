"""On the plant: our own cap is no finding, a stranger's is; a fault is named; two that differ are told apart where that can be."""

import copy
from collections.abc import Callable

import numpy as np
import pytest

from gpuwarden.detector.health.fused import Health, Reason, judged, no_health_known, why
from gpuwarden.detector.health.readings import Reader
from gpuwarden.sim.health.ward import Bout, Room, Ward

LEARNED = 1450  # a day, and what ended with it has been learned
HOUR = 60
BUDGET = 0.1
CAPPED_TO = (1 - 0.65) / 0.6  # strength of a stranger's cap at the limit that our own has in sim/health
ROOM = Room((2, 4, 8), seed=11, spares=1)  # as many nodes as give rates for all members in a day
Found = dict[int, list[Reason]]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def learned() -> tuple[Ward, Health]:
    ward, health = Ward(ROOM), no_health_known(ROOM.nodes)
    for _ in range(LEARNED):
        minute = ward.minute([])
        judged(health, Reader(minute.columns).read(minute.values), minute.job)
    return ward, health


@pytest.fixture
def found(learned: tuple[Ward, Health]) -> Callable[[list[Bout]], Found]:
    """Who is found within an hour, and why, with the same past each time."""

    def run(bouts: list[Bout]) -> Found:
        ward, health = copy.deepcopy(learned)
        seen = Found()
        for _ in range(HOUR):
            minute = ward.minute(bouts)
            now = judged(health, Reader(minute.columns).read(minute.values), minute.job)
            for node in np.flatnonzero(now.rate < BUDGET).tolist():
                seen.setdefault(node, why(now, minute.job, node, 3))
        return seen

    return run


def hour(what: str, at: int, strength: float = 1.0) -> Bout:
    return Bout(what, at, LEARNED, LEARNED + HOUR, strength)


def test_an_hour_under_our_own_cap_is_no_finding_and_under_a_strangers_it_is_one(learned: tuple[Ward, Health], found: Callable[[list[Bout]], Found]) -> None:
    assert found([]) == {}
    assert found([hour("our_cap", place) for place in range(len(ROOM.places))]) == {}
    node = int(learned[0].nodes_at(1)[0])
    by = found([hour("foreign_cap", node, CAPPED_TO)])
    assert list(by) == [node]
    assert by[node][0].metric.startswith("gpu_power_limit_enforced_watts")
    assert by[node][0].seen == pytest.approx(455, rel=0.01) and by[node][0].expected == pytest.approx(700, rel=0.01)
    assert all(one == pytest.approx(700, rel=0.01) for one in by[node][0].peers)


@pytest.mark.parametrize("place", [0, 1])
def test_a_card_that_is_slow_is_named_and_the_others_of_its_job_are_not(
    place: int, learned: tuple[Ward, Health], found: Callable[[list[Bout]], Found]
) -> None:
    """Also where there are only two, which differ from each other alike."""
    node = int(learned[0].nodes_at(place)[1])
    by = found([hour("slow_card", node, 0.3)])
    assert list(by) == [node]
    assert by[node][0].metric == "gpu_sm_clock_hertz[3]"


def test_a_change_of_what_all_nodes_of_a_job_do_is_no_finding(found: Callable[[list[Bout]], Found]) -> None:
    assert found([hour("smaller_batch", place) for place in range(len(ROOM.places))]) == {}


def test_a_minute_without_a_node_is_no_finding_of_it(learned: tuple[Ward, Health]) -> None:
    ward, health = copy.deepcopy(learned)
    minute = ward.minute([])
    minute.values[2] = np.nan
    now = judged(health, Reader(minute.columns).read(minute.values), minute.job)
    assert np.isnan(now.rate[2]) and np.isfinite(np.delete(now.rate, 2)).any()
