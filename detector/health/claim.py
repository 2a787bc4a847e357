"""What is said of a node that is not as it was: the metrics that gave it away, seen and expected."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from gpuwarden.detector.findings import Claim, subject_of
from gpuwarden.detector.health.judge import Minute
from gpuwarden.detector.health.learned import Learned
from gpuwarden.detector.health.score import CAP
from gpuwarden.detector.past.features import FEATURES, Feature
from gpuwarden.detector.rules.rule import INFO
from gpuwarden.proto.catalogue import METRICS, Device
from gpuwarden.proto.finding_pb2 import Evidence

NODE_UNLIKE_ITSELF: Final = "node_unlike_itself"
GUILTY: Final = 5
_NAMED: Final = 2
_LEAST_SHARE: Final = 0.03  # of the score, for a metric to be named
_SHORT_UNITS: Final = {  # base unit: what a person reads, and how many of the base make one
    "watts": ("W", 1.0), "joules per second": ("W", 1.0), "hertz": ("GHz", 1e9), "celsius": ("C", 1.0), "bytes": ("GB", 1e9), "ratio": ("", 1.0),
    "bytes per second": ("GB/s", 1e9), "bytes_per_second": ("GB/s", 1e9), "seconds per second": ("s/s", 1.0), "1 per second": ("a second", 1.0),
    "1": ("", 1.0), "bits_per_second": ("Gbit/s", 1e9),
}  # fmt: skip
_UUID: Final = re.compile(r"(GPU-[0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _head(meaning: str) -> str:
    return meaning.partition(",")[0]


_HEADS: Final = Counter(_head(metric.meaning) for metric in METRICS)


def claim(learned: Learned, row: int, minute: Minute, i: int, score: float) -> Claim:
    """Of row `i` of a minute, which is the model's `row`."""
    node, threshold = learned.nodes[row], float(learned.threshold[row])
    evidence = tuple(_evidence(learned, row, minute, i))
    shown = "; ".join(f"{one.name} {one.value:.3g} {one.unit}".rstrip() + f", {one.expected:.3g} expected" for one in evidence[:_NAMED])
    return Claim(
        NODE_UNLIKE_ITSELF, subject_of(Device.HOST, node, ""), INFO, score / threshold,
        f"the node is not as it has been for days: {shown or 'many metrics, each by a little'}",
        "Look at it beside the other nodes of its job; a new kind of job does this too. By itself this is no reason to act.",
        "health/conditional", (*evidence, Evidence(name="score, beside its threshold", value=score, expected=threshold)),
    )  # fmt: skip


def _evidence(learned: Learned, row: int, minute: Minute, i: int) -> Iterator[Evidence]:
    """The metrics that carry most, those of several cards together. What was expected follows from the node's other metrics and its
    past, or is its mean where that is what it left.
    """
    carried = np.nan_to_num(minute.parts[i])
    features = [FEATURES[column] for column in learned.columns.tolist()]
    together: dict[str, float] = {}
    for feature, part in zip(features, carried.tolist(), strict=True):
        together[feature.metric.name] = together.get(feature.metric.name, 0.0) + part
    for metric in sorted(together, key=lambda name: -together[name])[:GUILTY]:
        if together[metric] < _LEAST_SHARE * carried.sum():
            return
        mine = [k for k, feature in enumerate(features) if feature.metric.name == metric]
        guilty = [k for k in mine if carried[k] >= carried[mine].max() / 2]
        unit, base = unit_of(features[guilty[0]])
        seen, expected = np.mean([_seen_and_expected(learned, row, minute, i, k) for k in guilty], 0) / base
        yield Evidence(name=name_of([features[k] for k in guilty], learned.cards[row]), value=seen, expected=expected, unit=unit)


def _seen_and_expected(learned: Learned, row: int, minute: Minute, i: int, k: int) -> tuple[float, float]:
    mean, deviation = float(learned.mean[row, k]), float(learned.deviation[row, k])
    now, residual = float(minute.deviations[i, k]), float(minute.residuals[i, k])
    foretold = now - residual * float(minute.spread[i, k]) if min(residual**2, CAP) > min(now**2, CAP) else 0.0
    return float(minute.values[i, k]), mean + deviation * foretold


def unit_of(feature: Feature) -> tuple[str, float]:
    """What a person reads, and how many of the base unit make one."""
    return _SHORT_UNITS.get(feature.unit, (feature.unit, 1.0))


def name_of(features: Sequence[Feature], cards: tuple[str, ...]) -> str:
    """`core temperature of GPU-3`, or `of 8 cards`, whose mean it is."""
    meaning = features[0].metric.meaning
    what = _head(meaning) if _HEADS[_head(meaning)] == 1 else meaning
    if (card := features[0].card) is None:
        return what
    if len(features) > 1:
        return f"{what} of {len(features)} cards"
    return f"{what} of {_short(cards[card]) if card < len(cards) else f'card {card}'}"


def _short(card: str) -> str:
    """A UUID up to its first dash: enough to tell a node's cards apart."""
    return _UUID.sub(r"\1", card)
