"""The agent's decisions: what to collect now, what to send, what to relay. It can withhold a grant, never make one."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import assert_never

from google.protobuf.message import DecodeError

from gpuwarden.agent.asked import Asked
from gpuwarden.agent.comm import record as comm_record
from gpuwarden.agent.events import (
    Action,
    Collect,
    Collected,
    CollectFailed,
    ControllerLink,
    Event,
    FromController,
    FromLimiter,
    LimiterLink,
    ProbeAsked,
    ProbeEnded,
    SendComm,
    SendTelemetry,
    Tick,
    ToController,
    ToLimiter,
)
from gpuwarden.agent.probed import Offered
from gpuwarden.agent.reading import CommReading, DeviceEvent, DeviceReading, GpuProcess, Reading
from gpuwarden.agent.telemetry import Increases, blocks
from gpuwarden.core.machine import Level, Say
from gpuwarden.proto import telemetry_pb2
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.encode import encode
from gpuwarden.proto.lease_pb2 import MODE_AUTO, PowerReport, Sealed

MAX_JOBS = 1000
MAX_EVENTS = 1000  # of one record; its reader refuses one with many more


@dataclass(frozen=True, slots=True)
class AgentSetup:
    """`agent_start` identifies one start: sequence numbers count from 1 within it. `collectors` are names, in order; `probes` may be asked for."""

    node: str
    agent_start: str
    collectors: tuple[str, ...]
    probes: tuple[Offered, ...] = ()


@dataclass(slots=True)
class _Pass:
    """What one tick has brought in so far."""

    unix_ns: int
    waiting: set[str]
    readings: list[Reading] = field(default_factory=list)


class Agent:
    """The machine of one node."""

    def __init__(self, setup: AgentSetup) -> None:
        self._setup = setup
        self._pass: _Pass | None = None
        self._busy: dict[str, int] = {}  # ordered, not answered, and when: a collector that hangs is not ordered twice
        self._untold: list[Reading] = []  # events that a record had no room for
        self._failing: dict[str, str] = {}
        self._lacks: dict[str, tuple[str, ...]] = {}
        self._increases = Increases()
        self._capped: dict[str, bool] = {}
        self._last_good_s: dict[str, float] = {}
        self._controller_up = self._limiter_up = False
        self._asked = Asked(setup.probes)
        self._ticked_ns = 0
        self._comm_sequences: dict[str, int] = {}  # of each job's records
        self.sequence = 0

    def step(self, now_s: float, event: Event) -> list[Action]:
        """Actions in order."""
        match event:
            case Tick():
                return [*self._tick(now_s, event), *self._asked.tick(now_s)]
            case Collected():
                return list(self._collected(now_s, event))
            case CollectFailed():
                return list(self._failed(now_s, event))
            case FromLimiter():
                self._note_caps(event.sealed)
                return [ToController(event.sealed)] if self._controller_up else []
            case FromController():
                return [ToLimiter(event.sealed)] if self._limiter_up else []
            case LimiterLink():
                self._limiter_up = event.up
                return [_link("limiter", event.up, "")]
            case ControllerLink():
                self._controller_up = event.up
                return [_link("controller", event.up, event.reason), *self._asked.link(now_s, event.version if event.up else 0)]
            case ProbeAsked():
                return list(self._asked.asked(now_s, event))
            case ProbeEnded():
                return list(self._asked.ended(now_s, event))
            case _:
                assert_never(event)

    def _tick(self, now_s: float, tick: Tick) -> Iterator[Action]:
        self._ticked_ns = tick.unix_ns
        if self._pass is not None:
            yield Say(f"collectors are slow: {', '.join(sorted(self._pass.waiting))}; sending without", Level.WARNING)
            yield self._sent(now_s, self._pass)
        ready = tuple(name for name in self._setup.collectors if name not in self._busy)
        self._pass, self._untold = _Pass(tick.unix_ns, set(ready), self._untold), []
        self._busy |= dict.fromkeys(ready, tick.unix_ns)
        if ready:
            yield Collect(ready)
        else:
            yield self._sent(now_s, self._pass)

    def _collected(self, now_s: float, event: Collected) -> Iterator[Action]:
        if self._failing.pop(event.collector, None) is not None:
            yield Say(f"collector {event.collector} reads again")
        if self._lacks.get(event.collector, ()) != event.reading.lacks:
            self._lacks[event.collector] = event.reading.lacks
            yield Say(f"collector {event.collector} cannot read: {'; '.join(event.reading.lacks) or 'nothing, all is there now'}")
        self._asked.computing(event.collector, event.reading.processes)
        yield from map(self._comm, event.reading.comm)
        yield from self._answered(now_s, event.collector, event.reading)

    def _comm(self, reading: CommReading) -> SendComm:
        """Counted for each job: its records share a key, those of two jobs may go to two readers."""
        sequence = self._comm_sequences.pop(reading.job, 0) + 1
        if len(self._comm_sequences) >= MAX_JOBS:
            del self._comm_sequences[next(iter(self._comm_sequences))]  # the one that has been silent for longest
        self._comm_sequences[reading.job] = sequence
        payload = comm_record(self._setup.node, self._setup.agent_start, sequence, self._ticked_ns, reading)
        return SendComm(payload, sequence)

    def _failed(self, now_s: float, event: CollectFailed) -> Iterator[Action]:
        if self._failing.get(event.collector) != event.reason:  # on change, not every second
            self._failing[event.collector] = event.reason
            yield Say(f"collector {event.collector} failed: {event.reason}", Level.WARNING)
        yield from self._answered(now_s, event.collector, Reading())

    def _answered(self, now_s: float, collector: str, reading: Reading) -> Iterator[Action]:
        ordered_ns = self._busy.pop(collector)
        if self._pass is None or collector not in self._pass.waiting:
            yield from self._answered_late(now_s, ordered_ns, reading)
            return
        self._pass.readings.append(reading)
        self._pass.waiting.discard(collector)
        if not self._pass.waiting:
            yield self._sent(now_s, self._pass)

    def _answered_late(self, now_s: float, ordered_ns: int, reading: Reading) -> Iterator[Action]:
        """Its pass went without it: a record of its own, of that time, so that nothing that was read is lost."""
        if reading.devices or reading.processes or reading.events:
            yield self._record(now_s, _Pass(ordered_ns, set(), [reading]))

    def _sent(self, now_s: float, done: _Pass) -> SendTelemetry:
        self._pass = None
        return self._record(now_s, done)

    def _record(self, now_s: float, done: _Pass) -> SendTelemetry:
        self.sequence += 1
        devices = [device for reading in done.readings for device in reading.devices]
        events = [event for reading in done.readings for event in reading.events]
        if len(events) > MAX_EVENTS:  # a record takes no more; the rest is told with the next
            self._untold.append(Reading(events=tuple(events[MAX_EVENTS:])))
        payload = encode(
            self._setup.node, self._setup.agent_start, self.sequence, done.unix_ns,
            blocks((device, self._completed(now_s, device)) for device in devices),
            [_process(p) for r in done.readings for p in r.processes], map(_event, events[:MAX_EVENTS]),
        )
        return SendTelemetry(payload, self.sequence, bool(events))

    def _completed(self, now_s: float, device: DeviceReading) -> dict[str, float]:
        """Counters as increases, and what only the agent knows of a GPU."""
        values = dict(self._increases.of(device))
        if device.device is Device.GPU:
            if "gpu_power_watts" in values:
                self._last_good_s[device.id] = now_s
            values["gpu_sample_age_seconds"] = now_s - self._last_good_s.get(device.id, now_s)
            values["gpu_capped_by_us"] = float(self._capped.get(device.id, False))
            if "gpu_energy_joules_total" in device.values:  # as it was read: what was drawn while no agent ran is in it
                values["gpu_energy_since_load_joules"] = device.values["gpu_energy_joules_total"]
        return values

    def _note_caps(self, sealed: bytes) -> None:
        """Sealed is not secret: the agent may read which limits are its limiter's."""
        try:
            report = PowerReport.FromString(Sealed.FromString(sealed).payload)
        except DecodeError:
            return  # the controller will refuse it, with the reason
        self._asked.limited(report)
        ours = report.mode == MODE_AUTO
        self._capped = {card.uuid: ours and card.enforced_w < card.default_w for card in report.cards}


def _link(to: str, up: bool, reason: str) -> Say:
    return Say(f"{to} in reach" if up else f"{to} out of reach: {reason or 'the link went down'}", Level.INFO if up else Level.WARNING)


def _process(process: GpuProcess) -> telemetry_pb2.GpuProcess:
    return telemetry_pb2.GpuProcess(
        gpu_id=process.gpu_id, pid=process.pid, memory_bytes=process.memory_bytes, job_id=process.job_id, user=process.user,
        job_class=process.job_class,
    )


def _event(event: DeviceEvent) -> telemetry_pb2.DeviceEvent:
    return telemetry_pb2.DeviceEvent(kind=event.kind, device_id=event.device_id, code=event.code, message=event.message)
