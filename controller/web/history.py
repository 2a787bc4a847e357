"""What the page's chart shows: the last hour snapshot by snapshot, and a day by the minute."""

from collections import deque
from dataclasses import astuple, dataclass
from typing import Final, TypedDict

from gpuwarden.controller.web.view import number
from gpuwarden.proto.control_pb2 import PowerDomain, WatchResponse

# Snapshots come 0.95 s apart, and 3,800 of them make an hour.
FINE_S: Final = 0.9
FINE_SAMPLES: Final = 3800
COARSE_S: Final = 60
COARSE_SAMPLES: Final = 23 * 60
# A plant has tens of domains; more than this is a mistake upstream, which must not cost memory here.
DOMAINS: Final = 64


@dataclass(frozen=True, slots=True)
class Sample:
    """None where there was no number."""

    unix_s: float
    power_w: float | None
    budget_w: float | None
    counted_w: float | None


class Columns(TypedDict):
    """Equally long, oldest first: what uPlot takes."""

    unix_s: list[float]
    power_w: list[float | None]
    budget_w: list[float | None]
    counted_w: list[float | None]


class _Track:
    """One domain. What leaves the fine ring is thinned to the highest power of each minute: a peak is never lost."""

    def __init__(self) -> None:
        self._fine: deque[Sample] = deque()
        self._coarse: deque[Sample] = deque(maxlen=COARSE_SAMPLES)

    def add(self, sample: Sample) -> None:
        if self._fine and sample.unix_s < self._fine[-1].unix_s + FINE_S:
            return
        self._fine.append(sample)
        if len(self._fine) > FINE_SAMPLES:
            self._thin(self._fine.popleft())

    def _thin(self, sample: Sample) -> None:
        newest = self._coarse[-1] if self._coarse else None
        if newest is None or newest.unix_s // COARSE_S != sample.unix_s // COARSE_S:
            self._coarse.append(sample)
        elif (sample.power_w or 0.0) > (newest.power_w or 0.0):
            self._coarse[-1] = sample

    def columns(self) -> Columns:
        rows = [astuple(sample) for sample in (*self._coarse, *self._fine)]
        unix_s, power_w, budget_w, counted_w = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [])
        return Columns(unix_s=unix_s, power_w=power_w, budget_w=budget_w, counted_w=counted_w)


class History:
    """Bounded: a domain that the newest snapshot does not name is forgotten."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Track] = {}

    def add(self, snapshot: WatchResponse) -> None:
        """One snapshot; within FINE_S of the one before it changes nothing, and neither does one that goes back."""
        domains = snapshot.cluster.domains[:DOMAINS]
        self._tracks = {domain.name: self._tracks.get(domain.name) or _Track() for domain in domains}
        for domain in domains:
            self._tracks[domain.name].add(_sample(snapshot.cluster.unix_ns / 1e9, domain))

    def columns(self, domain: str) -> Columns:
        """Empty for a domain that is not there."""
        return self._tracks.get(domain, _Track()).columns()


def _sample(unix_s: float, domain: PowerDomain) -> Sample:
    return Sample(round(unix_s, 2), number(domain.power_w), number(domain.budget_w), number(domain.counted_w))
