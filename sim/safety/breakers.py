"""The true breakers of a site: how warm each is, whether one has tripped, and how long each bore more than its rating."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from gpuwarden.sim.safety.site import Element, Values

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
        thermal = np.array([one.kind == "thermal" for one in elements])
        self.heat: Values = np.where(thermal, chance.uniform(0.0, HOT_SHARE, len(elements)) * np.where(thermal, self.trip, 0.0), 0.0)
        self.hottest = 0.0
        self._settled_s = 0.0
        self.over_s = np.zeros((len(BANDS), len(elements)))
        self.longest_s = np.zeros((len(BANDS), len(elements)))
        self._stretch_s = np.zeros((len(BANDS), len(elements)))

    def after(self, heat: Values, ratio: Values, seconds: float) -> Values:
        """Never cooler than at its rating, though a breaker that carries less is: an element with a memory of that would bear more."""
        rate = np.where(self._contract, ratio - 1.0, ratio * ratio - 1.0 - heat / self.tau_s)
        return np.maximum(0.0, heat + rate * seconds)

    def carry(self, load_w: Values, seconds: float) -> str:
        """What the load of `seconds` has broken, or ''."""
        ratio = load_w / self.rating_w
        self.heat = self.after(self.heat, ratio, seconds)
        self._warm(seconds)
        over = ratio > 1.0
        if over.any():
            self._tally(ratio, seconds)
        elif self._stretch_s.any():
            self._stretch_s[:] = 0.0
        return self.broken(self.heat, ratio)

    def _warm(self, seconds: float) -> None:
        """How near to a trip any came, once what all began with has had time to go."""
        self._settled_s += seconds
        if self._settled_s > SETTLED_S:
            self.hottest = max(self.hottest, float((self.heat / self.trip).max()))

    def broken(self, heat: Values, ratio: Values) -> str:
        past = (heat >= self.trip) | (ratio > self.ceiling * ROUNDING)
        if not past.any():
            return ""
        place = int(past.argmax())
        one = self.elements[place]
        if heat[place] >= one.trip:
            return f"{one.name} has tripped at {ratio[place]:.3f} times its rating (heat {heat[place]:.2f} of {one.trip:.2f})"
        return f"{one.name} carries {ratio[place]:.3f} times its rating, its ceiling is {one.ceiling_ratio:.2f} ({one.kind})"

    def _tally(self, ratio: Values, seconds: float) -> None:
        above = ratio > np.array(BANDS)[:, None]
        self.over_s += above * seconds
        self._stretch_s = (self._stretch_s + seconds) * above
        np.maximum(self.longest_s, self._stretch_s, out=self.longest_s)
