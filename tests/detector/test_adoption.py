"""A detector that starts where another has ended leaves none of its findings behind, and makes none of them twice."""

import threading
from collections.abc import Callable
from typing import Any

from gpuwarden.core.bus_memory import MemoryBus
from gpuwarden.core.left_firing import left_firing
from gpuwarden.detector.events import Moved, PublishFinding
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto import topics
from gpuwarden.proto.catalogue import Device
from gpuwarden.proto.telemetry_pb2 import DeviceEvent


def left(story: Any) -> tuple[bytes, ...]:
    """What the findings topic would tell the next detector."""
    bus = MemoryBus()
    for action in story.actions:
        if isinstance(action, PublishFinding):
            bus.producer().send(topics.FINDINGS, action.key, action.payload)
    bus.producer().send(topics.FINDINGS, "noise", b"\xff\xff\xff")
    return left_firing(bus, "test", threading.Event())


def restart(story: Any) -> None:
    firing = left(story)
    story.detector = Detector(DetectorSetup())
    story.detector.step(story.now_s, Moved(((topics.TELEMETRY, 0),), firing))


def run_on(story: Any, agent: Any, seconds: int, wrong: dict[tuple[str, str], float] | None = None) -> None:
    for _ in range(seconds):
        story.send(agent.record(wrong or {}))
        story.tick(0.0)


def test_what_is_still_so_goes_on_under_its_id(story: Any, agent: Any) -> None:
    failed = {("GPU-2", "gpu_row_remap_failure"): 1.0}
    run_on(story, agent, 5, failed)
    restart(story)
    run_on(story, agent, 200, failed)
    run_on(story, agent, 100)
    assert [f.state for f in story.findings] == [1, 1, 2]
    assert len({f.id for f in story.findings}) == 1


def test_what_is_no_longer_so_is_resolved_when_the_node_has_had_time_to_show_it(story: Any, agent: Any) -> None:
    run_on(story, agent, 5, {("GPU-2", "gpu_row_remap_failure"): 1.0})
    restart(story)
    run_on(story, agent, 118)
    assert [f.state for f in story.findings] == [1]
    run_on(story, agent, 5)
    assert [f.state for f in story.findings] == [1, 2]
    assert story.findings[0].id == story.findings[1].id


def test_an_xid_that_needs_a_reset_outlives_the_detector(story: Any, agent: Any) -> None:
    run_on(story, agent, 2)
    story.send(agent.record(events=[DeviceEvent(kind="xid", device_id="GPU-3", code=79)]))
    restart(story)
    run_on(story, agent, 300)
    assert len(story.findings) == 1
    story.send(agent.record(events=[DeviceEvent(kind="driver_reloaded")]))
    assert [f.state for f in story.findings] == [1, 2]


def test_a_missing_card_is_still_expected(story: Any, agent: Any) -> None:
    run_on(story, agent, 2)
    agent.ids[Device.GPU].remove("GPU-5")
    run_on(story, agent, 10)
    restart(story)
    run_on(story, agent, 300)
    assert {(f.kind, f.state) for f in story.findings} == {("gpu_missing", 1)}
    agent.ids[Device.GPU].append("GPU-5")
    run_on(story, agent, 1)
    assert story.findings[-1].state == 2


def test_a_stale_node_that_speaks_to_the_next_detector_is_stale_no_more(story: Any, agent: Any) -> None:
    run_on(story, agent, 2)
    for _ in range(10):
        story.tick()
    restart(story)
    run_on(story, agent, 1)
    assert [(f.kind, f.state) for f in story.findings] == [("node_stale", 1), ("node_stale", 2)]


def test_findings_of_nodes_that_are_not_heard_are_left_alone(story: Any, agent: Any, agent_of: Callable[..., Any]) -> None:
    run_on(story, agent, 5, {("GPU-2", "gpu_row_remap_failure"): 1.0})
    restart(story)
    other = agent_of(node="gpu02")
    for _ in range(300):
        story.send(other.record(), key="gpu02")
        story.tick(0.0)
    assert len(story.findings) == 1
