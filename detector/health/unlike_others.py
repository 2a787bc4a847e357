"""What is said of a node that is not as others are: which comparison showed it, and the metrics, seen and expected, with what its peers told."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from gpuwarden.detector.findings import Claim, subject_of
from gpuwarden.detector.health.claim import name_of, unit_of
from gpuwarden.detector.health.features import COLUMN_OF
from gpuwarden.detector.health.fused import Judged, Reason, clearest_member, why
from gpuwarden.detector.health.others import Numbers
from gpuwarden.detector.health.readings import OF_CARDS
from gpuwarden.detector.health.scale import Array
from gpuwarden.detector.past.features import FEATURES
from gpuwarden.detector.rules.rule import INFO
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.finding_pb2 import Evidence

NODE_UNLIKE_OTHERS: Final = "node_unlike_others"
RARITY: Final = "rarity, -log10 of findings a healthy node-day brings"
GUILTY: Final = 4
MOST_SCORE: Final = 1e6
_NAMED: Final = 2
_HEAT: Final = frozenset(reading.metric for reading in OF_CARDS if reading.form == "heat")


def claim(seen: Judged, job: Numbers, row: int, node: str, cards: tuple[str, ...], job_id: str, budget: float) -> Claim:
    """Of a row of what was judged."""
    rate = float(seen.rate[row])
    reasons = why(seen, job, row, GUILTY)
    shown = "; ".join(_sentence(reason, cards) for reason in reasons[:_NAMED])
    mates = int(((job == job[row]) & (job >= 0)).sum()) - 1
    return Claim(
        NODE_UNLIKE_OTHERS, subject_of(Device.HOST, node, ""), INFO, min(budget / max(rate, budget / MOST_SCORE), MOST_SCORE),
        f"{_shown_by(clearest_member(seen, row), mates, job_id)}: {shown or 'many metrics, each by a little'}",
        "Look at it beside the other nodes of its job. By itself this is no reason to act.", "health/fused",
        (*(one for reason in reasons for one in _evidence(reason, cards)), Evidence(name="findings that a healthy node-day brings at this score", value=rate, expected=budget)),
    )  # fmt: skip


def rarity(rate: Array, budget: float) -> Array:
    """-log10 of rates of findings, so that more of it is worse; within MOST_SCORE of the budget, as scores are. NaN stays so."""
    return np.asarray(-np.log10(np.clip(rate, budget / MOST_SCORE, budget * MOST_SCORE)))


def _shown_by(member: str, mates: int, job_id: str) -> str:
    match member:
        case "peers" | "peers_broad":
            return f"the node is not as the {mates} others of job {job_id} (member {member})"
        case "cards":
            return "a card is not as the others of its node (member cards)"
        case _:
            return "the node is not as any node would be at this load (member laws)"


def _sentence(reason: Reason, cards: tuple[str, ...]) -> str:
    name, unit, base = _words(reason, cards)
    return f"{name} {reason.seen / base:.3g} {unit}".rstrip() + f", {reason.expected / base:.3g} expected"


def _evidence(reason: Reason, cards: tuple[str, ...]) -> Iterator[Evidence]:
    name, unit, base = _words(reason, cards)
    yield Evidence(name=name, value=reason.seen / base, expected=reason.expected / base, unit=unit)
    peers = np.array(reason.peers)
    peers = peers[~np.isnan(peers)]
    if len(peers):
        for which, value in (("median", np.median(peers)), ("lowest", peers.min()), ("highest", peers.max())):
            yield Evidence(name=f"{name}, {which} of {len(peers)} peers", value=float(value) / base, unit=unit)


def _words(reason: Reason, cards: tuple[str, ...]) -> tuple[str, str, float]:
    """Name, unit and how many of the base make one."""
    metric = reason.metric.partition("[")[0]
    if reason.metric in COLUMN_OF:
        feature = FEATURES[COLUMN_OF[reason.metric]]
        name = name_of([feature], cards)
    else:  # a card's metric without a card is the node's median
        feature = FEATURES[COLUMN_OF[f"{metric}[0]"]]
        name = f"{name_of([feature], cards).rpartition(' of ')[0]}, median of its cards"
    if metric in _HEAT:
        return f"{name}, above the inlet air for each watt", "K/W", 1.0
    return (name, *unit_of(feature))
