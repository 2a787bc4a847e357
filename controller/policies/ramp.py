"""Swing control: what synchronous training draws falls all at once and may rise only by so much a second, all its nodes alike.

The limits of training nodes fall to what the highest of them has drawn lately and a second's ramp, and rise to what it had drawn a second ago and
a second's ramp; so above the floor nothing rises by more within a second. The dips of an iteration are shorter than what is looked at, and move nothing. The
nodes' common level is a share of the driver's default.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.policies.shed import UNCAPPED
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Watts

HELD_S: Final = 2.0
STEP_S: Final = 1.0  # between two steps up
FALL: Final = 0.05  # a level that would fall by less stays


@dataclass(frozen=True, eq=False)
class Ramp:
    """`drawn`: (when, highest draw as a share of the default, one a limit), newest last; `level`: inf where nothing slows training down."""

    drawn: tuple[tuple[float, Watts], ...]
    level: Watts
    stepped_s: Watts

    def follow(self, now_s: float, view: RowView) -> "Ramp":
        """At this decision."""
        if not np.isfinite(view.ramp_w_per_s) or not view.training.any():
            return self
        draws = (*(one for one in self.drawn if one[0] > now_s - HELD_S - STEP_S), (now_s, _highest(view)))
        held = np.maximum.reduce([draw for _, draw in draws])
        before = np.maximum.reduce([draws[0][1], *(draw for when_s, draw in draws if when_s <= now_s - STEP_S)])
        step = view.ramp_w_per_s * STEP_S / np.maximum(_whole_w(view), 1.0)
        level = np.minimum(self.level, 1.0)
        rises = (before + step / 2 > level) & (now_s - self.stepped_s >= STEP_S)
        falls = held + step < level - FALL
        followed = np.where(rises, np.minimum(before, level) + step, np.where(falls, held + step, level))
        return Ramp(draws, followed, np.where(followed != level, now_s, self.stepped_s))

    def caps_w(self, view: RowView) -> Watts:
        """W of GPU limits, `UNCAPPED` for nodes that do not train."""
        nodes = view.level.members
        level_w = np.maximum(view.level.spread(self.level) * nodes.default_w, nodes.floor_w)
        return np.where(view.training & (level_w < nodes.default_w), level_w, UNCAPPED)


def begin(limits: int) -> Ramp:
    return Ramp((), np.full(limits, np.inf), np.full(limits, -np.inf))


def _highest(view: RowView) -> Watts:
    """A node that says nothing draws nothing here: it is no reason to let the others rise."""
    ratios = np.where(view.training, np.nan_to_num(view.power_w) / view.level.members.default_w, 0.0)
    return np.maximum.reduceat(ratios, view.level.starts)


def _whole_w(view: RowView) -> Watts:
    """What all training nodes under each limit draw at their default."""
    return view.level.sums(np.where(view.training, view.level.members.gain * view.level.members.default_w, 0.0))
