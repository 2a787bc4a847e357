"""What topics should be like, and which differences may be set without harm."""

import pytest
from house import ROOT

from gpuwarden.core.bus_roles import AGENT, CONTROLLER, DETECTOR, RECORDER, ROLES, rights
from gpuwarden.core.bus_topics import MIN_INSYNC, PARTITIONS, PLANS, REPLICATION, differences, wanted
from gpuwarden.proto import topics

WANTED = wanted(topics.FINDINGS, 12, 3)


def test_every_topic_has_a_plan() -> None:
    assert set(PLANS) == set(topics.ALL)


def test_busy_topics_get_the_partitions_that_were_asked_for_and_quiet_ones_few() -> None:
    assert [wanted(topic, 12, 3)[PARTITIONS] for topic in topics.ALL] == ["12", "12", "12", "12", "3", "3", "3"]
    assert {wanted(topic, 1, 3)[PARTITIONS] for topic in topics.ALL} == {"1"}


@pytest.mark.parametrize(("replication", "insync"), [(1, "1"), (2, "1"), (3, "2"), (5, "4")])
def test_one_broker_may_be_away(replication: int, insync: str) -> None:
    assert wanted(topics.TELEMETRY, 12, replication)[MIN_INSYNC] == insync


def test_what_is_as_wanted_does_not_differ_whatever_else_is_set() -> None:
    assert list(differences({**WANTED, "segment.ms": "7"}, WANTED)) == []


@pytest.mark.parametrize(
    ("setting", "found", "obstacle"),
    [
        ("retention.ms", "1000", ""),
        ("retention.ms", "-1", "shrink"),
        ("retention.ms", "9999999999999", "shrink"),
        ("retention.bytes", "5", ""),
        ("max.message.bytes", "1000", ""),
        ("max.message.bytes", "9000000", "shrink"),
        (MIN_INSYNC, "1", ""),
        (MIN_INSYNC, "3", "shrink"),
        (PARTITIONS, "1", "read out of order"),
        (PARTITIONS, "12", "takes no partition away"),
        (REPLICATION, "2", "kafka-reassign-partitions"),
        ("cleanup.policy", "compact", "which records are deleted"),
    ],
)
def test_only_what_grows_is_set(setting: str, found: str, obstacle: str) -> None:
    (difference,) = [one for one in differences({**WANTED, setting: found}, WANTED) if one.setting == setting]
    assert (difference.found, difference.wanted) == (found, WANTED[setting])
    assert obstacle in difference.obstacle and bool(obstacle) == bool(difference.obstacle)


@pytest.mark.parametrize("replicas", ["1", "2"])
def test_min_insync_is_not_raised_to_where_one_broker_away_stops_all_writes(replicas: str) -> None:
    found = {**WANTED, REPLICATION: replicas, MIN_INSYNC: "1"}
    (insync,) = [one for one in differences(found, WANTED) if one.setting == MIN_INSYNC]
    assert "stop all writes" in insync.obstacle


def test_an_agent_writes_telemetry_and_communication_and_reads_nothing() -> None:
    assert [(r.operation, r.kind, r.name) for r in rights(AGENT, "agent-gpu01")] == [
        ("WRITE", "topic", topics.TELEMETRY), ("WRITE", "topic", topics.COMM),
    ]  # fmt: skip


def test_only_the_detector_writes_findings_and_only_the_controller_actions() -> None:
    writers = {t: [role for role in (AGENT, DETECTOR, CONTROLLER, RECORDER) if t in role.writes] for t in topics.ALL}
    assert writers[topics.FINDINGS] == [DETECTOR]
    assert writers[topics.ACTIONS] == [CONTROLLER]
    assert all(len(roles) == 1 for roles in writers.values())


def test_the_guide_has_every_topic_and_role_as_they_are() -> None:
    guide = (ROOT / "docs" / "kafka.md").read_text(encoding="utf-8")
    for topic, plan in PLANS.items():
        limit = "no limit" if plan.retention_bytes < 0 else f"{plan.retention_bytes >> 20} MiB"
        partitions = "at most 3" if plan.quiet else "`--partitions`"
        assert f"| `{topic}` | {partitions} | {plan.retention_s // 86_400} days | {limit} |" in guide
    for name, role in ROLES.items():
        writes, reads = (", ".join(t.split(".")[1] for t in topics.ALL if t in side) or "-" for side in (role.writes, role.reads))
        assert f"| {name} | {writes} | {reads} | {f'`{role.groups}*`' if role.groups else '-'} |" in guide
