"""What would happen if every message were lost from now on, in each listed case: reckoned from what truly is in drivers and on the way.

Every node then draws the worst that its class declares of the limit that it obeys, until its lease has ended and it has settled; of its
floor from then on. `dead_count` nodes of each limit, the dearest, draw the worst of the driver's default all along.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.safety.breakers import Breakers
from gpuwarden.sim.safety.site import USUAL, Site, Values

Flags = NDArray[np.bool_]

STEP_S: Final = 0.25
LAST_S: Final = 1e6  # once all leases have ended: long enough that any load above the rating trips
SPIKE: Final = (1.5, 0.25)
TAIL: Final = (1.1, 1.0)


@dataclass(frozen=True, eq=False)
class Outlook:
    """`pieces`: (limit of each node in W, until when from now) that it may be obeying; inf: for ever. `fresh`: may overshoot. On `idle` ones nothing works."""

    pieces: tuple[tuple[Values, Values], ...]
    fresh: Flags
    idle: Flags


class Silence:
    """Asked again and again of one site."""

    def __init__(self, site: Site) -> None:
        self._floor_w, self._default_w, self._base_w, self._gain = np.array([
            (made.gpus * made.floor_w, made.gpus * made.default_w, made.base_w, made.slope * (1 + made.gain_error)) for made in site.classes
        ]).T
        self._cases = tuple(site.shares)
        self._shares = {case: site.shares[case] for case in site.shares}
        self._bases_w = site.bases_w
        self._dead = np.array([one.dead_count for one in site.elements])

    def broken(self, breakers: Breakers, outlook: Outlook, lost: str) -> str:
        """The first limit that would not bear it, or ''. `lost`: the case that has come already."""
        phases = self._phases(outlook)
        for case in self._cases if lost == USUAL else (lost,):
            if why := self._after(breakers, phases, outlook.idle, case):
                return f"if all fell silent now{', and ' + case if case and not lost else ''}: {why}"
        return ""

    def warmed(self, breakers: Breakers, power_w: Values, seconds: float) -> Values:
        """Of each node, by which share of its trip some element above it may have been warmed, in any listed case, if its cards' readings were so high."""
        drawn_w, warmed = self._base_w + self._gain * power_w, np.zeros(len(power_w))
        for case, shares in self._shares.items():
            ratio = (self._bases_w[case] + shares @ drawn_w) / breakers.rating_w
            gained = breakers.after(np.zeros(len(ratio)), ratio, seconds) / breakers.trip
            warmed = np.maximum(warmed, ((shares > 0.0) * gained[:, None]).max(axis=0))
        return warmed

    def stands(self, ratings_w: Values, limit_w: Values) -> bool:
        """Whether nodes may be at these limits for ever, in each listed case, the dead beside them."""
        at, never = np.ones(len(limit_w)), np.zeros(len(limit_w), bool)
        return all(bool((self._load_w(limit_w, at, never, case) <= ratings_w).all()) for case in self._cases)

    def _phases(self, outlook: Outlook) -> tuple[list[float], Values, Values]:
        """(when each begins, from now; limits then, and by how much they are overshot: (phases, nodes))."""
        ends_s = np.concatenate([ends for _, ends in outlook.pieces])
        times_s = sorted({0.0, SPIKE[1], TAIL[1], *(np.ceil(ends_s[(ends_s > 0) & np.isfinite(ends_s)] / STEP_S) * STEP_S).tolist()})
        from_s = np.array(times_s)[:, None]
        limit_w = np.maximum(self._floor_w, np.maximum.reduce([np.where(ends > from_s, piece_w, 0.0) for piece_w, ends in outlook.pieces]))
        over = np.where(from_s < SPIKE[1], SPIKE[0], np.where(from_s < TAIL[1], TAIL[0], 1.0))
        return times_s, limit_w, np.where(outlook.fresh, over, 1.0)

    def _after(self, breakers: Breakers, phases: tuple[list[float], Values, Values], idle: Flags, case: str) -> str:
        heat, (times_s, limits_w, over) = breakers.heat, phases
        ratios = self._load_w(limits_w, over, idle, case) / breakers.rating_w
        heats, lasts_s = np.empty_like(ratios), [*(until_s - from_s for from_s, until_s in pairwise(times_s)), LAST_S]
        for place, (warming, seconds) in enumerate(zip(breakers.warming(ratios), lasts_s, strict=True)):
            heat = heats[place] = breakers.warmed(heat, warming, seconds)
        past: Flags = np.logical_or.reduce(breakers.past(heats, ratios), axis=-1)
        first = int(past.argmax())
        return f"{times_s[first]:.2f} s on {breakers.broken(heats[first], ratios[first])}" if past[first] else ""

    def _load_w(self, limit_w: Values, over: Values, idle: Flags, case: str) -> Values:
        """Of each element. `limit_w` and `over` may have an axis before the nodes': so many moments at once."""
        shares = self._shares[case]
        steady_w = self._base_w + self._gain * np.where(idle, self._floor_w, limit_w)
        extra_w = shares * np.maximum(self._base_w + self._gain * self._default_w - steady_w, 0.0)[..., None, :]
        overshoot_w = self._gain * (over - 1.0) * np.where(idle, 0.0, limit_w)
        load_w: Values = self._bases_w[case] + (steady_w + overshoot_w) @ shares.T + self._dearest(extra_w)
        return load_w

    def _dearest(self, extra_w: Values) -> Values:
        if (self._dead == 1).all():
            dearest_w: Values = extra_w.max(axis=-1)
            return dearest_w
        ascending = np.sort(extra_w, axis=-1)
        return np.stack([ascending[..., place, -dead:].sum(axis=-1) for place, dead in enumerate(self._dead.tolist())], axis=-1)
