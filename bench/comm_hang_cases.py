"""Simulated jobs that hang: drawn from a seed, dumped as their processes would, read, judged, and counted in tables."""

import pickle
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from comm_judge import judged
from comm_slow_cases import SHAPES
from comm_truth import Part

from gpuwarden.core.nccl.ras import read as answered
from gpuwarden.detector.comm import hang, ras_hang
from gpuwarden.detector.comm.flight_dump import read
from gpuwarden.detector.comm.flight_folder import Dumps
from gpuwarden.detector.comm.verdict import DEAD, DEVICE, NO_LAUNCH, OUTSIDE, UNKNOWN, Finding, Verdict
from gpuwarden.sim.comm.flight import dumps
from gpuwarden.sim.comm.hung import AHEAD, DEAD_PROCESS, HANGS, STUCK_DEVICE, STUCK_OUTSIDE, Hang, HungJob
from gpuwarden.sim.comm.programs import programs
from gpuwarden.sim.comm.ras_answer import answer
from gpuwarden.sim.comm.shape import Shape

STEPS: Final = 2
DUMPS, RAS, BOTH = "dumps", "RAS", "dumps and RAS"
CLASSES: Final = {STUCK_OUTSIDE: OUTSIDE, STUCK_DEVICE: DEVICE, DEAD_PROCESS: DEAD}


@dataclass
class HangTally:
    """Mutable. `classes`: what each kind was called, by what was asked."""

    tables: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    classes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: list[tuple[HungJob, str]] = field(default_factory=list)
    cost_s: Counter[str] = field(default_factory=Counter)

    def add(self, job: HungJob) -> None:
        began_s = time.process_time()
        verdicts = {DUMPS: hang.verdict_on(Dumps({rank: read(pickle.dumps(dump)) for rank, dump in dumps(job)}, {}))}
        verdicts[RAS] = ras_hang.verdict_on([answered(answer(job, second)) for second in (0, 30)])
        verdicts[BOTH] = both([verdicts[DUMPS], verdicts[RAS]])
        self.cost_s.update({"reading and analyzer": time.process_time() - began_s, "cases": 1})
        kinds = " and ".join(sorted(one.kind for one in job.reached))
        for mix, verdict in verdicts.items():
            outcome = judged([part(job.shape, one, mix) for one in job.reached], verdict)
            self.tables[f"{mix}: {kinds}"][outcome] += 1
            if outcome == "wrong":
                self.wrong.append((job, mix))
            self._class(job, mix, verdict)

    def _class(self, job: HungJob, mix: str, verdict: Verdict) -> None:
        called = {finding.ranks: finding.kind for finding in verdict.findings}
        for one in job.reached:
            if (kind := called.get((one.rank,))) is not None:
                self.classes[f"{mix}: {one.kind}"]["right" if kind == CLASSES[one.kind] else UNKNOWN if kind == UNKNOWN else "wrong"] += 1


def part(shape: Shape, hang: Hang, mix: str) -> Part:
    """RAS counts no messages: whoever waits for one from a stuck process looks like that."""
    rest, tensor = divmod(hang.rank, shape.tensor)
    stages = shape.grid[rest // shape.pipeline, :, tensor].tolist()
    alone = mix != RAS or hang.kind == DEAD_PROCESS
    return Part(frozenset({hang.rank}), frozenset({hang.rank} if alone else stages), NO_LAUNCH, True)


def both(verdicts: Iterable[Verdict]) -> Verdict:
    """Of findings on the same ranks the one that knows more; and none that another says more closely."""
    found = dict[tuple[int, ...], Finding]()
    for one in (finding for verdict in verdicts for finding in verdict.findings):
        if one.ranks not in found or found[one.ranks].kind == UNKNOWN:
            found[one.ranks] = one
    return Verdict(tuple(one for one in found.values() if not any(set(other) < set(one.ranks) for other in found)), ())


def drawn(ranks: int, hangs: int, seed: int) -> HungJob:
    """Of several all come to bear: jobs in which one stops the job before the other can are drawn again."""
    chance = random.Random(f"hang {ranks} {hangs} {seed}")
    shape = chance.choice(SHAPES[ranks])
    length = min(map(len, programs(shape, STEPS)))
    while True:
        which = chance.sample(range(shape.ranks), hangs)
        first = chance.randrange(length // STEPS, length - 2 * AHEAD)
        job = HungJob(shape, tuple(Hang(chance.choice(HANGS), rank, first + chance.randrange(AHEAD)) for rank in which), STEPS)
        if len(job.reached) == hangs:
            return job
