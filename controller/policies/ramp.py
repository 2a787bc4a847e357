"""Swing control: what synchronous training draws falls as it likes, and within two seconds rises by no more than two seconds' ramp.

Each node's limit is so much above the lowest that it has drawn within that time, by the same share of its default for all. So the sum keeps to the
ramp whoever of them dips when, ranks that dip together are held alike, and a job that runs on is not held back by another that waits. Most of a dip's
way back is free at once: a limit that climbed evenly would cost a job twice as much for the same rise. Dips that are less than the ramp are not
slowed. Below the floor there is no ramp.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.policies.shed import UNCAPPED
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Watts

WITHIN_S: Final = 2.0
STILL: Final = 0.1  # of what a ramp allows: a limit that would fall by less stays, so that noise moves none


@dataclass(frozen=True, eq=False)
class Ramp:
    """`drawn`: (when, shares of the default, one a member), newest last; `level`: the limits alike, inf where nothing slows training down."""

    drawn: tuple[tuple[float, Watts], ...]
    level: Watts

    def follow(self, now_s: float, view: RowView) -> "Ramp":
        """At this decision. A node that says nothing keeps its limit."""
        if not np.isfinite(view.ramp_w_per_s) or not view.training.any():
            return self
        drawn = (*(one for one in self.drawn if one[0] > now_s - WITHIN_S), (now_s, view.power_w / view.level.members.default_w))
        step = view.level.spread(view.ramp_w_per_s * WITHIN_S / np.maximum(_whole_w(view), 1.0))
        wanted = np.fmin.reduce([draws for _, draws in drawn]) + step
        moves = view.training & ((wanted < self.level - STILL * step) | (wanted > self.level))
        return Ramp(drawn, np.where(moves, wanted, self.level))

    def caps_w(self, view: RowView) -> Watts:
        """W of GPU limits, `UNCAPPED` for nodes that do not train."""
        nodes = view.level.members
        level_w = np.maximum(self.level * nodes.default_w, nodes.floor_w)
        return np.where(view.training & (level_w < nodes.default_w), level_w, UNCAPPED)


def begin(members: int) -> Ramp:
    return Ramp((), np.full(members, np.inf))


def _whole_w(view: RowView) -> Watts:
    """What all training nodes under each limit draw at their default."""
    return view.level.sums(np.where(view.training, view.level.members.gain * view.level.members.default_w, 0.0))
