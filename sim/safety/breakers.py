"""The true breakers of a site: how warm each is, whether one has tripped, and how long each bore more than its rating."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.safety.site import Element, Values

Flags = NDArray[np.bool_]

ROUNDING: Final = 1.0 + 1e-6
BANDS: Final = (1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5)  # load ratios from which seconds over the rating are told
SETTLED_S: Final = 120.0
HOT_SHARE: Final = 0.95  # of the trip: nobody knows at the start how warm a breaker is


class Breakers:
    """Arrays have one entry an element. `heat` in seconds (see `Element`)."""

    def __init__(self, elements: Sequence[Element], chance: np.random.Generator) -> None:
        self.elements = elements
        self.rating_w, self.trip, self.tau_s, self.ceiling = (
            np.array([getattr(one, name) for one in elements]) for name in ("rating_w", "trip", "tau_s", "ceiling_ratio")
        )
        self._contract = np.array([one.kind == "contract" for one in elements])
        self._cools_s = np.where(self._contract, np.inf, self.tau_s)
        thermal = np.array([one.kind == "thermal" for one in elements])
        self.heat: Values = np.where(thermal, chance.uniform(0.0, HOT_SHARE, len(elements)) * np.where(thermal, self.trip, 0.0), 0.0)
        self.hottest = 0.0
        self._settled_s = 0.0
        self.over_s = np.zeros((len(BANDS), len(elements)))
        self.longest_s = np.zeros((len(BANDS), len(elements)))
        self._stretch_s = np.zeros((len(BANDS), len(elements)))

    def after(self, heat: Values, ratio: Values, seconds: float) -> Values:
        """Never cooler than at its rating, though a breaker that carries less is: an element with a memory of that would bear more."""
        return self.warmed(heat, self.warming(ratio), seconds)

    def warming(self, ratio: Values) -> Values:
        """dE/dt of a cold one. The last axis counts the elements."""
        rate: Values = np.where(self._contract, ratio, ratio * ratio) - 1.0
        return rate

    def warmed(self, heat: Values, warming: Values, seconds: float) -> Values:
        """See `after`."""
        return np.maximum(0.0, heat + (warming - heat / self._cools_s) * seconds)

    def carry(self, load_w: Values, seconds: float) -> str:
        """What the load of `seconds` has broken, or ''."""
        ratio = load_w / self.rating_w
        self.heat = self.after(self.heat, ratio, seconds)
        self._warm(seconds)
        if np.count_nonzero(ratio > 1.0):
            self._tally(ratio, seconds)
        elif np.count_nonzero(self._stretch_s):
            self._stretch_s[:] = 0.0
        return self.broken(self.heat, ratio)

    def _warm(self, seconds: float) -> None:
        """How near to a trip any came, once what all began with has had time to go."""
        self._settled_s += seconds
        if self._settled_s > SETTLED_S:
            self.hottest = max(self.hottest, float((self.heat / self.trip).max()))

    def broken(self, heat: Values, ratio: Values) -> str:
        past = self.past(heat, ratio)
        if not np.count_nonzero(past):
            return ""
        place = int(past.argmax())
        one = self.elements[place]
        if heat[place] >= one.trip:
            return f"{one.name} has tripped at {ratio[place]:.3f} times its rating (heat {heat[place]:.2f} of {one.trip:.2f})"
        return f"{one.name} carries {ratio[place]:.3f} times its rating, its ceiling is {one.ceiling_ratio:.2f} ({one.kind})"

    def past(self, heat: Values, ratio: Values) -> Flags:
        """Which are broken. Both may have an axis before the elements': so many moments at once."""
        flags: Flags = (heat >= self.trip) | (ratio > self.ceiling * ROUNDING)
        return flags

    def _tally(self, ratio: Values, seconds: float) -> None:
        above = ratio > np.array(BANDS)[:, None]
        self.over_s += above * seconds
        self._stretch_s = (self._stretch_s + seconds) * above
        np.maximum(self.longest_s, self._stretch_s, out=self.longest_s)
