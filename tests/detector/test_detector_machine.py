"""Faults in, one sentence for each finding out."""

from collections.abc import Callable
from typing import Any

import pytest

from gpuwarden.detector.events import Commit, DeadLetter, Polled, PublishFinding, Raw
from gpuwarden.detector.machine import Detector, DetectorSetup
from gpuwarden.proto.finding_pb2 import Finding, FindingState
from gpuwarden.proto.telemetry_pb2 import DeviceEvent, GpuProcess, Telemetry
from gpuwarden.proto.topics import TELEMETRY


def test_a_healthy_node_is_no_news(story: Any, agent: Any) -> None:
    for _ in range(200):
        story.send(agent.record())
        story.tick(0.0)
    assert story.lines == []
    assert story.detector.samples_judged == 200


def test_an_xid_that_needs_a_reset_fires_at_once_and_stays_until_the_driver_is_loaded_anew(story: Any, agent: Any) -> None:
    job = GpuProcess(gpu_id="GPU-3", pid=7, job_id="4711")
    story.send(agent.record(events=[DeviceEvent(kind="xid", device_id="GPU-3", code=79, message="pci 0:3b")], processes=[job]))
    for _ in range(100):
        story.send(agent.record())
        story.tick(60.0)
    told = "critical xid_79 on gpu01/GPU-3: XID 79, card fell off the bus, under job 4711 (pci 0:3b)"
    assert [line for line in story.lines if "stale" not in line] == [f"firing {told}"]
    story.send(agent.record(events=[DeviceEvent(kind="driver_reloaded")]))
    assert story.lines[-1] == f"resolved {told}"
    assert story.findings[0].suggested_action.startswith("Drain the node")


def test_an_xid_that_needs_a_reset_is_over_when_the_node_has_booted(story: Any, agent: Any, agent_of: Callable[..., Any]) -> None:
    story.send(agent.record(events=[DeviceEvent(kind="xid", device_id="GPU-0", code=119)]))
    booted = agent_of(start="start-b", unix_ns=agent.unix_ns + 10**11)
    story.send(booted.record({("gpu01", "host_uptime_seconds"): 60.0}))
    assert [f.state for f in story.findings] == [FindingState.FINDING_STATE_FIRING, FindingState.FINDING_STATE_RESOLVED]


def test_an_applications_xid_is_over_when_it_is_quiet_and_repeats_are_counted_not_said_each_time(story: Any, agent: Any) -> None:
    for _ in range(100):
        story.send(agent.record(events=[DeviceEvent(kind="xid", device_id="GPU-1", code=31)]))
    counts = [evidence.value for f in story.findings for evidence in f.evidence if evidence.name == "times"]
    assert counts == [1, 2, 4, 8, 16, 32, 64]
    assert len({f.id for f in story.findings}) == 1
    story.send(agent.record(), pass_s=599)
    story.tick(0.5)
    assert story.lines[-1] == "firing info xid_31 on gpu01/GPU-1: XID 31, memory page fault"
    story.tick(0.6)
    assert story.lines[-1] == "resolved info xid_31 on gpu01/GPU-1: XID 31, memory page fault"


def test_xid_45_speaks_only_when_no_other_came_before_it(story: Any, agent: Any) -> None:
    story.send(agent.record(events=[DeviceEvent(kind="xid", device_id="GPU-1", code=c) for c in (13, 45)]))
    story.send(agent.record(events=[DeviceEvent(kind="xid", device_id="GPU-2", code=45)]))
    assert [f.kind for f in story.findings] == ["xid_13", "xid_45"]
    assert story.findings[1].subject.id == "GPU-2"


def test_an_xid_that_the_table_lacks_is_a_warning_that_says_so(story: Any, agent: Any) -> None:
    story.send(agent.record(events=[DeviceEvent(kind="xid", device_id="GPU-1", code=999)]))
    assert story.lines == ["firing warning xid_999 on gpu01/GPU-1: XID 999, not in our table"]


def test_a_silent_node_is_stale_neither_healthy_nor_faulty_and_what_fires_on_it_stays(story: Any, agent: Any) -> None:
    story.send(agent.record({("GPU-2", "gpu_row_remap_failure"): 1.0}))
    for _ in range(30):
        story.tick()
    story.send(agent.record({("GPU-2", "gpu_row_remap_failure"): 1.0}))
    assert [line.partition(":")[0] for line in story.lines] == [
        "firing critical gpu_row_remap_failure on gpu01/GPU-2",
        "firing warning node_stale on gpu01",
        "resolved warning node_stale on gpu01",
    ]


