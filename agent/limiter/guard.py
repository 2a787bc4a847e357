"""The node's own guard over what its cards draw: which draw above a limit may be settling yet, and which cannot be.

A card overshoots by up to half for less than 250 ms, and obeys a new limit within a second (an A100 fleet limited to 400 W showed 437-440 W at
p99 and 558-600 W at most). So what is above every limit that it may be obeying is either much too much, at once, or has lasted too long.
"""

import math
import operator
from collections.abc import Sequence
from typing import Final

SPIKE_RATIO: Final = 1.6  # no card overshoots so far: half, and what a reading and the driver's rounding are off by
ABOVE_RATIO: Final = 1.15
SPIKE_S: Final = 0.4  # a spike of 250 ms shows in readings of a sensor that turns every 100 ms for less than this
RAISED_S: Final = 0.25  # from the word until the last of eight cards has a raise, and may begin to overshoot it
SETTLED_S: Final = 1.5  # eight limits set, a second to obey, and two tenths until a reading shows it
ABOVE_S: Final = 2.0  # whatever it may be obeying: what is wanted has to hold by then
QUIET_S: Final = 1.0  # without a reading above the floor, before a node that was sent there may leave it

Watts = tuple[float, ...]


class Guard:
    """For one node in auto. W per card; a card that does not answer (NaN) is above nothing."""

    def __init__(self) -> None:
        self._until_s: dict[Watts, float] = {}  # limits that cards may be obeying yet, and until when
        self._unknown_until_s: float | None = None  # until when anything may be settling; None: nobody has looked yet
        self._wanted_w: Watts = ()
        self._raised_s = -math.inf
        self._above_s = self._beyond_s = math.inf  # since when, without a break
        self._holds_until_s = -math.inf

    def knows_nothing(self, now_s: float) -> None:
        """Cards come from limits that nobody has told: not in auto before, or a driver loaded anew."""
        self._unknown_until_s = now_s + SETTLED_S

    def allows(self, now_s: float, limits_w: Watts) -> None:
        """These were wanted or enforced until now."""
        if math.isnan(sum(limits_w)):
            limits_w = tuple(0.0 if math.isnan(limit_w) else limit_w for limit_w in limits_w)
        self._until_s[limits_w] = now_s + SETTLED_S
        if len(self._until_s) > 1:
            self._until_s = {old_w: until_s for old_w, until_s in self._until_s.items() if until_s > now_s}

    def trips(self, now_s: float, power_w: Watts, wanted_w: Watts, *, lowest: bool) -> bool:
        """Whether some card does not obey. `lowest`: no lower limit could be set at once, so only what lasts counts."""
        if self._unknown_until_s is None:
            self.knows_nothing(now_s)
        self.allows(now_s, wanted_w)
        if any(map(operator.gt, wanted_w, self._wanted_w)):
            self._raised_s = now_s
        self._wanted_w = wanted_w
        far = beyond = False
        if above := _above(power_w, wanted_w, ABOVE_RATIO):  # as all are that are above what they may be obeying yet, which is at least that
            held_w = tuple(map(max, zip(*self._until_s, strict=True)))
            far, beyond = _above(power_w, held_w, SPIKE_RATIO), self._settled(now_s) and _above(power_w, held_w, ABOVE_RATIO)
        if above and self.holds(now_s):
            self._holds_until_s = max(self._holds_until_s, now_s + QUIET_S)
        silent = now_s - self._raised_s < RAISED_S + SPIKE_S and not far  # a raise may be overshot: no such reading counts against a card
        self._above_s = math.inf if not above else self._above_s if silent else min(self._above_s, now_s)
        self._beyond_s = min(self._beyond_s, now_s) if beyond and not silent else math.inf
        if silent:
            return False
        quickly = beyond and (far or now_s - self._beyond_s >= SPIKE_S) and not lowest
        if not quickly and now_s - self._above_s < ABOVE_S:
            return False
        self._above_s = self._beyond_s = math.inf
        self._holds_until_s = now_s + SETTLED_S
        return True

    def holds(self, now_s: float) -> bool:
        """Whether the node is to stay at its floor: until its cards have obeyed that for a while."""
        return now_s < self._holds_until_s

    def _settled(self, now_s: float) -> bool:
        return self._unknown_until_s is not None and now_s >= self._unknown_until_s


def _above(power_w: Sequence[float], limits_w: Sequence[float], ratio: float) -> bool:
    for drawn_w, limit_w in zip(power_w, limits_w, strict=True):  # noqa: SIM110 - ten times a second: `any` over a generator takes twice as long
        if drawn_w > ratio * limit_w:
            return True
    return False
