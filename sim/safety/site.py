"""Random power trees: what an operator would write of one, and what truly stands there.

Every truth lies inside of what is declared, most often at its edge. Which share of which node's draw goes through which limit is
reckoned here, not by the controller's topology: what judges a decision must not reckon as the decision did.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.limit import LimitConfig
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.controller.power.topology import Contingency, ReplacedLimit

Values = NDArray[np.float64]

ROOT: Final = "row"
USUAL: Final = ""
ON_BATTERY: Final = " on battery"
TRIPS: Final = (4.0, 7.0, 11.0)  # seconds, from hot: 11 is what the product takes where nothing is written
OVERLOADS: Final = (1.2, 1.35, 1.6, 2.0)  # points of the curve that the maker prints
ENDLESS_S: Final = 1e9  # a time constant so long that nothing cools by itself
TIME_CONSTANTS_S: Final = (120.0, 248.0, 900.0, ENDLESS_S)


@dataclass(frozen=True, slots=True)
class Element:
    """What stands a limit. Thermal: dE/dt = r^2 - 1 - E / `tau_s`, a first-order element from hot, tripping at `trip`; the declared curve is
    the lower edge of its band. Contract: dE/dt = r - 1. Hard: nothing above its rating."""

    name: str
    kind: str
    rating_w: float
    tau_s: float
    trip: float
    ceiling_ratio: float
    dead_count: int


@dataclass(frozen=True, eq=False)
class Site:
    """`shares`: for each case (USUAL, or a contingency) of each node's draw through each element: (elements, nodes).

    `bases_w`: what else hangs on each element, at most, in that case. `classes`: of each node.
    """

    domain: DomainConfig
    timing: Timing
    names: tuple[str, ...]
    classes: tuple[NodeClass, ...]
    elements: tuple[Element, ...]
    shares: Mapping[str, Values]
    bases_w: Mapping[str, Values]
    levels: int
    racks: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Hung:
    """One limit in the making: its own nodes, and what lies above it."""

    name: str
    parent: str
    share: float
    nodes: tuple[int, ...] = ()


def site_of(chance: np.random.Generator, policy: str, settle_s: float) -> Site:
    """A tree that the product takes. `settle_s`: declared of every class."""
    while True:
        site = _site(chance, policy, settle_s)
        if not list(site.domain.problems()):
            return site


def _site(chance: np.random.Generator, policy: str, settle_s: float) -> Site:
    racks = _racks(chance)
    count = sum(map(len, racks))
    names = tuple(f"n{number:02}" for number in range(count))
    classes = _classes(chance, racks, names, settle_s)
    of_node = tuple(made for made in classes for _ in _numbers(made.nodes, names))
    feeds = bool(chance.random() < 0.5)
    hung = list(_feeds(chance, racks) if feeds else _single(chance, racks))
    cases = tuple(Contingency(f"{feed} lost", lost=(feed,)) for feed in "ab") if feeds else ()
    limits = tuple(_limit(chance, one, names) for one in hung)
    root = LimitConfig(ROOT, 1.0, dead_nodes=_dead(count), base_w=float(chance.uniform(0, 2000)))
    shares: Mapping[str, Values] = {case: _shares(hung, count, case) for case in (USUAL, *(one.name for one in cases))}
    bases_w: Mapping[str, Values] = {case: _bases_w((*limits, root), hung, case) for case in shares}
    rated, elements = _rated(chance, (*limits, root), hung, shares, bases_w, of_node)
    if feeds:
        case, elements, shares, bases_w = _battery(chance, elements, shares, bases_w, of_node)
        cases = (*cases, case)
    trip_heat, top = elements[-1].trip, elements[-1]
    domain = DomainConfig(
        ROOT, top.rating_w, classes, mode="auto", policy=policy, trip_heat=trip_heat, ceiling_ratio=top.ceiling_ratio,
        base_w=root.base_w, limits=rated[:-1], contingencies=cases,
    )
    lease_s = float(chance.choice([3.0, 5.0, 8.0]))
    depth = 1 + max(_depth(one.name, hung) for one in hung)
    return Site(domain, Timing(lease_s, min(3.0, lease_s), lease_s / 2), names, of_node, elements, shares, bases_w, depth, racks)


def _racks(chance: np.random.Generator) -> tuple[tuple[int, ...], ...]:
    sizes = chance.integers(2, 6, int(chance.integers(5, 8)))
    ends = np.cumsum(sizes)
    return tuple(tuple(range(int(end - size), int(end))) for end, size in zip(ends, sizes, strict=True))


def _classes(
    chance: np.random.Generator, racks: tuple[tuple[int, ...], ...], names: tuple[str, ...], settle_s: float
) -> tuple[NodeClass, ...]:
    """Two kinds of node, the second from some rack on."""
    first = racks[int(chance.integers(1, len(racks)))][0]
    parts = (names[:first], names[first:])
    return tuple(_class(chance, f"class-{number}", part, settle_s) for number, part in enumerate(parts))


def _class(chance: np.random.Generator, name: str, nodes: tuple[str, ...], settle_s: float) -> NodeClass:
    gpus = int(chance.choice([1, 2, 4, 8], p=[0.3, 0.4, 0.2, 0.1]))
    default_w, floor_w = ((700.0, 200.0), (400.0, 100.0), (1000.0, 300.0))[int(chance.integers(3))]
    return NodeClass(
        name, nodes, gpus=gpus, base_w=round(float(chance.uniform(80, 300))) * gpus, floor_w=floor_w, default_w=default_w,
        slope=round(float(chance.uniform(1.02, 1.12)), 3), gain_error=0.05, settle_s=settle_s,
    )


def _single(chance: np.random.Generator, racks: tuple[tuple[int, ...], ...]) -> Iterator[_Hung]:
    """Distributors, racks and the three phases of each."""
    for number in range(2):
        yield _Hung(f"pdu{number}", ROOT, 1.0)
    for number, rack in enumerate(racks):
        yield _Hung(f"rack{number}", f"pdu{number % 2}", 1.0)
        for phase in range(3):
            yield _Hung(f"rack{number}-L{phase + 1}", f"rack{number}", 1 / 3, rack)


def _feeds(chance: np.random.Generator, racks: tuple[tuple[int, ...], ...]) -> Iterator[_Hung]:
    """Two feeds, and of each rack half on either."""
    for feed in "ab":
        yield _Hung(feed, ROOT, 1.0)
        for number, rack in enumerate(racks):
            yield _Hung(f"{feed}-rack{number}", feed, 0.5, rack)


def _limit(chance: np.random.Generator, one: _Hung, names: tuple[str, ...]) -> LimitConfig:
    base_w = float(chance.uniform(0, 600)) if one.parent == ROOT else 0.0
    nodes = tuple(names[node] for node in one.nodes)
    kind = str(chance.choice(["thermal", "hard", "contract"], p=[0.86, 0.07, 0.07])) if one.parent != ROOT else "thermal"
    parent = "" if one.parent == ROOT else one.parent
    return LimitConfig(one.name, 1.0, parent, nodes, round(one.share, 3), base_w, kind)


def _dead(nodes: int) -> int:
    return max(1, math.ceil(0.02 * nodes))


def _depth(name: str, hung: list[_Hung]) -> int:
    parents = {one.name: one.parent for one in hung}
    return 0 if name == ROOT else 1 + _depth(parents[name], hung)


def _above(name: str, hung: list[_Hung]) -> Iterator[str]:
    parents = {one.name: one.parent for one in hung}
    while name != ROOT:
        yield name
        name = parents[name]
    yield ROOT


def _shares(hung: list[_Hung], count: int, case: str) -> Values:
    """Once a feed is lost, the other carries the whole of each node."""
    places = {name: place for place, name in enumerate([*(one.name for one in hung), ROOT])}
    shares = np.zeros((len(places), count))
    lost = case.removesuffix(" lost")
    for one in hung:
        above = list(_above(one.name, hung))
        share = one.share if case == USUAL else 1.0
        for name in above if lost not in above else ():
            shares[places[name], list(one.nodes)] += share
    return shares


def _bases_w(limits: tuple[LimitConfig, ...], hung: list[_Hung], case: str) -> Values:
    places = {limit.name: place for place, limit in enumerate(limits)}
    bases_w, lost = np.zeros(len(limits)), case.removesuffix(" lost")
    for limit in limits:
        above = list(_above(limit.name, hung))
        for name in above if case == USUAL or lost not in above else ():
            bases_w[places[name]] += limit.base_w
    return bases_w


def _rated(
    chance: np.random.Generator, limits: tuple[LimitConfig, ...], hung: list[_Hung], shares: Mapping[str, Values],
    bases_w: Mapping[str, Values], classes: tuple[NodeClass, ...],
) -> tuple[tuple[LimitConfig, ...], tuple[Element, ...]]:
    """Each limit's rating between what its floors need, whatever listed thing happens, and what all defaults would draw."""
    defaults_w = np.array([made.draw_w(made.gpus * made.default_w) for made in classes])
    ratings_w, parents = dict[str, float](), {one.name: one.parent for one in hung}
    made = []
    for place in (len(limits) - 1, *range(len(limits) - 1)):  # from above: none is rated above what it hangs on
        limit = limits[place]
        least_w, most_w = 0.0, 0.0
        dead = _dead(int(np.count_nonzero(shares[USUAL][place])))
        for case, of_case in shares.items():
            least_w = max(least_w, _least_w(of_case[place], bases_w[case][place], dead, classes))
            most_w = max(most_w, float(of_case[place] @ defaults_w + bases_w[case][place]))
        part = chance.uniform(0.1, 0.4) if limit.name == ROOT else chance.uniform(0.2, 1.0)
        rating_w = 1.001 * least_w + float(part) * max(0.0, most_w - least_w)
        ratings_w[limit.name] = min(rating_w, ratings_w[parents[limit.name]]) if limit.name != ROOT else rating_w
        made.append(_element(chance, replace(limit, rating_w=ratings_w[limit.name], dead_nodes=None), dead))
    made = [*made[1:], made[0]]
    return tuple(written for _, written in made), tuple(element for element, _ in made)


