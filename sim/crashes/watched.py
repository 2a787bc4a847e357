"""A month of the same job under gpuwarden: the real isolating machine, and a scheduler and people in virtual time."""

import heapq
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Final

from gpuwarden.controller.isolation.config import GroupConfig, IsolationConfig
from gpuwarden.controller.isolation.events import Action, Approve, Drain, Probe, SignalHeard, Uncordon
from gpuwarden.controller.isolation.probe import OfferedProbe
from gpuwarden.controller.isolation.records import Answer
from gpuwarden.controller.isolation.signals import Scope, Signal
from gpuwarden.controller.schedulers.scheduler import Phase
from gpuwarden.controller.scheduling import EVERY_S
from gpuwarden.sim.crashes.crash import STOOD, Crash, Seen, drawn
from gpuwarden.sim.crashes.inputs import Stated, hold_s, named_ratio
from gpuwarden.sim.crashes.lost import Instants, Lost, Training
from gpuwarden.sim.crashes.paper import GPUS, GPUS_A_NODE, MONTH_S
from gpuwarden.sim.isolation.cluster import VirtualJob, cluster_of
from gpuwarden.sim.isolation.shell import TEST, Shell

NODES: Final = GPUS // GPUS_A_NODE
JOB: Final = "1"
FALSE_LASTS_S: Final = 300.0
BUSY_S: Final = 30.0  # rounds are as close as the controller's for so long after a finding or a test; later nothing hangs on them
SELDOM_S: Final = 120.0
QUIET_S: Final = 1800.0
MOMENT_S: Final = 0.01
OPERATOR: Final = "an operator: broken"


