"""Running jobs, judged from what their ranks say: whom a job waits for, which rank's end ended the others, who makes it slow."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, assert_never

from gpuwarden.core.nccl.process import Process
from gpuwarden.detector.adoption import Adopted, job_owner
from gpuwarden.detector.comm import live_claims, live_slow, live_training, slow
from gpuwarden.detector.comm.again import Again
from gpuwarden.detector.comm.live_dead import Death, death_in
from gpuwarden.detector.comm.live_hang import ENDED, STALLED, class_of, hang_of
from gpuwarden.detector.comm.live_job import RUNS, LiveJob
from gpuwarden.detector.comm.live_ras import LiveRas
from gpuwarden.detector.comm.live_slow import LiveSlow
from gpuwarden.detector.comm.table import MOST_OPERATIONS
from gpuwarden.detector.comm.training import Training
from gpuwarden.detector.comm.verdict import Finding
from gpuwarden.detector.events import Action, Raw
from gpuwarden.detector.findings import Claim, Findings, Key
from gpuwarden.proto.decode import MAX_NAME_CHARS, Refused
from gpuwarden.proto.decode_comm import Asked, Progressed, Said, Timed, decode_comm

MOST_JOBS: Final = 2000
ALL_OPERATIONS: Final = 20_000_000  # of all jobs that NCCL Inspector tells of: 80 to 160 MB
FORGET_S: Final = 600.0  # after a job's last word
SLOW_EVERY_S: Final = 5.0
SLOW_COST: Final = 0.15  # of the time between two operations: a job's ranks differ by some of it in sound running
TIMES, RAS_DEAD, RAS_HANG, TRAINING = "times", "ras dead", "ras hang", "training"
KINDS: Final = frozenset({
    live_claims.HANG, live_claims.UNCLEAR, live_claims.DEAD, live_claims.SLOW, live_claims.LEVEL, live_slow.RANK, live_slow.HOST, live_slow.NETWORK, live_slow.JOB,
    live_training.NOT_FINITE, live_training.SPIKE, live_training.STANDS,
})  # fmt: skip
SOURCES: Final = (live_claims.HANG, live_claims.DEAD, live_claims.SLOW, TIMES, RAS_DEAD, RAS_HANG, TRAINING)
HANG_TICKS: Final = 3  # in a row: as a job goes on, some ranks have said so and others not yet


@dataclass(slots=True)
class _Watched:
    """`firing`: its findings, by what made them. `late`: ranks that are named slow again. `hung`: for how many ticks in a row this has been so."""

    job: LiveJob
    partition: int
    slow: LiveSlow = field(default_factory=LiveSlow)
    ras: LiveRas = field(default_factory=LiveRas)
    training: Training = field(default_factory=Training)
    progress_due_s: float = 0.0
    firing: dict[str, set[Key]] = field(default_factory=lambda: {source: set() for source in SOURCES})
    slow_due_s: float = 0.0
    late: Again[int] = field(default_factory=Again)
    hung: dict[Key, int] = field(default_factory=dict)
    death: Death | None = None


class CommWatch:
    """Part of the detector's machine. Records are judged once: repeats are passed over, gaps are counted."""

    def __init__(self, findings: Findings, adopted: Adopted) -> None:
        self._findings, self._adopted = findings, adopted
        self._jobs = dict[str, _Watched]()
        self.taken = 0
        self.repeated = 0
        self.lost = 0

    @property
    def jobs_known(self) -> int:
        return len(self._jobs)

    @property
    def jobs(self) -> Collection[str]:
        return self._jobs.keys()

    def let_go(self, partitions: Collection[int]) -> int:
        """Jobs of partitions other than these are another detector's from now on, with what fires on them; how many."""
        gone = [name for name, watched in self._jobs.items() if watched.partition not in partitions]
        for name in gone:
            self._adopted.let_go(job_owner(name))
            self._findings.let_go(key for keys in self._jobs.pop(name).firing.values() for key in keys)
        return len(gone)

    def take(self, now_s: float, raw: Raw) -> None:
        """Raises Refused."""
        said = decode_comm(raw.payload)
        if raw.key != said.job:
            raise Refused("job_id", f"is {said.job[:MAX_NAME_CHARS]!r}, the record's key is {raw.key[:MAX_NAME_CHARS]!r}")
        watched = self._jobs.get(said.job)
        if watched is None:
            if len(self._jobs) >= MOST_JOBS:
                raise Refused("job_id", f"is one more than {MOST_JOBS} jobs")
            watched = self._jobs[said.job] = _Watched(LiveJob(said.job, now_s), raw.partition)
            self._adopted.take_up(now_s, job_owner(said.job))
        lost = watched.job.lost(said)
        if lost is None:
            self.repeated += 1
            return
        self.taken += 1
        self.lost += lost
        if said.node == watched.training.node:
            watched.training.alive_s = now_s
        match said:
            case Progressed():
                watched.job.heard_s = now_s
                watched.training.take(now_s, said.node, said.progress)
            case Said():
                watched.job.take(now_s, said)
            case Timed():
                watched.job.heard_s = now_s
                watched.slow.take(now_s, Process(said.node, said.pid), said.times, min(MOST_OPERATIONS, ALL_OPERATIONS // len(self._jobs)))
            case Asked():
                watched.job.heard_s = now_s
                watched.ras.take(now_s, said.ras)
            case _:
                assert_never(said)

    def tick(self, now_s: float, unix_ns: int) -> Iterator[Action]:
        for name, watched in list(self._jobs.items()):
            yield from self._training(watched, now_s, unix_ns)
            dead, hung = watched.ras.claims(now_s, watched.job, watched.training.pause(now_s) is not None)
            yield from self._set(watched, live_claims.DEAD, self._dead(watched, now_s), unix_ns)
            yield from self._set(watched, RAS_DEAD, dead, unix_ns)
            yield from self._set(watched, live_claims.HANG, self._hung(watched, now_s), unix_ns)
            yield from self._set(watched, RAS_HANG, hung, unix_ns)
            if now_s >= watched.slow_due_s and watched.job.pace.fresh:
                watched.slow_due_s = now_s + SLOW_EVERY_S
                yield from self._set(watched, live_claims.SLOW, self._slow(watched), unix_ns)
            if watched.slow.judged(now_s, name):
                yield from self._set(watched, TIMES, watched.slow.claims, unix_ns)
            if now_s - watched.job.heard_s > FORGET_S:
                for source in watched.firing:
                    yield from self._set(watched, source, {}, unix_ns)
                del self._jobs[name]

    def _training(self, watched: _Watched, now_s: float, unix_ns: int) -> Iterator[Action]:
        training, name = watched.training, watched.job.name
        if training.step is None:
            return
        yield from self._set(watched, TRAINING, live_training.claims(name, training, now_s), unix_ns)
        if now_s >= watched.progress_due_s:
            watched.progress_due_s = now_s + live_training.PROGRESS_S
            yield live_training.progress(name, training, now_s, unix_ns)

    def _set(self, watched: _Watched, source: str, claims: dict[Key, Claim], unix_ns: int) -> Iterator[Action]:
        """Fires what is new; ends what is no longer so. What another source tells as well is told with both words, and goes on with either."""
        firing = watched.firing[source]
        others = {key for other, of in watched.firing.items() if other != source for key in of}
        for key, claim in claims.items():
            if key in others and key not in firing:
                yield self._findings.confirm(claim, unix_ns)
            elif key not in firing:
                yield self._findings.fire(claim, unix_ns)
        yield from self._findings.resolve_all([key for key in sorted(firing) if key not in claims and key not in others], unix_ns)
        watched.firing[source] = set(claims)

    def _dead(self, watched: _Watched, now_s: float) -> dict[Key, Claim]:
        """Until the rank runs again: those that bore witness end as well."""
        job = watched.job
        if watched.death is None or not all(number in job.ranks and job.ranks[number].end != RUNS for number in watched.death.ranks):
            watched.death = death_in(job, now_s)
        return _by_key(live_claims.dead(job, watched.death, number) for number in watched.death.ranks) if watched.death is not None else {}

    def _hung(self, watched: _Watched, now_s: float) -> dict[Key, Claim]:
        job = watched.job
        hang = hang_of(job, now_s, job.patience.patience_s)
        if hang is None or watched.training.pause(now_s) is not None:
            watched.hung = {}
            return {}
        named = [one for finding in hang.verdict.findings for one in _blamed(job, finding, now_s)]
        told = named
        if watched.firing[live_claims.DEAD]:  # that is why they wait
            told = [one for one in named if one[2] != ENDED]
        claims = _by_key(live_claims.hang(job, hang, finding, number, kind) for finding, number, kind in told) if named else _by_key([live_claims.level(job, hang)])
        watched.hung = {key: watched.hung.get(key, 0) + 1 for key in claims}
        return {key: claim for key, claim in claims.items() if watched.hung[key] >= HANG_TICKS}

    def _slow(self, watched: _Watched) -> dict[Key, Claim]:
        job = watched.job
        processes = {number: Process(rank.node, rank.pid) for number, rank in job.ranks.items() if rank.end == RUNS}
        verdict = slow.verdict_on(job.pace.timings(processes), SLOW_COST)
        named = {number: finding for finding in verdict.findings if finding.syndrome == slow.LATE for number in finding.ranks}
        firing = watched.late.turn(named)
        return _by_key(live_claims.slow(job, named.get(number), number) for number in sorted(firing) if number in job.ranks)


def _blamed(job: LiveJob, finding: Finding, now_s: float) -> list[tuple[Finding, int, str]]:
    """With the class of each. Of several that may wait for each other, those that do not run wait for nobody."""
    named = [(finding, number, class_of(job, number, now_s, finding)) for number in finding.ranks if number in job.ranks]
    return [one for one in named if one[2] in (STALLED, ENDED)] or named


def _by_key(claims: Iterable[Claim]) -> dict[Key, Claim]:
    return {claim.key: claim for claim in claims}