def test_a_node_that_is_gone_for_good_is_forgotten_and_leaves_nothing_firing(agent: Any, story: Any) -> None:
    story.detector = Detector(DetectorSetup(forget_s=100.0))
    story.send(agent.record({("GPU-2", "gpu_row_remap_failure"): 1.0}))
    for _ in range(102):
        story.tick()
    assert story.detector.nodes_known == story.detector.findings_firing == 0
    assert [f.state for f in story.findings].count(FindingState.FINDING_STATE_RESOLVED) == 2


def test_a_card_that_vanishes_is_missing_until_it_is_back(story: Any, agent: Any) -> None:
    story.send(agent.record())
    agent.ids[next(iter(agent.ids))].remove("GPU-5")
    for _ in range(20):
        story.send(agent.record())
    agent.ids[next(iter(agent.ids))].append("GPU-5")
    story.send(agent.record())
    told = "critical gpu_missing on gpu01/GPU-5: the node shows 7 of 8 GPUs; this one was not read for 5 samples"
    assert story.lines == [f"firing {told}", f"resolved {told}"]


def test_a_node_that_boots_with_a_card_less_is_told_of(story: Any, agent: Any, agent_of: Callable[..., Any]) -> None:
    story.send(agent.record())
    booted = agent_of(start="start-b", unix_ns=agent.unix_ns)
    booted.ids[next(iter(booted.ids))].remove("GPU-0")
    for _ in range(5):
        story.send(booted.record())
    assert [f.kind for f in story.findings] == ["gpu_missing"]


def test_a_hung_driver_is_told_of_once_and_is_over_when_cards_are_read_again(story: Any, agent: Any) -> None:
    story.send(agent.record())
    gpus = next(iter(agent.ids))
    ids, agent.ids[gpus] = agent.ids[gpus], []
    story.send(agent.record(events=[DeviceEvent(kind="driver_hung", message="no answer for 5 s")]))
    for _ in range(20):
        story.send(agent.record())
    agent.ids[gpus] = ids
    story.send(agent.record())
    hung = "critical driver_hung on gpu01: the GPU driver does not answer (no answer for 5 s)"
    unread = "critical gpus_unread on gpu01: none of 8 GPUs was read for 5 samples"
    assert story.lines == [f"firing {hung}", f"firing {unread}", f"resolved {hung}", f"resolved {unread}"]


def test_a_record_that_a_late_collector_sent_is_no_sample_without_gpus(story: Any, agent: Any) -> None:
    """Three passes that went without the GPUs, and what host and ports had read meanwhile: five records, three samples."""
    story.send(agent.record())
    gpus = next(iter(agent.ids))
    ids, agent.ids[gpus] = agent.ids[gpus], []
    for _ in range(3):
        story.send(agent.record())
    for _ in range(4):
        agent.unix_ns -= 2_000_000_000
        story.send(agent.record())
        agent.unix_ns += 1_000_000_000
    agent.ids[gpus] = ids
    story.send(agent.record())
    assert story.lines == []


def test_a_lost_card_is_told_of_once_whether_by_event_or_by_metric(story: Any, agent: Any) -> None:
    lost = {("GPU-4", "gpu_lost"): 1.0}
    story.send(agent.record(lost, events=[DeviceEvent(kind="gpu_lost", device_id="GPU-4")]))
    story.send(agent.record(lost))
    assert [(f.kind, f.subject.id) for f in story.findings] == [("gpu_lost", "GPU-4")]


def test_repeats_are_passed_over_and_gaps_are_counted(story: Any, agent: Any, agent_of: Callable[..., Any]) -> None:
    first = [agent.record(events=[DeviceEvent(kind="xid", device_id="GPU-1", code=31)]) for _ in range(3)]
    story.send(*first)
    story.send(*first)
    agent.sequence += 4
    story.send(agent.record())
    restarted = agent_of(start="start-b", sequence=2, unix_ns=agent.unix_ns)
    story.send(restarted.record())
    story.send(*first)
    judged = story.detector
    assert (judged.samples_judged, judged.samples_repeated, judged.samples_lost, judged.refused) == (5, 6, 6, 0)
    assert [e.value for f in story.findings for e in f.evidence if e.name == "times"] == [1, 2]


def test_a_counter_of_a_restarted_agent_is_no_increase(story: Any, agent: Any, agent_of: Callable[..., Any]) -> None:
    story.send(agent.record())
    restarted = agent_of(start="start-b", unix_ns=agent.unix_ns)
    counted = {("GPU-0", "gpu_ecc_uncorrected_volatile_total"): 5.0}
    story.send(restarted.record(counted))
    assert story.lines == []
    story.send(restarted.record({("GPU-0", "gpu_ecc_uncorrected_volatile_total"): 6.0}))
    assert [f.kind for f in story.findings] == ["gpu_ecc_uncorrected"]


