"""What stands around the isolating machine, in virtual time: it performs, keeps, and brings outcomes back, and can die in between."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gpuwarden.controller.isolation.config import IsolationConfig
from gpuwarden.controller.isolation.events import (
    Act,
    Action,
    AskCheckpoint,
    CapsSeen,
    Drain,
    Event,
    Exclude,
    Forget,
    Keep,
    Outcome,
    Performed,
    Probe,
    Probed,
    ProbesOffered,
    Requeue,
    Resume,
    SchedulerLost,
    Started,
    TruthSeen,
)
from gpuwarden.controller.isolation.judging import ALL, Rails
from gpuwarden.controller.isolation.machine import Isolation
from gpuwarden.controller.isolation.probe import OfferedProbe
from gpuwarden.controller.isolation.records import Record, key_of
from gpuwarden.controller.schedulers.scheduler import Refused, Truth, Unreachable
from gpuwarden.sim.isolation.cluster import VirtualCluster

TEST_TAKES_S: Final = 60.0
TEST: Final = "matmul"
OUTCOMES_MOST: Final = 1000  # of one event
ACTS: Final = (Drain, Resume, Requeue, Exclude, AskCheckpoint, Probe)


class Death(Enum):
    """Where a controller dies, around its next act."""

    NEVER = "never"
    BEFORE = "before"  # the ledger has it, the scheduler does not
    AFTER = "after"  # the scheduler has it, and nobody has heard


@dataclass(frozen=True, slots=True)
class _Test:
    ends_s: float
    probe: Probe


class Shell:
    """`tests` says how a test of a node goes, which is `offered` by all; `watch` sees every action before it is performed."""

    def __init__(
        self, config: IsolationConfig, cluster: VirtualCluster, tests: Callable[[str], bool | None],
        watch: Callable[[float, Action], None], rails: Rails = ALL, test_takes_s: float = TEST_TAKES_S,
        offered: OfferedProbe | None = None,
    ) -> None:
        self.cluster, self.config, self._test_takes_s = cluster, config, test_takes_s
        self.kept: dict[str, Record] = {}
        self.death = Death.NEVER
        self.heard: Truth | None = None  # what it was last told of the scheduler
        self.capped: set[str] = set()
        self.checkpoints: list[str] = []  # jobs that were asked to
        self._tests, self._watch, self._rails = tests, watch, rails
        self._running: list[_Test] = []
        self.offers: dict[str, tuple[OfferedProbe, ...]] = dict.fromkeys(cluster.nodes, (offered or OfferedProbe(TEST),))
        self.start()

    def start(self) -> None:
        """Anew, from what was kept; a test that runs goes on."""
        self.machine = Isolation(self.config, self._rails)
        self.put(Started(tuple(self.kept.values())))
        for node in self.cluster.nodes:
            self.put(CapsSeen(node, node in self.capped))
            self.offer(node, self.offers[node])

    def offer(self, node: str, offered: tuple[OfferedProbe, ...]) -> None:
        """By the node's agent; nothing while that is not in session."""
        self.offers[node] = offered
        self.put(ProbesOffered(node, offered))

    def cap(self, node: str, capped: bool) -> None:
        """By our own power cap."""
        (self.capped.add if capped else self.capped.discard)(node)
        self.put(CapsSeen(node, capped))

    def put(self, event: Event) -> None:
        """The event, and all that comes of it at once."""
        waiting = deque([event])
        for _ in range(OUTCOMES_MOST):
            if not waiting:
                return
            for action in self.machine.step(self.cluster.now_s, waiting.popleft()):
                self._watch(self.cluster.now_s, action)
                if isinstance(action, Keep):
                    self.kept[key_of(action.record)] = action.record
                elif isinstance(action, Forget):
                    self.kept.pop(action.key, None)
                elif isinstance(action, ACTS):
                    if self.death is not Death.NEVER:
                        self._die(action)
                        return
                    waiting.append(self._performed(action))
        raise AssertionError("what it does never ends")

    def pass_time(self, now_s: float) -> None:
        """Tests end, the scheduler is asked; what it answers is a tick too."""
        self.cluster.pass_time(now_s)
        for test in [test for test in self._running if test.ends_s <= now_s]:
            self._running.remove(test)
            passed = self._tests(test.probe.node)
            said = {True: "the test passed", False: "the test failed", None: "there is no test for it"}[passed]
            self.put(Probed(test.probe.key, test.probe.node, passed, said))
        try:
            self.heard = self.cluster.truth()
            self.put(TruthSeen(self.heard, now_s))
        except Unreachable as why:
            self.heard = None
            self.put(SchedulerLost(str(why)))

    def _die(self, act: Act) -> None:
        if self.death is Death.AFTER:
            self._performed(act)
        self.death = Death.NEVER
        self.start()

    def _performed(self, act: Act) -> Performed:
        try:
            self._do(act)
        except Refused as why:
            return Performed(act.key, Outcome.REFUSED, str(why))
        except Unreachable as why:
            return Performed(act.key, Outcome.UNKNOWN, str(why))
        return Performed(act.key, Outcome.DONE)

    def _do(self, act: Act) -> None:
        match act:
            case Drain():
                self.cluster.drain(act.node, act.reason)
            case Resume():
                self.cluster.resume(act.node, act.reason)
            case Requeue():
                self.cluster.requeue(act.job, act.restarts_seen)
            case Exclude():
                self.cluster.exclude(act.job, act.nodes)
            case AskCheckpoint():
                self.checkpoints.append(act.job)
            case Probe():
                self._running.append(_Test(self.cluster.now_s + self._test_takes_s, act))
