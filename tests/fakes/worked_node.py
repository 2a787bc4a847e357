"""A node whose cards draw what a test says and whose counters it knows, told of by the agent's own machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gpuwarden.agent.events import Collected, FromLimiter, SendTelemetry, Tick
from gpuwarden.agent.machine import Agent, AgentSetup
from gpuwarden.agent.reading import DeviceReading, GpuProcess, Reading
from gpuwarden.core.seal import Way, seal
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.lease_pb2 import CardReport, Mode, PowerReport

EPOCH_NS = 1_700_000_000_000_000_000


@dataclass
class WorkedNode:
    """`drawn_j` is what each card has drawn in truth, `counter_j` what its counter shows; a card that is not in it has none."""

    name: str = "gpu01"
    cards: int = 1
    unix_ns: int = EPOCH_NS
    drawn_j: dict[int, float] = field(default_factory=dict)
    counter_j: dict[int, float] = field(default_factory=dict)
    jobs: dict[int, tuple[GpuProcess, ...]] = field(default_factory=dict)
    power_w: dict[int, float] = field(default_factory=dict)
    limit_w: float = 700.0
    reasons: float | None = 0.0
    _starts: int = 0
    _agent: Agent | None = None

    def __post_init__(self) -> None:
        for card in range(self.cards):
            self.drawn_j.setdefault(card, 0.0)
            self.counter_j.setdefault(card, 1000.0)
            self.power_w.setdefault(card, 500.0)
        self.restart()

    def gpu_id(self, card: int) -> str:
        return f"GPU-{self.name}-{card}"

    def work(self, seconds: float = 1.0) -> None:
        """Time passes for the cards and for the clock."""
        for card, power_w in self.power_w.items():
            self.drawn_j[card] += power_w * seconds
            if card in self.counter_j:
                self.counter_j[card] += power_w * seconds
        self.unix_ns += round(seconds * 1e9)

    def run(self, card: int, *jobs: str, user: str = "ada", processes: int = 1) -> None:
        """These jobs have the card from now on, each with so many processes."""
        self.jobs[card] = tuple(
            GpuProcess(self.gpu_id(card), 100 * i + n, 1 << 30, job, user, "training") for i, job in enumerate(jobs) for n in range(processes)
        )

    def restart(self) -> None:
        """Another agent, which knows nothing of the one before."""
        self._starts += 1
        self._agent = Agent(AgentSetup(self.name, f"{self.name}-{self._starts}", ("nvml",)))

    def reload_driver(self) -> None:
        self.counter_j = dict.fromkeys(self.counter_j, 0.0)

    def cap(self, limit_w: float) -> None:
        """The limiter tells that it has set this limit on every card."""
        assert self._agent is not None
        self.limit_w = limit_w
        cards = [CardReport(uuid=self.gpu_id(card), enforced_w=limit_w, default_w=700.0) for card in range(self.cards)]
        report = PowerReport(version=1, node=self.name, mode=Mode.MODE_AUTO, cards=cards)
        self._agent.step(self.unix_ns / 1e9, FromLimiter(seal(bytes(32), Way.UP, self.name, report.SerializeToString())))

    def told(self) -> bytes:
        """The record of a pass over the node, now."""
        assert self._agent is not None
        devices = tuple(DeviceReading(Device.GPU, self.gpu_id(card), card, self._values(card)) for card in range(self.cards))
        processes = tuple(process for running in self.jobs.values() for process in running)
        self._agent.step(self.unix_ns / 1e9, Tick(self.unix_ns))
        done = self._agent.step(self.unix_ns / 1e9, Collected("nvml", Reading(devices, processes), 0.001))
        (payload,) = [action.payload for action in done if isinstance(action, SendTelemetry)]
        return payload

    def passes(self, count: int, seconds: float = 1.0) -> list[bytes]:
        """So many, with work before each."""
        made = []
        for _ in range(count):
            self.work(seconds)
            made.append(self.told())
        return made

    def _values(self, card: int) -> Mapping[str, float]:
        values = {"gpu_power_watts": self.power_w[card], "gpu_processes": float(len(self.jobs.get(card, ()))),
                  "gpu_power_limit_enforced_watts": self.limit_w, "gpu_power_limit_default_watts": 700.0}
        if card in self.counter_j:
            values["gpu_energy_joules_total"] = self.counter_j[card]
        if self.reasons is not None:
            values["gpu_throttle_reasons"] = self.reasons
        return values
