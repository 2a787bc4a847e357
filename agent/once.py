"""`gpuwarden agent --once`: what this node has, what it lacks and why, and what would be sent."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from gpuwarden.agent.collecting import Outcome, collect, open_collectors
from gpuwarden.agent.config import AgentConfig, named
from gpuwarden.agent.events import Collected, CollectFailed, SendTelemetry, Tick
from gpuwarden.agent.machine import Agent, AgentSetup
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.telemetry_pb2 import Telemetry

BETWEEN_S: Final = 0.3  # the second pass has the rates


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a node."""

    node: str
    outcomes: tuple[Outcome, ...]  # of the second pass
    left_out: dict[str, str]  # collector -> why this node has no such hardware
    payload: bytes  # the telemetry record of the second pass


def look(config: AgentConfig) -> Look:
    """Two passes of every collector, the second through the agent's machine."""
    config = named(config)
    collectors, left_out = open_collectors(config)
    machine = Agent(AgentSetup(config.node, "once", tuple(collectors)))
    for name, collector in collectors.items():
        collect(name, collector)
    time.sleep(BETWEEN_S)
    actions = machine.step(time.monotonic(), Tick(time.time_ns()))
    outcomes = tuple(collect(name, collector) for name, collector in collectors.items())
    for outcome in outcomes:
        actions += machine.step(time.monotonic(), outcome)
    for collector in collectors.values():
        collector.close()
    (payload,) = [action.payload for action in actions if isinstance(action, SendTelemetry)]
    return Look(config.node, outcomes, left_out, payload)


def as_json(seen: Look) -> dict[str, Any]:
    """Everything, values included."""
    return {
        "node": seen.node,
        "collectors": [_collector(outcome) for outcome in seen.outcomes],
        "left_out": seen.left_out,
        "telemetry": _telemetry(seen.payload),
    }


def _collector(outcome: Outcome) -> dict[str, Any]:
    made = {"name": outcome.collector, "duration_s": round(outcome.duration_s, 6)}
    if isinstance(outcome, CollectFailed):
        return {**made, "failed": outcome.reason}
    reading = outcome.reading
    devices = [{"kind": d.device.name.lower(), "id": d.id, "index": d.index, "values": dict(d.values)} for d in reading.devices]
    return {**made, "devices": devices, "processes": len(reading.processes), "lacks": list(reading.lacks)}


def _telemetry(payload: bytes) -> dict[str, Any]:
    message = Telemetry.FromString(payload)
    blocks = {Device(block.kind).name.lower(): (len(block.device_ids), len(block.metrics)) for block in message.blocks}
    return {
        "bytes": len(payload),
        "values": sum(devices * metrics for devices, metrics in blocks.values()),
        "blocks": {kind: {"devices": devices, "metrics": metrics} for kind, (devices, metrics) in blocks.items()},
        "processes": len(message.processes),
        "events": len(message.events),
    }


def as_text(seen: Look) -> Iterator[str]:
    """Lines for a person."""
    yield f"node {seen.node}"
    for outcome in seen.outcomes:
        yield from _collector_lines(outcome)
    for name, why in seen.left_out.items():
        yield f"\n{name}: left out: {why}"
    sent = _telemetry(seen.payload)
    blocks = ", ".join(f"{b['devices']} {kind} x {b['metrics']} metrics" for kind, b in sent["blocks"].items())
    yield f"\nOne record of telemetry would have {sent['bytes']} bytes: {blocks or 'no devices'}; "
    yield f"{sent['values']} values, {sent['processes']} processes, {sent['events']} events"


def _collector_lines(outcome: Outcome) -> Iterator[str]:
    took = f"{1e3 * outcome.duration_s:.1f} ms"
    if isinstance(outcome, CollectFailed):
        yield f"\n{outcome.collector}: failed after {took}: {outcome.reason}"
        return
    yield f"\n{outcome.collector}: {_counted(outcome)} in {took}"
    for device in outcome.reading.devices:
        yield f"  {device.device.name.lower()} {device.id}: {len(device.values)} metrics"
    if outcome.reading.devices:
        first = outcome.reading.devices[0]
        yield f"  values of {first.id}:"
        yield from (f"    {name:<42} {value:,.6g}" for name, value in first.values.items())
    yield from (f"  lacks {lack}" for lack in outcome.reading.lacks)


def _counted(outcome: Collected) -> str:
    kinds = Counter(device.device.name.lower() for device in outcome.reading.devices)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "no devices"
