"""What must hold whatever happens, reckoned from the truth of the world and not from what the machine believes."""

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from gpuwarden.controller.isolation.events import (
    Act,
    Action,
    AskCheckpoint,
    Drain,
    Exclude,
    Line,
    Probe,
    Requeue,
    Resume,
)
from gpuwarden.controller.isolation.holder import PREFIX
from gpuwarden.controller.isolation.records import ActionClass, Answer, Mode
from gpuwarden.controller.isolation.signals import Signal
from gpuwarden.controller.schedulers.scheduler import Availability, Phase
from gpuwarden.sim.isolation.shell import ACTS
from gpuwarden.sim.isolation.world import KINDS, World

APART_S: Final = 300.0  # two requeues of one job


class Checker:
    """Sees every action as it is ordered. `broken` tells what did not hold, a sentence each."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.broken: list[str] = []
        self.acts = 0
        self._line: Line | None = None
        self._ours: dict[str, str] = {}  # nodes that the automation took out, and the reason it gave
        self._requeued_s: dict[tuple[str, int], float] = {}

    def see(self, now_s: float, action: Action) -> None:
        if isinstance(action, Line):
            self._line = action if action.performed else None
        elif isinstance(action, ACTS) and self.world is not None:
            self.acts += 1
            for what in self._wrong(action, self.world):
                self.broken.append(f"{now_s:.0f} s: {what}: {action}")
            self._line = None
            if isinstance(action, Requeue):
                self._requeued_s[action.job, action.restarts_seen] = now_s

    def _wrong(self, act: Act, world: World) -> Iterator[str]:
        line = self._line
        if line is None or line.kind != _KINDS[type(act)] or line.subject not in (f"job {getattr(act, 'job', '')}", getattr(act, "node", "")):
            yield "9: no ledger line before it"
            return
        asked = line.actor != "controller"
        yield from self._of_mode(act, asked, world)
        match act:
            case Drain():
                yield from self._of_drain(act, asked, world)
            case Requeue():
                yield from self._of_requeue(act, world)
            case Resume():
                yield from _of_resume(act, world)
            case Probe():
                yield from _of_probe(act, world)

    def _of_mode(self, act: Act, asked: bool, world: World) -> Iterator[str]:
        kind = ActionClass.RESTART if isinstance(act, Requeue | Exclude | AskCheckpoint) else ActionClass.ISOLATION
        mode = world.modes[kind]
        if not asked and mode in (Mode.OBSERVE, Mode.NOTIFY):
            yield f"6: acts in {mode.value}"
        if not asked and mode is Mode.APPROVE and not _approved(act, world):
            yield "6: nobody has approved"

    def _of_drain(self, act: Drain, asked: bool, world: World) -> Iterator[str]:
        node = world.shell.heard.nodes[act.node] if world.shell.heard is not None else None
        if node is None:
            yield "7: the scheduler is not known"
        elif node.reason and node.reason != act.reason:
            yield f"7: somebody else holds it: {node.reason}"
        if asked:
            return
        self._ours[act.node] = act.reason
        out = [name for name, reason in self._ours.items() if name == act.node or world.cluster.nodes[name].reason == reason]
        if len(out) > world.most:
            yield f"7: {len(out)} out, {world.most} allowed"
        if not _approved(act, world):
            yield from _starved(act, world)
        if not _borne_out(act.node, world):
            yield "8: condemned on one witness"

    def _of_requeue(self, act: Requeue, world: World) -> Iterator[str]:
        for (job, restarts), at_s in self._requeued_s.items():
            if job == act.job and restarts != act.restarts_seen and world.cluster.now_s - at_s < APART_S:
                yield "9: requeued twice within 5 min"

    def at_last(self, world: World) -> Iterator[str]:
        """Once all faults are over and everything had time to settle."""
        done = [effect for effect in world.cluster.effects if effect[0] != "resume"]
        for effect in {one for one in done if done.count(one) > 1}:
            yield f"9: done twice: {effect}"
        facts = world.shell.machine.facts
        for name, node in world.cluster.nodes.items():
            case = facts.cases.get(name)
            if node.reason.startswith(PREFIX) and (case is None or case.reason != node.reason):
                yield f"11: {name} is out for {node.reason!r}, and the controller knows nothing of it"
            if case is not None and case.released_by and node.reason == case.reason != "":
                yield f"7: {name} was to be given back, and is not"


def _approved(act: Act, world: World) -> bool:
    questions = world.shell.machine.facts.questions.values()
    return any(one.key == act.key and one.answer is Answer.APPROVED for one in questions)


def _starved(act: Drain, world: World) -> Iterator[str]:
    """A job there could not start again without it."""
    truth = world.shell.heard
    if truth is None:
        return
    usable = {name for name, node in truth.nodes.items() if node.availability is Availability.AVAILABLE and name != act.node}
    for job in (truth.jobs[name] for name in truth.nodes[act.node].jobs):
        left = [name for name in usable if name in job.nodes or not truth.nodes[name].jobs]
        if job.phase is Phase.RUNNING and len(left) < job.nodes_min:
            yield f"7: job {job.job} needs {job.nodes_min} nodes and has {len(left)} left"


def _borne_out(node: str, world: World) -> bool:
    """A test of it failed, or two different sensors tell of one part. Silence, programs' errors and what a cap explains do not count."""
    if node in world.failed_tests:
        return True
    known = [one for one in world.firing.values() if one.node == node and one.kind in KINDS and not _explained_by_cap(one, world)]
    if world.cluster.nodes[node].reason == "Kill task failed":
        return True
    return any(
        KINDS[a.kind].sensor != KINDS[b.kind].sensor and (a.part == b.part or KINDS[a.kind].wide or KINDS[b.kind].wide)
        for a, b in combinations(known, 2)
    )


def _explained_by_cap(signal: Signal, world: World) -> bool:
    if not KINDS[signal.kind].slowness or signal.node not in world.capped:
        return False
    return signal.since_s <= world.capped_until.get(signal.node, world.cluster.now_s) and signal.since_s >= world.capped[signal.node]


def _of_resume(act: Resume, world: World) -> Iterator[str]:
    node = world.shell.heard.nodes[act.node] if world.shell.heard is not None else None
    if node is not None and node.reason and node.reason != act.reason:
        yield f"7: somebody else holds it: {node.reason}"


def _of_probe(act: Probe, world: World) -> Iterator[str]:
    node = world.shell.heard.nodes[act.node] if world.shell.heard is not None else None
    if node is not None and node.jobs and not world.harmless:
        yield f"a test beside job {node.jobs[0]}"
    if not world.shell.offers[act.node]:
        yield "a test that nobody offers"


_KINDS: Final = {Drain: "drain", Resume: "resume", Requeue: "requeue", Exclude: "exclude", AskCheckpoint: "checkpoint", Probe: "probe"}
