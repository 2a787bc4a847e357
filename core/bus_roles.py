"""Who does what on the bus: the topics that each daemon touches, and by that the only ones that it needs rights on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gpuwarden.proto import topics

TOPIC: Final = "topic"
GROUPS: Final = "groups"


@dataclass(frozen=True, slots=True)
class Role:
    """`groups` is what the names of its consumer groups begin with; empty if it reads nothing."""

    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    groups: str = ""

    @property
    def topics(self) -> tuple[str, ...]:
        """What must be there for it to work."""
        return tuple(topic for topic in topics.ALL if topic in self.writes + self.reads)


AGENT: Final = Role(writes=(topics.TELEMETRY, topics.COMM))
DETECTOR: Final = Role(
    writes=(topics.SCORES, topics.PROGRESS, topics.FINDINGS, topics.DEAD_LETTER),
    reads=(topics.TELEMETRY, topics.COMM, topics.SCORES, topics.FINDINGS),  # findings: what still fires on nodes that it is given
    groups="gpuwarden-detector",
)
CONTROLLER: Final = Role(writes=(topics.ACTIONS,), reads=(topics.PROGRESS, topics.FINDINGS), groups="gpuwarden-controller")
RECORDER: Final = Role(reads=topics.ALL, groups="gpuwarden-recorder")

ROLES: Final[Mapping[str, Role]] = {"agent": AGENT, "detector": DETECTOR, "controller": CONTROLLER, "recorder": RECORDER}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One line of Kafka's access control: who may do what, to a topic or to the groups whose names begin so."""

    principal: str
    operation: str
    kind: str
    name: str


def rights(role: Role, principal: str) -> Iterator[Right]:
    """All that the role needs and no more. Who may read or write a topic may also ask what it is like; writers need nothing
    else to be idempotent (KIP-679).
    """
    for topic in role.writes:
        yield Right(f"User:{principal}", "WRITE", TOPIC, topic)
    for topic in role.reads:
        yield Right(f"User:{principal}", "READ", TOPIC, topic)
    if role.groups:
        yield Right(f"User:{principal}", "READ", GROUPS, role.groups)
