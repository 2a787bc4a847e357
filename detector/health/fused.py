"""One calibrated score of every node, from its peers, its cards beside each other, and the laws that hold in any node; and what carries it.

Each member's score is the largest deviation, or the root of the mean of their squares; of three minutes the lowest, then held as score.py holds it. Members are fused by the smallest of
their rates, times how many they are (Bonferroni): one member that sees clearly is not outvoted by three that cannot see it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.detector.health.laws import READING_OF, Known, Lawful, lawful, no_law_known
from gpuwarden.detector.health.others import Numbers
from gpuwarden.detector.health.peers import Beside, Usual, beside, nothing_learned
from gpuwarden.detector.health.rate import Maxima, no_maxima, rates
from gpuwarden.detector.health.readings import (
    CARD_FLOOR,
    CARD_READINGS,
    CARDS,
    NODE_FLOOR,
    NODE_READINGS,
    OF_CARDS,
    Reading,
    Readings,
    named,
)
from gpuwarden.detector.health.scale import Array

MEMBERS: Final = ("peers", "peers_broad", "cards", "laws")
PEERS: Final = [0, 1]
LAWS_AT: Final = 3
CAP: Final = 10.0  # deviations, in a mean: no single reading outvotes ten others
KEEPS: Final = 0.5 ** (1 / 30)  # of a score in a minute: one finding for one fault that flickers
PATIENCE: Final = 3  # minutes in a row; by then it shows which one of two it is
CLEARER: Final = 0.1  # times the rate: then what a pair shows is the other's


@dataclass(slots=True)
class Health:
    """What is learned of all nodes. Mutable; all in arrays."""

    nodes: Usual
    cards: Usual
    laws: Known
    maxima: Maxima
    last: Array
    held: Array


@dataclass(frozen=True, slots=True)
class Judged:
    """`rate` (nodes,): findings that a healthy node-day would bring at this score, NaN where nothing can be said; below the budget it is one.

    `rates` and `scores` (nodes, MEMBERS); the rest is for `why`.
    """

    rate: Array
    rates: Array
    scores: Array
    peers: Beside
    cards: Beside
    laws: Lawful


@dataclass(frozen=True, slots=True)
class Reason:
    """One metric ("metric[card]" or "metric") of a finding; of temperatures of cards in K/W above the inlet. `peers`: what the others of its job told."""

    metric: str
    deviations: float
    seen: float
    expected: float
    peers: tuple[float, ...]
    member: str


def no_health_known(nodes: int) -> Health:
    """To begin with."""
    return Health(
        nothing_learned(nodes, len(NODE_READINGS)), nothing_learned(nodes * CARDS, len(OF_CARDS)), no_law_known(nodes),
        no_maxima(nodes, len(MEMBERS)), np.full((PATIENCE, nodes, len(MEMBERS)), np.nan), np.zeros((nodes, len(MEMBERS))),
    )


def judged(health: Health, readings: Readings, job: Numbers, new: NDArray[np.bool_] | None = None) -> Judged:
    """One minute, which also teaches. `job` (nodes,): its number; below 0 where a node has none, or more than one, and so no peers.

    Under a cap of ours a job is another one, in which offsets are others. `new` (nodes,): came when others were known already.
    """
    nodes = len(job)
    new = np.zeros(nodes, bool) if new is None else new
    run = np.where(job >= 0, 2 * job + readings.ours, -1 - readings.ours)
    peers = beside(health.nodes, readings.nodes, run, run, readings.ours, NODE_FLOOR, new)
    node = np.repeat(np.arange(nodes), CARDS)
    cards = beside(health.cards, readings.cards.reshape(nodes * CARDS, -1), node, run[node], readings.ours[node], CARD_FLOOR, new[node])
    laws = lawful(health.laws, readings, new)
    now = np.stack((_largest(_worst(peers)), _broad(_known_worst(peers)), _largest(_worst(cards).reshape(nodes, -1)), _largest(np.abs(laws.deviations))), 1)
    health.last = np.concatenate((health.last[1:], now[None]))
    health.held = np.fmax(KEEPS * health.held, health.last.min(0))
    scores = np.where(np.isnan(now), np.nan, health.held)
    each = _others_fault(rates(health.maxima, scores), run)
    known = ~np.isnan(each)
    rate = np.where(known.any(1), len(MEMBERS) * np.where(known, each, np.inf).min(1), np.nan)
    return Judged(rate, each, scores, peers, cards, laws)


def why(judged_: Judged, job: Numbers, node: int, most: int) -> list[Reason]:
    """What carries a node's score: first what its clearest member saw, the worst of it first, then what the others did."""
    cards, laws = slice(node * CARDS, (node + 1) * CARDS), tuple((reading, None) for reading in READING_OF)
    of = {
        "peers": (_worst(judged_.peers)[node], NODE_READINGS, judged_.peers.seen[node], judged_.peers.expected[node]),
        "cards": (_worst(judged_.cards)[cards].ravel(), CARD_READINGS, judged_.cards.seen[cards].ravel(), judged_.cards.expected[cards].ravel()),
        "laws": (np.abs(judged_.laws.deviations[node]), laws, judged_.laws.seen[node], judged_.laws.expected[node]),
    }
    mates = np.flatnonzero((job == job[node]) & (job >= 0) & (np.arange(len(job)) != node))
    clearest = clearest_member(judged_, node)
    found = list[Reason]()
    for member, (deviations, readings, seen, expected) in of.items():
        for at in np.argsort(-np.nan_to_num(deviations), kind="stable")[:most].tolist():
            found.append(_reason(member, readings[at], float(np.nan_to_num(deviations[at])), float(seen[at]), float(expected[at]), judged_.peers.seen[mates]))
    told = dict[str, Reason]()
    for reason in sorted(found, key=lambda reason: (not clearest.startswith(reason.member), -reason.deviations)):
        if reason.deviations > 0:
            told.setdefault(reason.metric, reason)
    return list(told.values())[:most]