def _bad_version(payload: bytes) -> bytes:
    message = Telemetry.FromString(payload)
    message.version = 9
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda payload: payload[:-7], "payload: "),
        (lambda payload: b"\xff" * 50, "payload: is not a Telemetry message"),
        (lambda payload: payload + b"\x00" * (1 << 20), "payload: has "),
        (_bad_version, "version: is 9"),
        (lambda payload: b"", "version: is 0"),
    ],
    ids=["truncated", "noise", "oversized", "unknown version", "empty"],
)
def test_what_cannot_be_read_is_a_dead_letter_and_the_rest_is_judged(
    story: Any, agent: Any, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    good, bad = agent.record(), spoil(agent.record())
    xid = agent.record(events=[DeviceEvent(kind="xid", device_id="GPU-1", code=79)])
    actions = story.send(good, bad, xid)
    letter, finding, commit = actions
    assert isinstance(letter, DeadLetter)
    assert letter.record.payload == bad
    assert letter.reason.startswith(reason)
    assert isinstance(finding, PublishFinding)
    assert commit == Commit({(TELEMETRY, 0): 3})
    assert (story.detector.refused, story.detector.samples_judged) == (1, 2)


def test_a_record_under_another_nodes_key_is_refused(story: Any, agent: Any) -> None:
    letter, _ = story.send(agent.record(), key="gpu02")
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "node: is 'gpu01', the record's key is 'gpu02'"


def test_more_nodes_than_may_be_are_refused(story: Any, agent_of: Callable[..., Any]) -> None:
    story.detector = Detector(DetectorSetup(max_nodes=1))
    story.send(agent_of(node="gpu01").record())
    letter, _ = story.send(agent_of(node="gpu02").record(), key="gpu02")
    assert isinstance(letter, DeadLetter)
    assert letter.reason == "node: is one more than max_nodes (1)"


def test_offsets_are_committed_after_what_they_led_to_and_for_each_partition(story: Any, agent_of: Callable[..., Any]) -> None:
    a, b = agent_of(node="a"), agent_of(node="b")
    xid = [DeviceEvent(kind="xid", device_id="GPU-1", code=79)]
    raws = (Raw(0, 7, "a", a.record(events=xid)), Raw(3, 20, "b", b.record()), Raw(0, 8, "a", a.record()))
    actions = story.detector.step(1.0, Polled(raws))
    assert [type(action) for action in actions] == [PublishFinding, Commit]
    assert actions[-1] == Commit({(TELEMETRY, 0): 9, (TELEMETRY, 3): 21})


def test_several_samples_of_a_node_in_one_poll_are_judged_in_their_order(story: Any, agent: Any) -> None:
    wrong = {("GPU-0", "gpu_ecc_uncorrected_volatile_total"): 1.0}
    story.send(agent.record(), agent.record(), agent.record(wrong), agent.record(wrong))
    assert [f.kind for f in story.findings] == ["gpu_ecc_uncorrected"]
    assert story.findings[0].since_unix_ns == agent.unix_ns - 10**9


def test_many_nodes_in_one_poll_are_told_apart(story: Any, agent_of: Callable[..., Any]) -> None:
    agents = [agent_of(node=f"n{i}") for i in range(100)]
    for turn in range(3):
        wrong = {("GPU-6", "gpu_row_remap_pending"): 1.0} if turn else {}
        raws = tuple(Raw(0, turn * 100 + i, f"n{i}", a.record(wrong if i == 77 else {})) for i, a in enumerate(agents))
        story._keep(story.detector.step(float(turn), Polled(raws)))
    assert [(f.kind, f.subject.node, f.subject.id) for f in story.findings] == [("gpu_row_remap_pending", "n77", "GPU-6")]


def test_a_findings_record_is_whole(story: Any, agent: Any) -> None:
    (publish, _) = story.send(agent.record({("GPU-2", "gpu_row_remap_failure"): 1.0}))
    finding = Finding.FromString(publish.payload)
    assert publish.key == "gpu01/GPU-2"
    assert (finding.version, finding.detector, finding.since_unix_ns) == (1, "rules/gpu_row_remap_failure", agent.unix_ns)
    assert len(finding.id) == 16
    assert finding.detector_version
    assert [(e.name, e.value, e.expected) for e in finding.evidence] == [("remap failures", 1.0, 0.0)]
