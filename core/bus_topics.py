"""What each topic should be like, and in what one that is there differs from that."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gpuwarden.proto import topics

MAX_MESSAGE_BYTES: Final = 1_048_588  # as brokers are installed; our records are at most 1,000,000 bytes and a frame
QUIET_PARTITIONS: Final = 3
PARTITIONS: Final = "partitions"
REPLICATION: Final = "replication.factor"
MIN_INSYNC: Final = "min.insync.replicas"
_UNLIMITED: Final = -1
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """How long records stay: until they are older than `retention_s`, or their partition is larger than `retention_bytes`.

    `quiet` topics have few records, and so need few partitions.
    """

    retention_s: int
    retention_bytes: int
    quiet: bool = False

    def settings(self) -> dict[str, str]:
        """In Kafka's words, those that do not depend on the number of brokers."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(1000 * self.retention_s),
            "retention.bytes": str(self.retention_bytes),
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
        }

    def partitions(self, most: int) -> int:
        return min(most, QUIET_PARTITIONS) if self.quiet else most


PLANS: Final[Mapping[str, TopicPlan]] = {
    topics.TELEMETRY: TopicPlan(1 * _DAY_S, 16 << 30),  # who wants more of it records it
    topics.COMM: TopicPlan(1 * _DAY_S, 4 << 30),
    topics.SCORES: TopicPlan(7 * _DAY_S, 4 << 30),
    topics.PROGRESS: TopicPlan(1 * _DAY_S, 256 << 20),
    topics.FINDINGS: TopicPlan(90 * _DAY_S, _UNLIMITED, quiet=True),  # a detector that starts reads here what still fires
    topics.ACTIONS: TopicPlan(90 * _DAY_S, _UNLIMITED, quiet=True),
    topics.DEAD_LETTER: TopicPlan(14 * _DAY_S, 256 << 20, quiet=True),  # a flood of bad input must not fill a disk
}


def wanted(topic: str, partitions: int, replication: int) -> dict[str, str]:
    """Everything that `gpuwarden topics` sees to, by name. All but one replica must have a record before it counts as durable."""
    plan = PLANS[topic]
    return {
        PARTITIONS: str(plan.partitions(partitions)),
        REPLICATION: str(replication),
        MIN_INSYNC: str(max(1, replication - 1)),
        **plan.settings(),
    }


@dataclass(frozen=True, slots=True)
class Difference:
    """`obstacle` says why the setting is left alone; empty: it can be set without harm."""

    setting: str
    found: str
    wanted: str
    obstacle: str


def differences(found: Mapping[str, str], wanted: Mapping[str, str]) -> Iterator[Difference]:
    """Only what grows is without harm: what shrinks deletes records, refuses them or makes them less safe."""
    for setting, value in wanted.items():
        if found[setting] != value:
            yield Difference(setting, found[setting], value, _obstacle(setting, found, value))


def _obstacle(setting: str, found: Mapping[str, str], value: str) -> str:
    match setting:
        case "partitions" if int(found[setting]) > int(value):
            return "Kafka takes no partition away"
        case "partitions":
            return "a key would go on in another partition, and its records be read out of order; make a new topic, or keep what is"
        case "replication.factor":
            return "replicas are moved with kafka-reassign-partitions"
        case "min.insync.replicas" if int(found[REPLICATION]) <= int(value):
            return f"with a replication of {found[REPLICATION]} it would stop all writes when one broker is away"
        case "cleanup.policy":
            return "it changes which records are deleted; kafka-configs sets it if that is meant"
        case _ if _amount(found[setting]) > _amount(value):
            return "it would shrink; kafka-configs sets it if that is meant"
        case _:
            return ""


def _amount(value: str) -> float:
    return float("inf") if int(value) == _UNLIMITED else int(value)
