"""What befalls the cluster: a new fault is one function here and one line in the table. It strikes a node and returns how it ends, or None where it
cannot strike now."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gpuwarden.controller.isolation.events import Approve, Cordon, Reject, Uncordon
from gpuwarden.controller.isolation.holder import case_of
from gpuwarden.controller.isolation.records import ActionClass, Answer, Mode
from gpuwarden.controller.schedulers.scheduler import Phase
from gpuwarden.sim.isolation.shell import Death
from gpuwarden.sim.isolation.world import World

Heal = Callable[[], None]
Strike = Callable[[World, str], Heal | None]


def _said(*kinds: str, broken: bool = False) -> Strike:
    """Findings about one card; `broken`: a test would fail too."""

    def strike(world: World, node: str) -> Heal:
        part = world.chance.choice(("GPU-0", "GPU-1"))
        world.broken[node] = world.chance.choice((False, False, None)) if broken else True
        ends = [world.say(node, kind, part) for kind in kinds]

        def heal() -> None:
            world.broken[node] = True
            for end in ends:
                end()

        return heal

    return strike


def _alarm(world: World, node: str) -> Heal:
    """A detector that is wrong is wrong about all of them."""
    ends = [world.say(one, kind) for one in list(world.cluster.nodes)[:5] for kind in ("gpu_power_brake", "gpu_nvlink_down")]

    def heal() -> None:
        for end in ends:
            end()

    return heal


def _capped_slow(world: World, node: str) -> Heal:
    world.cap(node, True)
    slow = world.say(node, "rank_slow")
    hint = world.say(node, "gpu_hardware_thermal") if world.chance.random() < 0.5 else None

    def heal() -> None:
        slow()
        if hint is not None:
            hint()
        world.cap(node, False)

    return heal


def _somebody_drains(world: World, node: str) -> Heal | None:
    one = world.cluster.nodes[node]
    if one.reason:
        return None
    one.reason = world.chance.choice(("swapping a fan, bob", "Kill task failed"))

    def heal() -> None:
        if not case_of(one.reason):
            one.reason = ""

    return heal


def _somebody_resumes(world: World, node: str) -> Heal | None:
    if not case_of(world.cluster.nodes[node].reason):
        return None
    world.cluster.nodes[node].reason = ""
    return lambda: None


def _down(world: World, node: str) -> Heal:
    world.cluster.nodes[node].down = True

    def heal() -> None:
        world.cluster.nodes[node].down = False

    return heal


def _scheduler(attribute: str, bad: bool) -> Strike:
    def strike(world: World, node: str) -> Heal:
        setattr(world.cluster, attribute, bad)
        return lambda: setattr(world.cluster, attribute, not bad)

    return strike


def _lagging(world: World, node: str) -> Heal:
    world.cluster.lagging = world.cluster.actual()

    def heal() -> None:
        world.cluster.lagging = None

    return heal


def _dies(death: Death) -> Strike:
    def strike(world: World, node: str) -> Heal:
        world.shell.death = death

        def heal() -> None:
            world.shell.death = Death.NEVER

        return heal

    return strike


def _restarts(world: World, node: str) -> Heal:
    world.shell.start()
    return lambda: None


def _cordon(world: World, node: str) -> Heal:
    world.shell.put(Cordon(0, "ada", node, "noise"))
    return lambda: world.shell.put(Uncordon(0, "ada", node))


def _uncordon(world: World, node: str) -> Heal:
    world.shell.put(Uncordon(0, "ada", node))
    return lambda: None


def _answers(world: World, node: str) -> Heal | None:
    """A person goes through what waits."""
    waiting = [one.id for one in world.shell.machine.facts.questions.values() if one.answer is Answer.OPEN]
    for id in waiting:
        world.shell.put(Approve(0, "ada", id) if world.chance.random() < 0.7 else Reject(0, "ada", id))
    return (lambda: None) if waiting else None


def _mode(world: World, node: str) -> Heal:
    kind = world.chance.choice(tuple(ActionClass))
    before = world.modes[kind]
    world.choose(kind, world.chance.choice(tuple(Mode)))
    return lambda: world.choose(kind, before)


def _agent_away(world: World, node: str) -> Heal:
    offered = world.shell.offers[node]
    world.shell.offer(node, ())
    return lambda: world.shell.offer(node, offered)


def _job_ends(world: World, node: str) -> Heal | None:
    running = [job for job in world.cluster.jobs.values() if job.phase is Phase.RUNNING]
    if not running:
        return None
    job = world.chance.choice(running)
    job.phase, job.nodes = Phase.ENDED, ()
    return lambda: None


FAULTS: Final[Mapping[str, Strike]] = MappingProxyType({
    "card lost under a job": _said("xid_79", "rank_hang", broken=True),
    "card slow under a job": _said("gpu_pcie_degraded", "rank_slow", broken=True),
    "memory errors": _said("gpu_ecc_uncorrected", broken=True),
    "driver says so alone": _said("xid_119", broken=True),
    "two of one sensor": _said("gpu_hardware_thermal", "gpu_power_brake"),
    "false alarm": _said("xid_79"),
    "silence": _said("node_stale", "gpu_power_brake"),
    "application's error": _said("xid_31", "rank_hang"),
    "capped and slow": _capped_slow,
    "storm of alarms": _alarm,
    "somebody drains it": _somebody_drains,
    "somebody resumes it": _somebody_resumes,
    "node down": _down,
    "scheduler away": _scheduler("answers", False),
    "scheduler mute": _scheduler("mute", True),
    "scheduler lies": _scheduler("lies", True),
    "scheduler refuses": _scheduler("forbids", True),
    "scheduler lags": _lagging,
    "controller dies before an act": _dies(Death.BEFORE),
    "controller dies after an act": _dies(Death.AFTER),
    "controller restarts": _restarts,
    "operator cordons": _cordon,
    "operator uncordons": _uncordon,
    "operator answers": _answers,
    "operator sets a mode": _mode,
    "job ends": _job_ends,
    "agent away": _agent_away,
})