def _battery(
    chance: np.random.Generator, elements: tuple[Element, ...], shares: Mapping[str, Values], bases_w: Mapping[str, Values],
    classes: tuple[NodeClass, ...],
) -> tuple[Contingency, tuple[Element, ...], dict[str, Values], dict[str, Values]]:
    """Feed b's UPS may run on its battery, which carries less: an element of its own, through which nothing goes at any other time."""
    place = [one.name for one in elements].index("b")
    fed, name = elements[place], f"b{ON_BATTERY}"
    least_w = 1.001 * _least_w(shares[USUAL][place], bases_w[USUAL][place], fed.dead_count, classes)
    battery = replace(fed, name=name, rating_w=float(chance.uniform(least_w, fed.rating_w)))
    usual, usual_w = shares[USUAL].copy(), bases_w[USUAL].copy()
    usual[place], usual_w[place] = 0.0, 0.0
    shares = {case: np.insert(of_case, -1, 0.0, axis=0) for case, of_case in shares.items()} | {name: np.insert(usual, -1, shares[USUAL][place], axis=0)}
    bases_w = {case: np.insert(of_case, -1, 0.0) for case, of_case in bases_w.items()} | {name: np.insert(usual_w, -1, bases_w[USUAL][place])}
    return Contingency(name, replaced=(ReplacedLimit("b", battery.rating_w),)), (*elements[:-1], battery, elements[-1]), shares, bases_w