def clearest_member(judged_: Judged, node: int) -> str:
    """Whose rate is the smallest."""
    return MEMBERS[int(np.where(np.isnan(judged_.rates[node]), np.inf, judged_.rates[node]).argmin())]


def _reason(member: str, of: tuple[Reading, int | None], deviations: float, seen: float, expected: float, mates: Array) -> Reason:
    reading, card = of
    peers = tuple(reading.back(float(one)) for one in mates[:, NODE_READINGS.index(of)]) if of in NODE_READINGS else ()
    return Reason(named(reading, card), deviations, reading.back(seen), reading.back(expected), peers, member)


def _others_fault(each: Array, run: Numbers) -> Array:
    """Two nodes differ from each other alike: where one's cards or the laws say clearly that it is that one, the other is not meant."""
    other = _other_of_two(run)
    alone = np.where(np.isnan(each[:, 2:]), np.inf, each[:, 2:]).min(1)
    theirs = np.where(other >= 0, alone[other], np.inf)
    excused = (theirs < CLEARER * alone) & (other >= 0)
    out = each.copy()
    out[np.ix_(excused, PEERS)] = np.nan
    return out


def _other_of_two(run: Numbers) -> Numbers:
    """(rows,): the only other one of the same run, -1 where there is not one."""
    _, of, size = np.unique(run, return_inverse=True, return_counts=True)
    two = np.flatnonzero((size[of] == 2) & (run >= 0))
    two = two[np.argsort(of[two], kind="stable")]
    other = np.full(len(run), -1)
    other[two] = two.reshape(-1, 2)[:, ::-1].ravel()
    return other


def _worst(seen: Beside) -> Array:
    return np.fmax(_known_worst(seen), np.abs(seen.first))


def _known_worst(seen: Beside) -> Array:
    """Without what is new: all of that is a deviation or so from the others, which together would be much."""
    return np.fmax(np.abs(seen.changed), np.abs(seen.level))


def _largest(deviations: Array) -> Array:
    """(rows,) of (rows, any); NaN where nothing is told."""
    known = ~np.isnan(deviations)
    return np.where(known.any(1), np.where(known, deviations, 0).max(1), np.nan)


def _broad(deviations: Array) -> Array:
    known = ~np.isnan(deviations)
    count = known.sum(1)
    return np.where(count > 0, np.sqrt((np.minimum(np.where(known, deviations, 0), CAP) ** 2).sum(1) / np.maximum(count, 1)), np.nan)


