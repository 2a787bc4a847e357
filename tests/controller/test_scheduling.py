"""The edge to the scheduler of jobs: on a real Slurm, and on a dry run that waits, fails or is flooded."""

import itertools
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from services.slurm import NODES
from services.slurm import Slurm as Cluster

from gpuwarden.controller.isolation.events import Outcome, Performed, SchedulerLost, TruthSeen
from gpuwarden.controller.schedulers.dry_run import DryRun
from gpuwarden.controller.schedulers.scheduler import Availability, Phase, Scheduler, Truth, Unreachable
from gpuwarden.controller.schedulers.slurm import Slurm
from gpuwarden.controller.scheduling import MOST_WAITING, Event, Scheduling

OURS = "gpuwarden: q1 fan"
E = TypeVar("E")


class Edge:
    """With what it has told; `room` cleared: its events find none."""

    def __init__(self, scheduler: Scheduler, every_s: float = 0.2) -> None:
        self.told: queue.Queue[Event] = queue.Queue()
        self.room = threading.Event()
        self.room.set()
        ticks = itertools.count()
        self.scheduling = Scheduling(scheduler, self._offer, lambda: float(next(ticks)), every_s)

    def _offer(self, event: Event) -> bool:
        if self.room.is_set():
            self.told.put(event)
        return self.room.is_set()

    def next(self, kind: type[E], true: Callable[[E], bool] = lambda event: True) -> E:
        while True:
            event = self.told.get(timeout=20.0)
            if isinstance(event, kind) and true(event):
                return event


@pytest.fixture
def edge_to() -> Iterator[Callable[..., Edge]]:
    opened = list[Edge]()

    def open_one(scheduler: Scheduler, every_s: float = 0.2) -> Edge:
        opened.append(Edge(scheduler, every_s))
        return opened[-1]

    yield open_one
    for edge in opened:
        edge.scheduling.close()


def test_on_a_real_slurm_orders_are_done_refused_or_unknown_and_the_truth_follows(
    slurm_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, edge_to: Callable[..., Edge]
) -> None:
    slurm_cluster.end_everything()
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm_cluster.env[name])
    job = slurm_cluster.submit("exec sleep 600", "--requeue", "--exclude=n2,n3,n4")
    slurm_cluster.tool("scontrol", "update", "NodeName=n2", "State=DRAIN", "Reason=admin: fan")
    edge = edge_to(Slurm(NODES, call_s=1.0))
    edge.next(TruthSeen, lambda seen: seen.truth.jobs[job].phase is Phase.RUNNING)
    order = edge.scheduling.order
    order("1", lambda slurm: slurm.drain("n1", OURS))
    order("2", lambda slurm: slurm.drain("n2", OURS))
    order("3", lambda slurm: slurm.requeue(job, 0))
    order("4", lambda slurm: slurm.exclude(job, ["n1"]))
    performed = [edge.next(Performed) for _ in range(4)]
    assert [(one.key, one.outcome) for one in performed] == list(
        zip("1234", (Outcome.DONE, Outcome.REFUSED, Outcome.DONE, Outcome.DONE), strict=True)
    )
    assert performed[1].said.startswith("node: n2 is drained already, for 'admin: fan'")
    seen = edge.next(TruthSeen, lambda seen: seen.truth.nodes["n1"].availability is Availability.DRAINED)
    assert (seen.truth.jobs[job].restarts, set(seen.truth.jobs[job].excluded)) == (1, set(NODES))
    slurm_cluster.daemons["slurmctld"].send_signal(signal.SIGSTOP)
    try:
        order("5", lambda slurm: slurm.resume("n1", OURS))
        assert edge.next(Performed) == Performed("5", Outcome.UNKNOWN, "sinfo: no answer within 1 s")
        assert edge.next(SchedulerLost).reason == "sinfo: no answer within 1 s"
    finally:
        slurm_cluster.daemons["slurmctld"].send_signal(signal.SIGCONT)
    order("6", lambda slurm: slurm.resume("n1", OURS))
    assert edge.next(Performed) == Performed("6", Outcome.DONE)


def test_an_order_that_comes_again_changes_nothing_more(edge_to: Callable[..., Edge]) -> None:
    dry = DryRun(NODES)
    edge = edge_to(dry)
    for _ in range(3):
        edge.scheduling.order("1", lambda scheduler: scheduler.drain("n1", OURS))
    assert {edge.next(Performed) for _ in range(3)} == {Performed("1", Outcome.DONE)}
    assert dry.truth().nodes["n1"].reason == OURS
    for _ in range(2):
        edge.scheduling.order("2", lambda scheduler: scheduler.resume("n1", OURS))
    assert [edge.next(Performed).outcome for _ in range(2)] == [Outcome.DONE, Outcome.REFUSED]


class Held(DryRun):
    """Whose every drain waits until it may go on."""

    def __init__(self) -> None:
        super().__init__(NODES)
        self.may, self.at_once, self.most_at_once = threading.Event(), 0, 0

    def drain(self, node: str, reason: str) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.may.wait(20.0)
        self.at_once -= 1
        super().drain(node, reason)


def test_orders_are_one_at_a_time_and_more_than_may_wait_are_refused(edge_to: Callable[..., Edge]) -> None:
    held = Held()
    edge = edge_to(held, every_s=3600.0)
    edge.next(TruthSeen)
    for key in range(MOST_WAITING + 3):  # one may be under way
        edge.scheduling.order(str(key), lambda scheduler: scheduler.drain("n1", OURS))
    assert edge.next(Performed, lambda one: one.key == str(MOST_WAITING + 2)).said == f"{MOST_WAITING} orders are waiting already"
    held.may.set()
    done = {edge.next(Performed, lambda one: one.outcome is Outcome.DONE).key for _ in range(MOST_WAITING)}
    assert len(done) == MOST_WAITING and held.most_at_once == 1
    edge.next(TruthSeen, lambda seen: seen.truth.nodes["n1"].availability is Availability.DRAINED)  # asked after the last, long before it is due


def test_an_outcome_is_offered_until_there_is_room(edge_to: Callable[..., Edge]) -> None:
    edge = edge_to(DryRun(NODES))
    edge.room.clear()
    edge.scheduling.order("1", lambda scheduler: scheduler.drain("n1", OURS))
    threading.Timer(0.5, edge.room.set).start()
    assert edge.next(Performed) == Performed("1", Outcome.DONE)


def test_what_it_holds_is_asked_also_while_orders_wait(edge_to: Callable[..., Edge]) -> None:
    edge = edge_to(DryRun(NODES), every_s=0.05)
    slow = threading.Event()
    for key in range(40):
        edge.scheduling.order(str(key), lambda scheduler: slow.wait(0.02) or scheduler.drain("n1", OURS))
    told = list[Event]()
    while sum(isinstance(event, Performed) for event in told) < 40:
        told.append(edge.told.get(timeout=20.0))
    asked = [event.asked_s for event in told if isinstance(event, TruthSeen)]
    assert len(asked) > 5 and asked == sorted(asked)


class Flaky(DryRun):
    def truth(self) -> Truth:
        raise Unreachable("x" * 1000) if self.lost else KeyError("a mistake of ours")

    lost = True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_one_that_is_lost_is_told_again_and_a_thread_that_ends_is_told_too(edge_to: Callable[..., Edge]) -> None:
    flaky = Flaky(NODES)
    edge = edge_to(flaky, every_s=0.05)
    assert {edge.next(SchedulerLost).reason for _ in range(3)} == {"x" * 300}
    flaky.lost = False
    edge.next(SchedulerLost, lambda lost: lost.reason == "the controller's own thread that asks it has ended")