def _least_w(shares: Values, base_w: float, dead: int, classes: tuple[NodeClass, ...]) -> float:
    """What floors and the dearest dead nodes draw through an element."""
    floors_w, defaults_w = (np.array([made.draw_w(made.gpus * at(made)) for made in classes]) for at in (_floor_w, _default_w))
    return float(shares @ floors_w + np.sort(shares * (defaults_w - floors_w))[-dead:].sum() + base_w)


def _floor_w(made: NodeClass) -> float:
    return made.floor_w


def _default_w(made: NodeClass) -> float:
    return made.default_w


def _element(chance: np.random.Generator, limit: LimitConfig, dead: int) -> tuple[Element, LimitConfig]:
    """What stands there, and the limit as it is written: the curve of the thing itself, which is the lower edge of a maker's band."""
    trip, tau_s = float(chance.choice(TRIPS)), float(chance.choice(TIME_CONSTANTS_S))
    ceiling = float(chance.choice([1.3, 1.6, 2.0]))
    if limit.kind == "hard":
        return Element(limit.name, "hard", limit.rating_w, ENDLESS_S, math.inf, 1.0, dead), limit
    if limit.kind == "contract":
        written = replace(limit, trip=((1.5, trip),), ceiling_ratio=ceiling)
        return Element(limit.name, "contract", limit.rating_w, ENDLESS_S, 0.5 * trip, ceiling, dead), written
    curve = tuple((overload, _trips_after_s(overload, trip, tau_s)) for overload in OVERLOADS)
    written = replace(limit, trip=tuple(point for point in curve if math.isfinite(point[1])), ceiling_ratio=ceiling)
    return Element(limit.name, "thermal", limit.rating_w, tau_s, trip, ceiling, dead), written


def _trips_after_s(overload: float, trip: float, tau_s: float) -> float:
    """From hot at a constant load; inf if never."""
    part = trip / (tau_s * (overload * overload - 1.0))
    return -tau_s * math.log1p(-part) if part < 1.0 else math.inf


def _numbers(nodes: tuple[str, ...], names: tuple[str, ...]) -> list[int]:
    return [names.index(node) for node in nodes]
