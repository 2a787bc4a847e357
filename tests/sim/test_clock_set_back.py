"""A wall clock that is set back by an hour changes stamps and nothing else: every decision is on a clock that nobody sets."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import get_args

import pytest
from fakes.limiters import KEY, Limiter, Row

from gpuwarden.agent.events import Collect, Collected, SendTelemetry
from gpuwarden.agent.events import Tick as AgentTick
from gpuwarden.agent.limiter import events as limiter_events
from gpuwarden.agent.machine import Agent, AgentSetup
from gpuwarden.agent.reading import DeviceReading, Reading
from gpuwarden.controller.events import Action, Event, FindingArrived, Notify, Publish, Tick, WriteLedger
from gpuwarden.controller.machine import Controller, ControllerSetup
from gpuwarden.controller.power.domain import DomainConfig
from gpuwarden.controller.power.keeper import Timing
from gpuwarden.controller.power.node_class import NodeClass
from gpuwarden.detector.events import Polled, PublishFinding, Raw
from gpuwarden.detector.events import Tick as DetectorTick
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto.catalogue import BY_NAME, Device
from gpuwarden.proto.control_pb2 import Action as Line
from gpuwarden.proto.control_pb2 import WatchResponse
from gpuwarden.proto.encode import encode, encode_block
from gpuwarden.proto.finding_pb2 import Finding, FindingState, Severity, Subject
from gpuwarden.proto.telemetry_pb2 import Telemetry

NOW_NS = 1_700_000_000_000_000_000
HOUR_NS = 3600 * 10**9
NODES = ("n0", "n1", "n2", "n3")


@dataclass
class SetBack:
    """A controller whose ticks tell a wall clock that goes back by `by_ns` at `at_s`."""

    controller: Controller
    at_s: float
    by_ns: int

    def step(self, now_s: float, event: Event) -> list[Action]:
        if isinstance(event, Tick):
            event = Tick(NOW_NS + event.unix_ns - (self.by_ns if now_s >= self.at_s else 0))
        return self.controller.step(now_s, event)


def finding(state: "FindingState.ValueType") -> FindingArrived:
    made = Finding(version=1, id="f1", kind="xid", subject=Subject(node="n2"), severity=Severity.SEVERITY_CRITICAL, state=state)
    return FindingArrived(made.SerializeToString())


def row_under_a_clock(by_ns: int) -> Row:
    """Four limiters in auto under a budget that caps them; one falls silent and comes back, a finding fires and is over."""
    domain = DomainConfig("row-a", 60e3, (NodeClass("h100", NODES),), budget_w=28e3, mode="auto")
    controller = Controller(ControllerSetup("c", 0, (domain,), (), Timing(5.0, 3.0, 2.5)), dict.fromkeys(NODES, KEY))
    row = Row(SetBack(controller, 10.0, by_ns), [Limiter(node, demand_w=5400.0) for node in NODES])  # type: ignore[arg-type]  # it steps as one
    row.connect()
    row.run(8)
    row.perform(row.controller.step(row.now_s, finding(FindingState.FINDING_STATE_FIRING)))
    row.silent = {"n3"}
    row.run(8)
    row.silent = set()
    row.perform(row.controller.step(row.now_s, finding(FindingState.FINDING_STATE_RESOLVED)))
    row.run(8)
    return row


def unstamped(actions: Iterable[Action]) -> list[object]:
    return [_unstamped(action) for action in actions]


def _unstamped(action: Action) -> object:
    match action:
        case WriteLedger():
            return [_without(Line.FromString(payload)) for payload in action.payloads]
        case Notify():
            return replace(action, unix_ns=0, told_unix_ns=0)
        case Publish():
            return _snapshot(action.snapshot)
    return action


def _without(line: Line) -> str:
    line.unix_ns = 0
    return str(line)


def _snapshot(snapshot: WatchResponse) -> str:
    copy = WatchResponse.FromString(snapshot.SerializeToString())
    copy.cluster.unix_ns = 0
    for line in copy.actions:
        line.unix_ns = 0
    return str(copy)


def test_the_controller_grants_alerts_and_writes_the_same() -> None:
    steady, set_back = row_under_a_clock(0), row_under_a_clock(HOUR_NS)
    assert unstamped(set_back.done) == unstamped(steady.done)
    assert set_back.done != steady.done  # the stamps did go back
    assert {line.kind for line in steady.lines} >= {"cap", "notify"}


def test_the_limiter_is_told_no_wall_clock_at_all() -> None:
    told = {field.name for event in get_args(limiter_events.Event) for field in fields(event)}
    assert told and not [name for name in told if "unix" in name]


def telemetry(by_ns: int) -> list[tuple[object, ...]]:
    machine, done = Agent(AgentSetup("n1", "start", ("fake",))), list[tuple[object, ...]]()
    for second in range(20):
        unix_ns = NOW_NS + second * 10**9 - (by_ns if second >= 10 else 0)
        actions = machine.step(float(second), AgentTick(unix_ns))
        reading = Reading((DeviceReading(Device.GPU, "GPU-0", 0, {"gpu_power_watts": 500.0 + second}),))
        actions += machine.step(second + 0.1, Collected("fake", reading, 0.1))
        for action in actions:
            if isinstance(action, SendTelemetry):
                message = Telemetry.FromString(action.payload)
                message.unix_ns = 0
                done.append((second, str(message)))
            elif isinstance(action, Collect):
                done.append((second, action))
    return done


def test_the_agent_collects_and_sends_the_same() -> None:
    assert telemetry(HOUR_NS) == telemetry(0)
    assert len(telemetry(0)) >= 20


def findings(by_ns: int, throttled: range) -> list[tuple[int, str, str]]:
    """(second, state, kind) of a card that a power brake slows down for a while, on a node whose clock and ours both jump."""
    detector, told = Detector(DetectorSetup()), list[tuple[int, str, str]]()
    columns = [BY_NAME[name] for name in ("gpu_power_watts", "gpu_throttle_reasons", "gpu_utilization_ratio", "gpu_temperature_celsius")]
    for second in range(1, 200):
        unix_ns = NOW_NS + second * 10**9 - (by_ns if second >= 60 else 0)
        block = encode_block(Device.GPU, ["GPU-0"], columns, [[300.0, float(0x80 * (second in throttled)), 0.99, 60.0]])
        raw = Raw(0, second, "gpu01", encode("gpu01", "start", second, unix_ns, [block], (), ()))
        actions = detector.step(float(second), Polled((raw,))) + detector.step(second + 0.5, DetectorTick(unix_ns))
        for action in actions:
            if isinstance(action, PublishFinding):
                said = Finding.FromString(action.payload)
                assert said.updated_unix_ns >= said.since_unix_ns
                told.append((second, FindingState.Name(said.state), said.kind))
    return told


@pytest.mark.parametrize("throttled", [range(20, 100), range(50, 120), range(55, 65)], ids=["before", "across", "short"])
def test_the_detector_fires_and_resolves_the_same_within_a_sample(throttled: range) -> None:
    """Rates need the time between two samples, which their stamps tell; the one sample across the jump counts for no time."""
    steady, set_back = findings(0, throttled), findings(HOUR_NS, throttled)
    assert [said[1:] for said in set_back] == [said[1:] for said in steady]
    assert all(0 <= there[0] - here[0] <= 1 for here, there in zip(steady, set_back, strict=True))
    if throttled != range(55, 65):
        assert any("FIRING" in said[1] for said in steady)
