"""How much a limit's load rises while nobody can answer, as observed: r(L) = max of (p(t+d) - p(t)) over t and 0 < d <= L.

Rises are shares of the rating, one entry a limit. A rise is forgotten after some days, and until a day has been
seen the largest that POLCA found on an inference row counts (Patel et al., ASPLOS'24: 11.8 % in 40 s).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.level import Flags, Watts

BIN: Final = 0.005
BINS: Final = 128  # a rise by more is taken for this much
PRIOR_RATIO: Final = 0.118
PRIOR_S: Final = 0.2  # so that it is forgotten after a day
STEADY_S: Final = 60.0  # and that it is taken for rare
FORGOTTEN_S: Final = 0.1  # weight of what no longer counts
HALF_LIFE_S: Final = 86_400.0
FADE_S: Final = 60.0  # weights fade in steps of this
BLOCK_S: Final = 0.25  # the window is kept in blocks of this, so that its size does not depend on how often it is looked at
MOST_S: Final = 1.0  # of one look: a controller that was stopped has not seen what was

Ratios = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rises:
    """`seen_s`: (limits, BINS), for how long a rise of each size stood; `lows`: (begin, lowest load of that block in W), newest last."""

    seen_s: Ratios
    lows: tuple[tuple[float, Watts], ...]
    looked_s: float
    faded_s: float

    def look(self, now_s: float, load_w: Watts, ratings_w: Watts, free: Flags, window_s: float) -> "Rises":
        """One more look. Only what stands `free` of caps shows what it would do."""
        lows = tuple(low for low in self.lows if low[0] + BLOCK_S > now_s - window_s)
        lowest_w = np.minimum.reduce([low_w for _, low_w in lows]) if lows else load_w
        seen_s, faded_s = self.seen_s, self.faded_s
        if now_s - faded_s >= FADE_S:
            seen_s, faded_s = seen_s * 0.5 ** ((now_s - faded_s) / HALF_LIFE_S), now_s
        seen_s = seen_s.copy() if seen_s is self.seen_s else seen_s
        bins = np.clip(np.ceil((load_w - lowest_w) / ratings_w / BIN - 1e-9), 0, BINS - 1).astype(np.intp)
        seen_s[np.arange(len(load_w)), bins] += free * min(now_s - self.looked_s, MOST_S)
        return Rises(seen_s, _with(lows, now_s, load_w), now_s, faded_s)

    def resumed(self, seen_s: Mapping[int, Ratios]) -> "Rises":
        """With what was seen of some limits, by their places, in an earlier life. The time in between counts as none: it is not known."""
        all_s = self.seen_s.copy()
        for limit, of_limit_s in seen_s.items():
            all_s[limit] = of_limit_s
        return replace(self, seen_s=all_s)

    def highest(self) -> Ratios:
        """The largest rise that is not forgotten."""
        counts = self.seen_s > FORGOTTEN_S
        counts[:, 0] = True
        highest: Ratios = (BINS - 1 - counts[:, ::-1].argmax(axis=1)) * BIN
        return highest

    def quantile(self, share: float) -> Ratios:
        """The rise that for such a share of the time was not passed."""
        sums = np.cumsum(self.seen_s, axis=1)
        passed: Ratios = (sums < share * sums[:, -1:]).sum(axis=1) * BIN
        return passed


def begin(now_s: float, limits: int) -> Rises:
    """Nothing seen yet: the prior rise, once in a while."""
    seen_s = np.zeros((limits, BINS))
    seen_s[:, 0], seen_s[:, round(PRIOR_RATIO / BIN + 0.5)] = STEADY_S, PRIOR_S
    return Rises(seen_s, (), now_s, now_s)


def _with(lows: tuple[tuple[float, Watts], ...], now_s: float, load_w: Watts) -> tuple[tuple[float, Watts], ...]:
    if not lows or now_s - lows[-1][0] >= BLOCK_S:
        return *lows, (now_s, load_w)
    return *lows[:-1], (lows[-1][0], np.minimum(lows[-1][1], load_w))
