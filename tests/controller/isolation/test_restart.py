"""The controller killed at every single action in turn: what was to be done is done once, not twice and not never."""

import pytest

from gpuwarden.controller.isolation.config import GroupConfig, IsolationConfig
from gpuwarden.controller.isolation.events import Action, SignalHeard
from gpuwarden.controller.isolation.lifecycle import State
from gpuwarden.controller.isolation.signals import Scope, Signal
from gpuwarden.sim.isolation.cluster import VirtualJob, cluster_of
from gpuwarden.sim.isolation.shell import Shell

FIRST_S = 1200.0


class KilledError(Exception):
    """As by SIGKILL."""


class Life:
    """A card is lost under a job; the controller is killed as it is about to perform its action number `last`."""

    def __init__(self, last: int) -> None:
        self._left = last
        self.cluster = cluster_of(["n1", "n2", "n3", "n4"])
        self.cluster.jobs["7"] = VirtualJob("7", ("n1", "n2"), 2, wanted=2)
        self._live = False
        config = IsolationConfig((GroupConfig("all", ("n[1-4]",), "auto", "auto"),))
        self.shell = Shell(config, self.cluster, lambda node: True, self._watch)
        self._pass(FIRST_S, 60.0)
        self._live = True

    def _watch(self, now_s: float, action: Action) -> None:
        if self._live:
            self._left -= 1
            if self._left == 0:
                raise KilledError

    def run(self) -> "Life":
        for kind, scope, part in (("xid_79", Scope.GPU, "GPU-0"), ("rank_hang", Scope.RANK, "0")):
            self._say(SignalHeard(Signal(kind, kind, "n1", scope, part, True, FIRST_S)))
        self._pass(FIRST_S + 900.0, 10.0)
        return self

    def _say(self, heard: SignalHeard) -> None:
        """What was not taken in is read again: its offset was not committed."""
        try:
            self.shell.put(heard)
        except KilledError:
            self.shell.start()
            self.shell.put(heard)

    def _pass(self, until_s: float, step_s: float) -> None:
        while self.cluster.now_s < until_s:
            try:
                self.shell.pass_time(self.cluster.now_s + step_s)
            except KilledError:
                self.shell.start()

    @property
    def seen(self) -> int:
        """Actions, of a life that nobody ended."""
        return -self._left


def outcome(life: Life) -> tuple[list[str], str, int]:
    """What was done, where the job is now, and where the node."""
    done = [f"{verb} {name}" for verb, name, _ in life.cluster.effects]
    job = life.cluster.jobs["7"]
    return done, life.shell.machine.facts.state("n1").value, job.restarts if "n1" not in job.nodes else -1


WHOLE = Life(0).run()


def test_left_alone_it_drains_once_and_requeues_once() -> None:
    assert WHOLE.seen > 20
    assert outcome(WHOLE) == (["drain n1", "requeue 7"], State.REPAIRING.value, 1)


@pytest.mark.parametrize("last", range(1, WHOLE.seen + 1))
def test_killed_at_an_action_it_comes_to_the_same(last: int) -> None:
    life = Life(last).run()
    assert outcome(life) == outcome(WHOLE)
