"""What the machine keeps to in every mode and whatever it is told."""

from dataclasses import replace
from itertools import pairwise

import pytest
from scenarios.story import Story, Telling, stories

from gpuwarden.controller.isolation.config import GroupConfig, IsolationConfig
from gpuwarden.controller.isolation.events import (
    Drain,
    Outcome,
    Performed,
    Requeue,
    SignalHeard,
    Tell,
    Tick,
    TruthSeen,
)
from gpuwarden.controller.isolation.machine import Isolation
from gpuwarden.controller.isolation.signals import Scope, Signal
from gpuwarden.controller.isolation.taking import SIGNALS_MOST
from gpuwarden.controller.schedulers.scheduler import Availability, JobTruth, Kind, NodeTruth, Phase, Truth

JOB = JobTruth("7", Phase.RUNNING, Kind.BATCH, ("n1", "n2"), 0, 2, True)
ACTS = ("drain ", "requeue ", "keep job", "ask job", "test ", "not now")


def signal(kind: str, node: str = "n1", id: str = "f", since_s: float = 0.0) -> SignalHeard:
    return SignalHeard(Signal(f"{id}{kind}", kind, node, Scope.GPU, "GPU-0", True, since_s))


def told(nodes: int = 4) -> TruthSeen:
    return TruthSeen(Truth({f"n{number}": NodeTruth(f"n{number}", Availability.AVAILABLE) for number in range(1, nodes + 1)}, {}), 0.0)


def acting(blast_nodes: int = 2) -> Isolation:
    return Isolation(IsolationConfig((GroupConfig("all", ("n[1-9]",), "auto", "auto"),), blast_nodes=blast_nodes))


@pytest.mark.parametrize("title", [
    "A card falls off the bus under a job, and the job hangs",
    "A job that does not answer the request moves when the grace is over",
    "A storm of false alarms trips the breaker, and giving back goes on",
    "Interactive, array and heterogeneous jobs are asked about",
])
def test_in_observe_the_same_is_decided_word_for_word(title: str) -> None:
    """Up to the first word of a person, and but for tests, whose outcome nobody knows where none was run."""
    story = next(one for _, one in stories() if one.title == title)
    happens = tuple(line for line in story.happens if not line.startswith(("approve", "uncordon", "held by")))
    observed = tuple(line.replace(" auto", " observe") if line.startswith("cluster") else line for line in happens)
    auto, observe = (decided(replace(story, happens=one)) for one in (happens, observed))
    assert auto == observe
    assert any(" drain " in line for line in auto)


def decided(story: Story) -> list[str]:
    lines = (line.replace("would: ", "") for line in Telling().run(story))
    return [line for line in lines if line.split(" ", 1)[1].startswith(ACTS) and " test " not in line]


def test_observe_is_the_default_mode() -> None:
    machine = Isolation(IsolationConfig())
    machine.step(0.0, told())
    actions = [*machine.step(1.0, signal("xid_79")), *machine.step(2.0, signal("gpu_nvlink_down"))]
    assert not [one for one in actions if isinstance(one, Drain)]
    assert machine.facts.cases["n1"].shadow


def test_a_silent_node_is_shown_as_stale_and_moves_nowhere() -> None:
    machine = acting()
    machine.step(0.0, told())
    machine.step(1.0, signal("node_stale"))
    assert (machine.facts.shown("n1"), machine.facts.state("n1").value, machine.facts.shown("n2")) == ("stale", "healthy", "healthy")


def test_a_flood_of_findings_is_bounded_and_said() -> None:
    machine = acting()
    machine.step(0.0, told())
    for number in range(3 * SIGNALS_MOST):
        machine.step(1.0, signal("nic_errors", id=f"{number}"))
        machine.step(1.0, signal("nic_errors", node=f"ghost{number}"))
    assert len(machine.facts.signals["n1"]) == len(machine.facts.cases["n1"].signals) == SIGNALS_MOST
    assert set(machine.facts.cases) == {"n1"}, "a node that the scheduler does not know has no case"


def test_time_does_not_go_back() -> None:
    machine = acting()
    machine.step(100.0, told())
    machine.step(50.0, Tick())
    assert machine.facts.now_s == 100.0


def test_a_node_whose_name_cannot_be_one_is_left_out_and_said() -> None:
    machine = acting()
    truth = Truth({"n1": NodeTruth("n1", Availability.AVAILABLE), "n2;reboot": NodeTruth("n2;reboot", Availability.AVAILABLE)}, {})
    said = machine.step(0.0, TruthSeen(truth, 0.0))
    assert "n2;reboot" in str(said)
    assert machine.facts.truth is not None
    assert set(machine.facts.truth.nodes) == {"n1"}


def test_a_job_that_runs_elsewhere_by_now_is_not_moved_again_for_what_is_left_of_it() -> None:
    """Its last pods on a silent node do not end, which Kubernetes does not wait for."""
    machine, requeue, left = requeued(now_s := 1200.0)
    machine.step(now_s + 6, Performed(requeue.key, Outcome.DONE))
    anew = replace(JOB, nodes=("n2", "n3"), restarts=1)
    for later_s in range(10, 3600, 10):
        seen = machine.step(now_s + later_s, with_job(anew, now_s + later_s, n1=replace(left, availability=Availability.DOWN)))
        assert not [one for one in seen if isinstance(one, Requeue)]


def test_what_is_put_off_is_asked_again_ever_more_seldom_and_then_a_person_is_told() -> None:
    machine, requeue, left = requeued(now_s := 1200.0)
    asked_s, people = [0.0], list[Tell]()
    for later_s in range(0, 3600, 10):
        at_s, answered = now_s + 5 + later_s, asked_s[-1] == later_s
        done = machine.step(at_s, Performed(requeue.key, Outcome.LATER, "a budget says no")) if answered else []
        done += machine.step(at_s, with_job(JOB, at_s, n1=left))
        if any(isinstance(one, Requeue) for one in done):
            asked_s.append(later_s + 10.0)  # it is answered then
        people += [one for one in done if isinstance(one, Tell) and "needs a person" in one.title]
    assert [after - before for before, after in pairwise(asked_s)] == [40.0, 70.0, 130.0, 250.0]
    assert "it was put off, 5 times: a budget says no" in people[0].text


def requeued(now_s: float) -> tuple[Isolation, Requeue, NodeTruth]:
    """Job 7 has just been ordered off n1, which is out for our reason."""
    machine = acting()
    for asked_s in (0.0, now_s):
        machine.step(asked_s, with_job(JOB, asked_s, n1=NodeTruth("n1", Availability.AVAILABLE, jobs=("7",))))
    machine.step(now_s, signal("gpu_missing"))
    (drain,) = (one for one in machine.step(now_s, signal("gpu_nvlink_down")) if isinstance(one, Drain))
    machine.step(now_s + 1, Performed(drain.key, Outcome.DONE))
    left = NodeTruth("n1", Availability.DRAINING, drain.reason, ("7",))
    (requeue,) = (one for one in machine.step(now_s + 5, with_job(JOB, now_s + 5, n1=left)) if isinstance(one, Requeue))
    return machine, requeue, left


def with_job(job: JobTruth, asked_s: float, n1: NodeTruth) -> TruthSeen:
    return TruthSeen(Truth({**told().truth.nodes, "n1": n1}, {job.job: job}), asked_s)
