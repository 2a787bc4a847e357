"""Running jobs, judged from what their ranks say: whom a job waits for, which rank's end ended the others, who makes it slow."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gpuwarden.detector.adoption import Adopted, job_owner
from gpuwarden.detector.comm import live_claims, slow
from gpuwarden.detector.comm.live_dead import Death, death_in
from gpuwarden.detector.comm.live_hang import ENDED, STALLED, class_of, hang_of
from gpuwarden.detector.comm.live_job import RUNS, LiveJob
from gpuwarden.detector.comm.process import Process
from gpuwarden.detector.comm.verdict import Finding
from gpuwarden.detector.events import Action, Raw
from gpuwarden.detector.findings import Claim, Findings, Key
from gpuwarden.proto.decode import MAX_NAME_CHARS, Refused
from gpuwarden.proto.decode_comm import decode_comm

MOST_JOBS: Final = 2000
FORGET_S: Final = 600.0  # after a job's last word
SLOW_EVERY_S: Final = 5.0
SLOW_COST: Final = 0.15  # of the time between two operations: a job's ranks differ by some of it in sound running
SLOW_TURNS: Final = 3  # in which a rank is named more often than not, until that fires; it is over when it was named as often as it was not
MOST_TURNS: Final = 4
HANG_TICKS: Final = 3  # in a row: as a job goes on, some ranks have said so and others not yet


@dataclass(slots=True)
class _Watched:
    """`firing`: its findings, by what made them. `turns`: how much oftener than not a rank was named slow. `hung`: for how many ticks in a row this has been so."""

    job: LiveJob
    partition: int
    firing: dict[str, set[Key]] = field(default_factory=lambda: {live_claims.HANG: set(), live_claims.DEAD: set(), live_claims.SLOW: set()})
    slow_due_s: float = 0.0
    turns: dict[int, int] = field(default_factory=dict)
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
        watched.job.take(now_s, said)

    def tick(self, now_s: float, unix_ns: int) -> Iterator[Action]:
        for name, watched in list(self._jobs.items()):
            yield from self._set(watched, live_claims.DEAD, self._dead(watched, now_s), unix_ns)
            yield from self._set(watched, live_claims.HANG, self._hung(watched, now_s), unix_ns)
            if now_s >= watched.slow_due_s and watched.job.pace.fresh:
                watched.slow_due_s = now_s + SLOW_EVERY_S
                yield from self._set(watched, live_claims.SLOW, self._slow(watched), unix_ns)
            if now_s - watched.job.heard_s > FORGET_S:
                for source in watched.firing:
                    yield from self._set(watched, source, {}, unix_ns)
                del self._jobs[name]

    def _set(self, watched: _Watched, source: str, claims: dict[Key, Claim], unix_ns: int) -> Iterator[Action]:
        """Fires what is new; ends what is no longer so."""
        firing = watched.firing[source]
        for key, claim in claims.items():
            if key not in firing:
                yield self._findings.fire(claim, unix_ns)
        yield from self._findings.resolve_all([key for key in sorted(firing) if key not in claims], unix_ns)
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
        if hang is None:
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
        for number in {*named, *watched.turns}:
            was = watched.turns.get(number, 0)
            watched.turns[number] = min(MOST_TURNS, was + 1) if number in named else max(0, was - 1)
        firing = {number for number in job.ranks if live_claims.slow_key(job, number) in watched.firing[live_claims.SLOW]}
        claims = dict[Key, Claim]()
        for number in sorted({*named, *firing}):
            turns = watched.turns.get(number, 0)
            if turns >= SLOW_TURNS or (number in firing and turns > 0):
                claims[live_claims.slow_key(job, number)] = live_claims.slow(job, named.get(number), number)
        return claims


def _blamed(job: LiveJob, finding: Finding, now_s: float) -> list[tuple[Finding, int, str]]:
    """With the class of each. Of several that may wait for each other, those that do not run wait for nobody."""
    named = [(finding, number, class_of(job, number, now_s, finding)) for number in finding.ranks if number in job.ranks]
    return [one for one in named if one[2] in (STALLED, ENDED)] or named


def _by_key(claims: Iterable[Claim]) -> dict[Key, Claim]:
    return {claim.key: claim for claim in claims}
