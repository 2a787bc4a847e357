"""What limiters tell a controller that has just started of whoever was the controller before it; `rows` are those of `NodeRecord`."""

import math
from typing import Final

import numpy as np

from gpuwarden.controller.power.columns import Numbers
from gpuwarden.controller.power.level import Watts
from gpuwarden.controller.record import NodeRecord

REPORT_S: Final = 1.0  # of a limiter, where power moves by less than a step


def granted_ago_s(started_ago_s: float, rows: Numbers, doubted: int, lapse_s: float) -> float:
    """How long ago, at most, it granted anything; inf if that is longer than a lease and its settling, `lapse_s`, or unknown.

    By limiters that answered it. As many as may be dead, `doubted`, are not believed, who may repeat what they said before. All others have said it since
    we are up, or in the second before that.
    """
    ages_s = np.sort(NodeRecord.found_age_s.of(rows))
    ago_s = started_ago_s + REPORT_S + float(ages_s[min(doubted, len(ages_s) - 1)])
    return ago_s if ago_s <= lapse_s else math.inf


def drawn_since_w(rows: Numbers, default_w: Watts) -> Watts:
    """What each node's GPUs have drawn since then, at most; one that has told nothing, the worst of its default."""
    peaks_w = NodeRecord.found_peak_w.of(rows)
    return np.where(np.isnan(peaks_w), default_w, peaks_w)
