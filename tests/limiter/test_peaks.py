"""What a limiter tells of the time since somebody last granted."""

import math

import pytest
from fakes.limited import LEASE_S, Node
from hypothesis import given
from hypothesis import strategies as st

from gpuwarden.agent.limiter.peaks import Peaks

powers = st.lists(st.one_of(st.floats(0.0, 1e4), st.just(math.nan)), min_size=1, max_size=60)


@given(powers, st.integers(0, 20), st.data())
def test_the_highest_since_is_that_of_all_readings_since(power_w: list[float], kept: int, data: st.DataObject) -> None:
    peaks, last = Peaks(float(kept)), len(power_w) - 1
    for now, one_w in enumerate(power_w):
        peaks.read(float(now), one_w)
    since = data.draw(st.integers(max(0, last - kept), last))
    assert peaks.since_w(float(since)) == max(math.inf if math.isnan(one_w) else one_w for one_w in power_w[since:])


def test_of_what_was_not_read_anything_may_be() -> None:
    peaks = Peaks(60.0)
    peaks.read(1.0, 700.0)
    assert peaks.since_w(2.0) == math.inf


def test_a_report_says_how_old_the_grant_in_force_is_and_what_was_drawn_since() -> None:
    node = Node()
    node.run(0.2)
    node.grant()
    stamp_s = node.reports()[-1].stamp_s
    node.power_w = (600.0, 500.0)
    node.run(0.3)
    node.power_w = (300.0, 300.0)
    node.run(LEASE_S - 2.0)
    report = node.reports()[-1]
    assert report.grant.age_s == pytest.approx(report.stamp_s - stamp_s) and report.grant.age_s > LEASE_S - 3.0
    assert report.grant.peak_w == 1100.0
    node.grant()
    node.run(1.1)
    assert node.reports()[-1].grant.peak_w == 600.0, "whoever granted again had seen the rest"
    node.run(LEASE_S)
    assert not node.reports()[-1].HasField("grant")