class Watched:
    """`lost` is complete once `run` returns."""

    def __init__(self, interval_s: float, stated: Stated, chance: Random) -> None:
        names = [f"n{number}" for number in range(NODES + stated.spares)]
        self.lost, self._training, self._stated, self._chance = Lost(), Training(interval_s), stated, chance
        self._named_ratio = named_ratio(chance)
        self._cluster = cluster_of(names)
        self._job = VirtualJob(JOB, tuple(names[:NODES]), NODES, wanted=NODES)
        self._cluster.jobs[JOB] = self._job
        self._faulty, self._shown = set[str](), set[str]()
        self._trains, self._stirred_s = True, 0.0
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        config = IsolationConfig(groups=(GroupConfig("all", tuple(names), "auto", "auto", TEST),))
        self._shell = Shell(config, self._cluster, self._tested, self._see, test_takes_s=stated.test_s, offered=OfferedProbe(TEST, harmless=True))
        self._shell.pass_time(0.0)

    def run(self, crashes: int, false_findings: int) -> Lost:
        """So many in the month."""
        crashing, alarming = Instants(crashes, self._chance), Instants(false_findings, self._chance)
        while (at_s := min(crash_s := crashing.next_s(self._now_s), alarming.next_s(self._now_s))) != float("inf"):
            if not self._trained_until(at_s):
                self._undone()
                self._until_it_trains(self._now_s)
            elif at_s == crash_s:
                crashing.take()
                self._crash()
            else:
                alarming.take()
                self._alarm()
        return self.lost

    @property
    def _now_s(self) -> float:
        return self._cluster.now_s

    def _crash(self) -> None:
        crash, since_s = drawn(self._job.nodes, self._named_ratio, self._stated, self._chance), self._now_s
        self.lost.crashes += 1
        self._undone()
        if crash.node:
            self._faulty.add(crash.node)
        if crash.shown:
            self._shown.add(crash.node)
        self._round(since_s + crash.after_s)
        seen_s = self._now_s
        self.lost.add("detection", since_s, seen_s)
        ends = [self._say(node, seen, since_s) for node, seen in crash.findings]
        self._until_moved(crash, seen_s + self._stated.person_s)
        self._until_it_trains(seen_s)
        for (_, seen), end in zip(crash.findings, ends, strict=True):
            self._do(self._now_s + (0.0 if seen[1] is Scope.RANK else self._stated.repair_s), end)
        if crash.node:
            self._do(self._now_s + self._stated.repair_s, lambda: self._mended(crash.node))

    def _until_moved(self, crash: Crash, person_s: float) -> None:
        """By the machine; if that has not come to it until a person is through with it, by that."""
        restarts = self._job.restarts
        while self._job.restarts == restarts and self._now_s < person_s:
            self._round(self._next_round_s(person_s, SELDOM_S))
        if self._job.restarts == restarts:
            self._by_person(crash)

    def _by_person(self, crash: Crash) -> None:
        """Who also answers what was asked."""
        self.lost.by_person += 1
        if crash.node and not self._cluster.nodes[crash.node].reason:
            self._cluster.nodes[crash.node].reason = OPERATOR
        for question in [one.id for one in self._shell.machine.facts.questions.values() if one.answer is Answer.OPEN]:
            self._shell.put(Approve(0, "an operator", question))
        if self._job.phase is Phase.RUNNING:
            self._cluster.stop(self._job)

    def _until_it_trains(self, since_s: float) -> None:
        """From whenever it stopped, or something was seen, until it gets on."""
        while not self._trains:
            self._cluster.hold_s = hold_s(self._chance)
            while self._job.phase is not Phase.RUNNING:
                due_s = self._job.since_s + self._cluster.hold_s + MOMENT_S
                self._round(due_s if due_s > self._now_s else self._now_s + SELDOM_S)
            self.lost.add("diagnosis_isolation", since_s, self._now_s)
            begun_s = since_s = self._now_s
            self._trains = self._trained_until(begun_s + self._stated.reinit_s)
            self.lost.add("reinit", begun_s, self._now_s)
            since_s = self._now_s
        self._training.from_s = self._now_s

    def _undone(self) -> None:
        """It does not train any more."""
        now_s = self._now_s
        self.lost.add("post_checkpoint", now_s - self._training.undone_s(now_s), now_s)
        self._trains = False

    def _alarm(self) -> None:
        """A finding of a job that is well."""
        self.lost.false_findings += 1
        node = self._chance.choice(self._job.nodes)
        if self._chance.random() < self._stated.wrong_ratio:
            self._shown.add(node)
        end = self._say(node, STOOD, self._now_s)

        def over() -> None:
            end()
            self._shown -= {node} - self._faulty

        self._do(self._now_s + FALSE_LASTS_S, over)

    def _mended(self, node: str) -> None:
        """By people, who give it back and let the job use it again: failed tests have made it a lemon meanwhile, and an exclusion does not end by itself."""
        self._faulty.discard(node)
        self._shown.discard(node)
        self._job.excluded = tuple(one for one in self._job.excluded if one != node)
        if self._cluster.nodes[node].reason == OPERATOR:
            self._cluster.nodes[node].reason = ""
        elif self._cluster.nodes[node].reason:
            self._shell.put(Uncordon(0, "an operator", node))

    def _say(self, node: str, seen: Seen, since_s: float) -> Callable[[], None]:
        """What is returned ends it."""
        kind, scope, part = seen
        id = f"{node}/{kind}@{since_s:.0f}"
        self._stirred_s = self._now_s
        self._shell.put(SignalHeard(Signal(id, kind, node, scope, part, True, since_s, job=JOB if scope is Scope.RANK else "")))
        return lambda: self._shell.put(SignalHeard(Signal(id, kind, node, scope, part, False, since_s)))

    def _tested(self, node: str) -> bool:
        if node in self._job.nodes:
            self._stirred_s = self._now_s
        return node not in self._shown

    def _see(self, now_s: float, action: Action) -> None:
        if isinstance(action, Drain) and action.node not in self._faulty:
            self.lost.false_drains += 1
        if isinstance(action, Probe) and action.node in self._job.nodes:
            self._do(now_s + self._stated.test_s, lambda: None)  # a round as it ends
            self._waited_for_test(now_s)

    def _waited_for_test(self, now_s: float) -> None:
        """It takes a card from the job, and all others wait."""
        if self._trains:
            self.lost.add("diagnosis_isolation", now_s, now_s + self._stated.test_s)
            self._training.from_s += self._stated.test_s

    def _trained_until(self, until_s: float) -> bool:
        """False, and earlier, if somebody stops it."""
        while self._now_s < until_s and self._job.phase is Phase.RUNNING:
            self._round(self._next_round_s(until_s, QUIET_S if self._shell.machine.facts.cases else MONTH_S))
        return self._job.phase is Phase.RUNNING

    def _next_round_s(self, until_s: float, seldom_s: float) -> float:
        """`seldom_s`: from one to the next while nothing happens. Where nobody is accused or out nothing can come of one."""
        due_s = min(until_s, self._later[0][0]) if self._later else until_s
        return max(self._now_s, min(due_s, self._now_s + (EVERY_S if self._now_s - self._stirred_s < BUSY_S else seldom_s)))

    def _do(self, at_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (at_s, next(self._numbers), what))

    def _round(self, until_s: float) -> None:
        self._shell.pass_time(until_s)
        while self._later and self._later[0][0] <= until_s:
            heapq.heappop(self._later)[2]()
