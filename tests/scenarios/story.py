"""Stories: what happens, a line each, and after `----` what the isolating machine makes of it, a sentence each.

    == A title
    cluster n[1-6] auto blast_nodes=2      nodes, the mode of both classes, keys of the configuration; `heavy`: tests are not harmless, `untested`: there is none
    job 7 on n1,n2 needs 2
    +20m                                   time passes; the scheduler is asked every 10 s at first
    n1 GPU-0 xid_79                        a finding fires; with `over` at the end, it ends
    +1m
    held by spares                         rails without which this story goes otherwise
    ----
    20:00 n1: healthy to suspect (q1): ...

`python tests/scenarios/story.py` writes the answers anew: read what has changed before you keep it.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gpuwarden.controller.isolation.config import GroupConfig, IsolationConfig, SharedConfig
from gpuwarden.controller.isolation.events import (
    Action,
    Answered,
    Approve,
    ChooseMode,
    Cordon,
    Event,
    JobTold,
    Line,
    OwnerSeen,
    Probed,
    Reject,
    Requeue,
    SignalHeard,
    Tell,
    TenantsSeen,
    Uncordon,
)
from gpuwarden.controller.isolation.judging import ALL, Rails
from gpuwarden.controller.isolation.probe import OfferedProbe
from gpuwarden.controller.isolation.records import ActionClass, Activity, Mode
from gpuwarden.controller.isolation.signals import Scope, Signal
from gpuwarden.controller.power.hostlist import expand
from gpuwarden.controller.schedulers.scheduler import Kind, Phase
from gpuwarden.core.machine import Say
from gpuwarden.sim.isolation.cluster import VirtualJob, cluster_of
from gpuwarden.sim.isolation.shell import TEST, Death, Shell

HERE: Final = Path(__file__).parent
POLL_S: Final = 10.0
AWAKE_S: Final = 600.0  # after that, until something happens again, the scheduler is asked every minute
IDLE_S: Final = 60.0
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SCOPES: Final = (("GPU", Scope.GPU), ("mlx", Scope.NIC), ("rank", Scope.RANK), ("link", Scope.LINK))


@dataclass(frozen=True, slots=True)
class Story:
    """As it is written: `told` is what should come of it."""

    title: str
    happens: tuple[str, ...]
    told: tuple[str, ...]

    @property
    def rails(self) -> frozenset[str]:
        return frozenset(word for line in self.happens if line.startswith("held by ") for word in line.split()[2:])


class Telling:
    """One story as it goes on."""

    def __init__(self, rails: Rails = ALL) -> None:
        self._rails = rails
        self.told: list[str] = []
        self._broken: dict[str, bool | None] = {}
        self._since: dict[str, float] = {}  # when what fires began, by node, part and kind

    def run(self, story: Story) -> list[str]:
        for line in story.happens:
            words = line.split("#")[0].split()
            if words[:2] == ["held", "by"]:
                continue
            if words and words[0].startswith("+"):
                self._pass(words[0][1:])
            elif words:
                self._happens(words)
        return self.told

    def _pass(self, text: str) -> None:
        for_s = float(text[:-1]) * _SECONDS[text[-1]]
        begin_s, end_s = self.cluster.now_s, self.cluster.now_s + for_s
        while self.cluster.now_s < end_s:
            step_s = POLL_S if self.cluster.now_s < begin_s + AWAKE_S else IDLE_S
            self.shell.pass_time(min(end_s, self.cluster.now_s + step_s))

    def _happens(self, words: list[str]) -> None:
        verb = VERBS.get(words[0])
        if verb is not None:
            verb(self, words[1:])
        else:
            self.put(SignalHeard(self._signal(words)))

    def put(self, event: Event) -> None:
        self.shell.put(event)

    def _signal(self, words: list[str]) -> Signal:
        """NODE PART KIND [of JOB] [over]"""
        node, part, kind, *more = words
        scope = next((scope for prefix, scope in _SCOPES if part.startswith(prefix)), Scope.NODE)
        name, firing = f"{node}/{part}/{kind}", "over" not in more
        since_s = self._since.setdefault(name, self.cluster.now_s)
        if not firing:
            del self._since[name]
        part = "" if part == "node" else part.removeprefix("rank")
        job = more[1] if more[:1] == ["of"] else ""
        return Signal(f"{name}@{since_s:.0f}", kind, node, scope, part, firing, since_s, job=job, advice=_ADVICE.get(kind, ""))

    def begin(self, words: list[str]) -> None:
        """cluster NODES MODE [key=value ...] [switch=n1,n2] [opt_out=n1] [heavy] [untested]"""
        nodes, mode, *more = words
        probe = "" if "untested" in more else TEST
        config = IsolationConfig((GroupConfig("all", (nodes,), *mode.split("/") * (1 if "/" in mode else 2), probe),), blast_nodes=2, blast_share=0.0)
        for key, value in (one.split("=") for one in more if "=" in one):
            if key in ("switch", "rack"):
                config = replace(config, shared=(*config.shared, SharedConfig(key, tuple(value.split(",")))))
            elif key == "opt_out":
                config = replace(config, opt_out=(value,))
            else:
                config = replace(config, **{key: type(getattr(config, key))(float(value))})
        self.cluster = cluster_of(expand((nodes,)))
        self.shell = Shell(config, self.cluster, lambda node: self._broken.get(node, True), self.watch, self._rails, offered=OfferedProbe(TEST, harmless="heavy" not in more))

    def job(self, words: list[str]) -> None:
        """job ID on NODES [needs COUNT] [KIND] [kept] [stuck]"""
        id, _, nodes, *more = words
        names = tuple(expand(tuple(nodes.split(","))))
        needs = int(more[more.index("needs") + 1]) if "needs" in more else len(names)
        kind = next((kind for kind in Kind if kind.value in more), Kind.BATCH)
        self.cluster.jobs[id] = VirtualJob(id, names, needs, kind, "kept" not in more, since_s=self.cluster.now_s, wanted=len(names), stuck="stuck" in more)

    def told_of_job(self, words: list[str]) -> None:
        """says JOB ACTIVITY [at STEP] [saved]"""
        job, activity, *more = words
        step = int(more[more.index("at") + 1]) if "at" in more else None
        saved_s = self.cluster.now_s if "saved" in more else None
        restarts = self.cluster.jobs[job].restarts
        self.put(JobTold(job, restarts, Activity(activity), step, saved_s))

    def watch(self, now_s: float, action: Action) -> None:
        if sentence := _sentence(action):
            self.told.append(f"{clock(now_s)} {sentence}")

    def scheduler(self, words: list[str]) -> None:
        """scheduler down|back|mute|lies|honest|forbids|lags|current"""
        match words[0]:
            case "down" | "back":
                self.cluster.answers = words[0] == "back"
                self.cluster.mute = False
            case "mute":
                self.cluster.mute = True
            case "forbids":
                self.cluster.forbids = True
            case "lies" | "honest":
                self.cluster.lies = words[0] == "lies"
            case "lags":
                self.cluster.lagging = self.cluster.actual()
            case "current":
                self.cluster.lagging = None
            case word:
                raise ValueError(word)

    def controller(self, words: list[str]) -> None:
        """controller restarts | dies before|after (its next act)"""
        if words[0] == "restarts":
            self.shell.start()
        else:
            self.shell.death = Death(words[1])

    def drained(self, words: list[str]) -> None:
        """someone drains|resumes|fails NODE [REASON]"""
        verb, node, *reason = words
        self.cluster.nodes[node].reason = {"drains": " ".join(reason), "resumes": ""}[verb]

    def late_test(self, words: list[str]) -> None:
        """late NODE KEY passed|failed"""
        node, key, passed = words
        self.put(Probed(key, node, passed == "passed", f"the test {passed}"))

    def test(self, words: list[str]) -> None:
        """test NODE passes|fails|impossible"""
        self._broken[words[0]] = {"passes": True, "fails": False, "impossible": None}[words[1]]

    def agent(self, words: list[str]) -> None:
        """agent NODE offers nothing|a heavy test|a harmless test"""
        node, _, *what = words
        self.shell.offer(node, () if what == ["nothing"] else (OfferedProbe(TEST, "harmless" in what),))

    def phase(self, words: list[str]) -> None:
        """phase JOB PHASE"""
        self.cluster.jobs[words[0]].phase = Phase(words[1])
        if words[1] == "ended":
            self.cluster.jobs[words[0]].nodes = ()


VERBS: Final[dict[str, Callable[[Telling, list[str]], None]]] = {
    "cluster": Telling.begin,
    "job": Telling.job,
    "says": Telling.told_of_job,
    "scheduler": Telling.scheduler,
    "controller": Telling.controller,
    "someone": Telling.drained,
    "late": Telling.late_test,
    "test": Telling.test,
    "agent": Telling.agent,
    "phase": Telling.phase,
    "approve": lambda telling, words: telling.put(Approve(1, "ada", words[0])),
    "reject": lambda telling, words: telling.put(Reject(1, "ada", words[0])),
    "cordon": lambda telling, words: telling.put(Cordon(1, "ada", words[0], " ".join(words[1:]))),
    "uncordon": lambda telling, words: telling.put(Uncordon(1, "ada", words[0])),
    "mode": lambda telling, words: telling.put(ChooseMode(1, "ada", "all", ActionClass(words[0]), Mode(words[1]))),
    "capped": lambda telling, words: telling.shell.cap(words[0], True),
    "uncapped": lambda telling, words: telling.shell.cap(words[0], False),
    "owner": lambda telling, words: telling.put(OwnerSeen(words[0], words[1], "gave-up" in words)),
    "tenants": lambda telling, words: telling.put(TenantsSeen(words[0], {words[1]: tuple(words[2].split(","))})),
}
_ADVICE: Final = {"gpu_recovery_action": "Reset the card.", "xid_79": "Reboot the node."}


def clock(now_s: float) -> str:
    hours, seconds = divmod(int(now_s), 3600)
    return f"{hours}:{seconds // 60:02}:{seconds % 60:02}"


def _sentence(action: Action) -> str:
    """What a person would want to read of it; empty for what is only remembered."""
    match action:
        case Line(kind="outcome", performed=True):
            return ""
        case Line(kind="outcome"):
            return f"outcome: {action.reason}"
        case Line(kind="node"):
            return f"{action.subject}: {action.reason}"
        case Line():
            who = "" if action.actor == "controller" else f" [{action.actor}]"
            return f"{'' if action.performed else 'would: '}{action.reason if action.kind not in ('cordon', 'uncordon', 'mode') else f'{action.kind} {action.subject} {action.reason}'}{who}"
        case Requeue(checkpoint_before_s=float() as before_s):
            return f"... from a checkpoint of before {clock(before_s)}"
        case Tell(firing=True):
            return f"tells ({action.severity}): {action.title}"
        case Answered():
            return f"answers: {action.sentence if action.ok else f'no, {action.sentence}'}"
        case Say():
            return f"says: {action.sentence}"
        case _:
            return ""


def stories() -> Iterator[tuple[Path, Story]]:
    for path in sorted(HERE.glob("*.txt")):
        for part in re.split(r"(?m)^== ", path.read_text(encoding="utf-8"))[1:]:
            title, _, rest = part.partition("\n")
            happens, _, told = rest.partition("----\n")
            yield path, Story(title.strip(), tuple(happens.strip().splitlines()), tuple(told.strip().splitlines()))


def rewrite(path: Path, among: list[Story]) -> None:
    """The answers anew, the rest as it was."""
    head = re.split(r"(?m)^== ", path.read_text(encoding="utf-8"))[0]
    parts = ["\n".join((f"== {one.title}", *one.happens, "----", *Telling().run(one), "")) for one in among]
    path.write_text(head + "\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    for file in sorted({path for path, _ in stories()}):
        if len(sys.argv) == 1 or file.stem in sys.argv[1:]:
            rewrite(file, [story for path, story in stories() if path == file])
