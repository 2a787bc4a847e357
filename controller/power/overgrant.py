"""How far the grants under a limit may add up beyond its rating, and why: for a person who checks it by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from gpuwarden.controller.power.breaker import SPARE_SHARE
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.level import SETTLING_S, Level, level_of
from gpuwarden.controller.power.limit import LimitConfig

BISECTIONS: Final = 20


@dataclass(frozen=True, slots=True)
class Overgrant:
    """`grants_w`: the worst draw of all grants that this limit alone would let be, cold, everybody in contact and raised alike."""

    limit: str
    kind: str
    rating_w: float
    node_count: int
    dead_count: int
    base_w: float
    floors_w: float
    defaults_w: float
    grants_w: float
    why: str


def overgrants(domain: DomainConfig, lapse_s: float) -> Iterator[Overgrant]:
    """Of every limit in every listed case, the domain's own first, with its budget. `lapse_s`: lease and settling, until silence has brought all to the floor."""
    if domain.budget_w is not None:
        domain = replace(domain, rating_w=domain.budget_w)
    tree = domain.tree()
    for branch in reversed(domain.topology().branches()):
        level = level_of([branch], tree.members)
        share = _highest_share(level, lapse_s)
        grants_w = _total_w(level, share)
        yield Overgrant(
            branch.name, branch.limit.kind, branch.limit.rating_w, int(level.counts[0]), branch.dead_count, branch.other_w,
            _total_w(level, 0.0), _total_w(level, 1.0), grants_w, _why(branch.limit, grants_w, share, lapse_s, _beside(level)),
        )


def _highest_share(level: Level, lapse_s: float) -> float:
    """From all at the floor (0) to all at the driver's default (1)."""
    if _holds(level, 1.0, lapse_s):
        return 1.0
    good, bad = 0.0, 1.0
    for _ in range(BISECTIONS):
        share = (good + bad) / 2
        good, bad = (share, bad) if _holds(level, share, lapse_s) else (good, share)
    return good


def _holds(level: Level, share: float, lapse_s: float) -> bool:
    limits_w, count = _limits_w(level, share), len(level.nodes)
    return bool(level.carries(level.ratings_w, np.zeros(1), limits_w, np.full(count, lapse_s), np.zeros(count, bool), spare=SPARE_SHARE)[0])


def _limits_w(level: Level, share: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    nodes = level.members
    limits_w: np.ndarray[tuple[int], np.dtype[np.float64]] = nodes.floor_w + share * (nodes.default_w - nodes.floor_w)
    return limits_w


def _total_w(level: Level, share: float) -> float:
    return float(level.totals_w(_limits_w(level, share))[0])


def _beside(level: Level) -> float:
    """Heat that is kept free, since a controller that starts anew knows it only so well."""
    return float(SPARE_SHARE * level.breakers.unknown[0])


def _why(limit: LimitConfig, grants_w: float, share: float, lapse_s: float, beside: float) -> str:
    ratio, seconds = grants_w / limit.rating_w, lapse_s + SETTLING_S  # a raise may overshoot for so long, on top
    if share == 1.0:
        return "carries every default"
    if limit.kind == "hard":
        return "hard"
    if ratio > limit.ceiling - 0.001:
        return f"its ceiling is {limit.ceiling:.2f}"
    if limit.kind in ("thermal", "contract"):
        power, rate = ("^2", ratio * ratio - 1) if limit.kind == "thermal" else ("", ratio - 1)
        return f"({ratio:.3f}{power} - 1) x {seconds:g} s + {beside:.1f} = {rate * seconds + beside:.1f} of {limit.trip_heat:.1f} s"
    return f"its table bears no more for {seconds:g} s"
