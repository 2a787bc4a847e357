"""The report: faults counted, jobs' troubles and whether anybody was named, and what each job lost in C4's four rows as far as that is recorded."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gpuwarden.cli.report_faults import Fault
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.detector.job_spans import Presence
from gpuwarden.proto.control_pb2 import Action

STOPS: Final = ("rank_hang", "rank_dead", "job_hang")  # a job does not get on with these
ACTS: Final = tuple(kind.value for kind in WishKind)
LATE_S: Final = 60.0  # a job is seen to go by when its cards are next read; what began up to then may have ended it


@dataclass(frozen=True, slots=True)
class Trouble:
    """Findings about one job that overlap in time. `nodes`: those that any of them names."""

    job: str
    since_s: float
    said_s: float
    over_s: float | None
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobLost:
    """Of a job that was on its cards from `first_s` to `last_s`. Rows that nothing records are not here: `NOT_RECORDED` says which.

    `unexplained_s`: it was away, and no finding says why.
    """

    presence: Presence
    detection_s: float
    diagnosis_isolation_s: float
    unexplained_s: float
    explained: int
    requeued: int

    @property
    def span_s(self) -> float:
        return self.presence.last_s - self.presence.first_s

    @property
    def goodput_most(self) -> float:
        """What is left of its time at most."""
        lost_s = self.detection_s + self.diagnosis_isolation_s + self.unexplained_s
        return 1.0 - lost_s / self.span_s if self.span_s > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """None: that source was not named."""

    faults: tuple[Fault, ...] | None
    refused: tuple[str, ...]
    troubles: tuple[Trouble, ...]
    acts: dict[str, tuple[int, int]] | None  # by kind: performed, and "would have"
    jobs: tuple[JobLost, ...] | None

    @property
    def localised(self) -> int:
        """Of the troubles, those where a node was named."""
        return sum(bool(trouble.nodes) for trouble in self.troubles)


def made(
    faults: Sequence[Fault] | None, refused: Sequence[str], lines: Sequence[Action] | None, presences: Sequence[Presence] | None, since_ns: int, until_ns: int,
) -> Report:  # fmt: skip
    """Of faults that began, lines that were written and jobs that were there in the time."""
    mine = tuple(one for one in faults if since_ns <= one.since_s * 1e9 < until_ns) if faults is not None else None
    troubles = tuple(_troubles(mine or ()))
    return Report(
        mine, tuple(refused), troubles, _acts(lines) if lines is not None else None,
        tuple(_lost(one, troubles, lines or ()) for one in presences) if presences is not None else None,
    )


def _acts(lines: Iterable[Action]) -> dict[str, tuple[int, int]]:
    counts = Counter((line.kind, line.performed) for line in lines)
    return {kind: (counts[kind, True], counts[kind, False]) for kind in ACTS}


def _troubles(faults: Sequence[Fault]) -> Iterable[Trouble]:
    """`faults` by the time they began."""
    for job in sorted({one.job for one in faults if one.job and one.kind in STOPS}):
        waiting: Trouble | None = None
        for one in (fault for fault in faults if fault.job == job and fault.kind in STOPS):
            if waiting is not None and (waiting.over_s is None or one.since_s <= waiting.over_s):
                waiting = _joined(waiting, one)
                continue
            if waiting is not None:
                yield waiting
            waiting = Trouble(job, one.since_s, one.said_s, one.over_s, _named(one))
        if waiting is not None:
            yield waiting


def _joined(trouble: Trouble, fault: Fault) -> Trouble:
    over_s = None if trouble.over_s is None or fault.over_s is None else max(trouble.over_s, fault.over_s)
    nodes = tuple(dict.fromkeys((*trouble.nodes, *_named(fault))))
    return Trouble(trouble.job, trouble.since_s, min(trouble.said_s, fault.said_s), over_s, nodes)


def _named(fault: Fault) -> tuple[str, ...]:
    return (fault.node,) if fault.node else ()


def _lost(presence: Presence, troubles: Sequence[Trouble], lines: Sequence[Action]) -> JobLost:
    mine = [one for one in troubles if one.job == presence.job_id]
    detection_s = isolation_s = unexplained_s = 0.0
    explained, before_s = 0, presence.first_s
    for begin_s, end_s in presence.gaps:
        why = next((one for one in mine if before_s <= one.since_s <= begin_s + LATE_S and one.said_s <= end_s), None)
        if why is None:
            unexplained_s += end_s - begin_s
        else:
            explained, detection_s, isolation_s = explained + 1, detection_s + why.said_s - why.since_s, isolation_s + end_s - why.said_s
        before_s = end_s
    requeued = sum(line.kind == WishKind.REQUEUE.value and line.performed and line.subject == f"job {presence.job_id}" for line in lines)
    return JobLost(presence, detection_s, isolation_s, unexplained_s, explained, requeued)
