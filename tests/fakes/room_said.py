"""A simulated room's minutes as its detectors tell them to each other."""

from collections.abc import Iterable

import numpy as np
from fakes.room import FIRST, IDS, job_of, name

from gpuwarden.detector.health.readings import CARDS, OF_HOSTS, READ_OF_CARDS
from gpuwarden.detector.past.piece import MINUTE_NS
from gpuwarden.proto.catalogue import BY_NAME
from gpuwarden.proto.scores_pb2 import MinuteSummaries, NodeMinute
from gpuwarden.sim.health.ward import Told

_CARD = [BY_NAME[metric].number for metric in READ_OF_CARDS]
_HOST = [BY_NAME[reading.metric].number for reading in OF_HOSTS]


class Teller:
    """One detector that hears all nodes, or some of them."""

    def __init__(self, told: Told, start: str = "teller", first: int = FIRST) -> None:
        self._told, self.start, self.sequence, self._first = told, start, 0, first
        at = {column: place for place, column in enumerate(told.columns)}
        missing = len(told.columns)
        self._cards = np.array([[at.get(f"{metric}[{card}]", missing) for metric in READ_OF_CARDS] for card in range(CARDS)])
        self._hosts = np.array([at.get(reading.metric, missing) for reading in OF_HOSTS])

    def minute(self, minute: int, nodes: Iterable[int] | None = None) -> bytes:
        """Of minutes since FIRST."""
        some = list(nodes) if nodes is not None else list(range(len(self._told.values)))
        values = np.pad(self._told.values[some, minute], ((0, 0), (0, 1)), constant_values=np.nan).astype("<f4")
        unix = self._first + minute
        self.sequence += 1
        return MinuteSummaries(
            version=1, detector_start=self.start, sequence=self.sequence, unix_ns=(unix + 1) * MINUTE_NS + 20 * 10**9, told_minute=unix,
            nodes=[NodeMinute(node=name(node), minute=unix, job_id=job_of(self._told, node, minute), cards=IDS) for node in some],
            card_metrics=_CARD, host_metrics=_HOST, cards=values[:, self._cards].tobytes(), hosts=values[:, self._hosts].tobytes(),
        ).SerializeToString()  # fmt: skip
