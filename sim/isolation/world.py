"""A cluster under faults: what fires, who is capped, who says what. The truth that the checker reckons from."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from gpuwarden.controller.isolation.config import GroupConfig, IsolationConfig, SharedConfig
from gpuwarden.controller.isolation.events import Action, ChooseMode, SignalHeard
from gpuwarden.controller.isolation.judging import ALL, Rails
from gpuwarden.controller.isolation.probe import OfferedProbe
from gpuwarden.controller.isolation.records import ActionClass, Mode
from gpuwarden.controller.isolation.signals import Scope, Signal
from gpuwarden.controller.schedulers.scheduler import Kind
from gpuwarden.sim.isolation.cluster import VirtualJob, cluster_of
from gpuwarden.sim.isolation.shell import TEST, Shell

QUIET_S: Final = (20.0, 60.0, 600.0)  # between rounds: while much happens, some, nothing
BUSY_FOR_S: Final = (120.0, 900.0)


@dataclass(frozen=True, slots=True)
class Kindness:
    """What the checker knows of a kind of finding, told apart from what the machine's own table says. `fault`: it may be a reason to act."""

    sensor: str
    fault: bool = True
    wide: bool = False  # about the node or a process on it, not about one part
    slowness: bool = False


KINDS: Final = {
    "xid_79": Kindness("the driver"),
    "xid_119": Kindness("the driver"),
    "gpu_ecc_uncorrected": Kindness("the driver"),
    "gpu_nvlink_down": Kindness("NVLink counters"),
    "gpu_pcie_degraded": Kindness("the bus"),
    "gpu_hardware_thermal": Kindness("throttle reasons"),
    "gpu_power_brake": Kindness("throttle reasons"),
    "rank_hang": Kindness("the job", wide=True),
    "rank_slow": Kindness("the job", wide=True, slowness=True),
    "scheduler_kill_failed": Kindness("the scheduler", wide=True),
}
NOBODY: Final = {"node_stale", "xid_31"}  # silence, and a program's own error: no evidence at all


class World:
    """One cluster and its controller. `watch` sees every action as it is ordered."""

    def __init__(self, chance: Random, watch: Callable[[float, Action], None], rails: Rails = ALL) -> None:
        names = [f"n{number}" for number in range(1, chance.randint(6, 12) + 1)]
        self.chance, self.modes = chance, {kind: chance.choice((Mode.AUTO, Mode.AUTO, Mode.AUTO, Mode.APPROVE, Mode.OBSERVE)) for kind in ActionClass}
        self.cluster = cluster_of(names)
        self.most = chance.randint(1, 3)
        self.config = IsolationConfig(
            groups=(GroupConfig("all", tuple(names), self.modes[ActionClass.ISOLATION].value, self.modes[ActionClass.RESTART].value, TEST),),
            shared=(SharedConfig("rack", tuple(names[:4])),), blast_share=0.0, blast_nodes=self.most, strikes_most=chance.randint(1, 3),
        )
        self.firing: dict[str, Signal] = {}
        self.capped: dict[str, float] = {}
        self.capped_until: dict[str, float] = {}
        self.broken: dict[str, bool | None] = {}
        self.failed_tests: dict[str, float] = {}
        self._place(chance, names)
        self._busy_s = 0.0
        self.harmless = len(names) % 2 == 0  # are the nodes' tests
        self.shell = Shell(self.config, self.cluster, self._tested, watch, rails, offered=OfferedProbe(TEST, self.harmless))

    def _place(self, chance: Random, names: list[str]) -> None:
        free = list(names)
        for number in range(chance.randint(1, 3)):
            nodes = tuple(free.pop(0) for _ in range(min(len(free), chance.randint(1, 3))))
            if nodes:
                kind = chance.choice((Kind.BATCH, Kind.BATCH, Kind.BATCH, Kind.INTERACTIVE, Kind.ARRAY))
                needs = chance.randint(1, len(nodes))
                self.cluster.jobs[str(number)] = VirtualJob(str(number), nodes, needs, kind, chance.random() < 0.9, wanted=len(nodes))

    def _tested(self, node: str) -> bool | None:
        passed = self.broken.get(node, True)
        if passed is False:
            self.failed_tests[node] = self.cluster.now_s
        return passed

    def say(self, node: str, kind: str, part: str = "GPU-0") -> Callable[[], None]:
        """A finding fires; what is returned ends it."""
        now_s = self.cluster.now_s
        wide = kind in NOBODY or KINDS[kind].wide
        scope = Scope.RANK if kind.startswith("rank_") else Scope.NODE if wide else Scope.GPU
        name = f"{node}/{part}/{kind}@{now_s:.0f}"
        signal = Signal(name, kind, node, scope, "0" if scope is Scope.RANK else "" if wide else part, True, now_s)
        self.firing[name] = signal
        self.stir()
        self.shell.put(SignalHeard(signal))
        return lambda: self._over(signal)

    def _over(self, signal: Signal) -> None:
        if self.firing.pop(signal.id, None) is not None:
            over = Signal(signal.id, signal.kind, signal.node, signal.scope, signal.part, False, signal.since_s)
            self.stir()
            self.shell.put(SignalHeard(over))

    def cap(self, node: str, capped: bool) -> None:
        if capped:
            self.capped.setdefault(node, self.cluster.now_s)
            self.capped_until.pop(node, None)
        elif node in self.capped:
            self.capped_until[node] = self.cluster.now_s
        self.shell.cap(node, capped)

    def choose(self, kind: ActionClass, mode: Mode) -> None:
        self.modes[kind] = mode
        self.shell.put(ChooseMode(0, "ada", "all", kind, mode))

    def stir(self) -> None:
        """Something happens: rounds are close together for a while."""
        self._busy_s = self.cluster.now_s

    def advance(self, until_s: float) -> None:
        while (now_s := self.cluster.now_s) < until_s:
            ago_s = now_s - self._busy_s
            step_s = QUIET_S[sum(ago_s > limit_s for limit_s in BUSY_FOR_S)]
            self.shell.pass_time(min(until_s, now_s + step_s))
