"""The chart's memory: bounded, thinned without losing a peak, and indifferent to bad numbers."""

import math

from gpuwarden.controller.web.history import COARSE_SAMPLES, DOMAINS, FINE_SAMPLES, History
from gpuwarden.proto.control_pb2 import GetClusterResponse, PowerDomain, WatchResponse


def at(second: float, power_w: float = 100.0, counted_w: float = 110.0, names: tuple[str, ...] = ("row",)) -> WatchResponse:
    domains = [PowerDomain(name=name, power_w=power_w, budget_w=120.0, counted_w=counted_w) for name in names]
    return WatchResponse(cluster=GetClusterResponse(unix_ns=int(second * 1e9), domains=domains))


def test_three_days_cost_no_more_than_one_and_their_last_peak_is_there() -> None:
    history = History()
    for second in range(0, 3 * 86_400, 2):
        history.add(at(second, power_w=999.0 if second == 2 * 86_400 + 55_000 else 100.0))
    columns = history.columns("row")
    assert len(columns["unix_s"]) == COARSE_SAMPLES + FINE_SAMPLES
    assert max(power_w for power_w in columns["power_w"] if power_w is not None) == 999.0
    assert columns["unix_s"] == sorted(columns["unix_s"])


def test_the_controllers_own_pace_is_kept_whole() -> None:
    history = History()
    for number in range(100):
        history.add(at(1000 + number * 0.95))
    assert len(history.columns("row")["unix_s"]) == 100


def test_faster_or_backward_snapshots_add_nothing() -> None:
    history = History()
    for second in (10.0, 10.2, 10.4, 9.0, 10.0):
        history.add(at(second))
    assert history.columns("row")["unix_s"] == [10.0]


def test_no_number_is_none() -> None:
    history = History()
    history.add(at(1.0, counted_w=math.nan))
    assert history.columns("row")["counted_w"] == [None]


def test_a_minute_without_numbers_yields_to_a_number_when_thinned() -> None:
    history = History()
    history.add(at(60.0, power_w=math.nan))
    for second in range(61, 61 + FINE_SAMPLES + 30):
        history.add(at(second))
    assert history.columns("row")["power_w"][0] == 100.0


def test_domains_that_are_gone_are_forgotten_and_too_many_are_not_kept() -> None:
    history = History()
    history.add(at(1.0, names=("old",)))
    history.add(at(2.0, names=tuple(f"row-{n}" for n in range(DOMAINS + 5))))
    assert history.columns("old")["unix_s"] == [] and history.columns("row-0")["unix_s"] == [2.0]
    assert history.columns(f"row-{DOMAINS}")["unix_s"] == []
