"""What limiters tell of the controller before us, by hand."""

import math

import numpy as np
import pytest

from gpuwarden.controller.power.columns import Numbers, beginnings
from gpuwarden.controller.power.predecessor import REPORT_S, drawn_since_w, granted_ago_s
from gpuwarden.controller.record import NodeRecord

LAPSE_S = 6.0


def rows_of(ages_s: list[float]) -> Numbers:
    rows = beginnings(NodeRecord, len(ages_s))
    NodeRecord.found_age_s.write(rows, np.array(ages_s))
    return rows


def test_it_granted_as_long_ago_as_the_newest_grant_that_is_believed_and_what_has_passed_since() -> None:
    assert granted_ago_s(2.0, rows_of([1.0, 1.5, 2.5]), 0, LAPSE_S) == pytest.approx(2.0 + REPORT_S + 1.0)
    assert granted_ago_s(2.0, rows_of([1.0, 1.5, 2.5]), 1, LAPSE_S) == pytest.approx(2.0 + REPORT_S + 1.5), "one may be dead, and repeat what it said"


def test_longer_ago_than_a_lease_or_told_by_nobody_is_any_time() -> None:
    assert granted_ago_s(2.0, rows_of([3.1, 3.1]), 0, LAPSE_S) == math.inf
    assert granted_ago_s(0.0, rows_of([math.inf, math.inf]), 0, LAPSE_S) == math.inf
    assert granted_ago_s(0.0, rows_of([1.0]), 3, LAPSE_S) == pytest.approx(2.0), "more dead than there are"


def test_who_has_told_nothing_may_have_drawn_its_default() -> None:
    rows = rows_of([1.0, 1.0])
    NodeRecord.found_peak_w.write(rows, np.array([350.0, math.nan]))
    assert drawn_since_w(rows, np.array([700.0, 800.0])).tolist() == [350.0, 800.0]
