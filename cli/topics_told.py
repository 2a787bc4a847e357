"""What `gpuwarden topics` found and did, for people and for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from gpuwarden.core.bus_roles import Right
from gpuwarden.core.bus_topics import Difference

_UNDONE: Final = ("differs", "would be created", "would be given")


@dataclass(frozen=True, slots=True)
class TopicTold:
    """`state` is created, would be created, as wanted, set or differs."""

    topic: str
    wanted: Mapping[str, str]
    state: str
    differs: tuple[Difference, ...] = ()
    set: tuple[Difference, ...] = ()

    @property
    def good(self) -> bool:
        return self.state not in _UNDONE

    def figures(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RightTold:
    """`state` is given, would be given, as wanted, or also there: a right that none of our roles needs, and no fault by itself."""

    right: Right
    role: str
    state: str

    @property
    def good(self) -> bool:
        return self.state not in _UNDONE

    def figures(self) -> dict[str, Any]:
        return {"role": self.role, "state": self.state, **asdict(self.right)}


def tell(topics: Sequence[TopicTold], rights: Sequence[RightTold]) -> Iterator[str]:
    """Lines to print."""
    for topic in topics:
        shape = ", ".join(f"{name} {value}" for name, value in topic.wanted.items())
        yield f"{topic.topic}: {topic.state}" + (f" ({shape})" if "created" in topic.state else "")
        yield from (f"  {one.setting}: was {one.found}, is {one.wanted}" for one in topic.set)
        yield from map(_difference, topic.differs)
    for told in rights:
        right = told.right
        yield f"{right.principal} {right.operation} {right.kind} {right.name}: {told.state}"
    if any(not difference.obstacle for topic in topics for difference in topic.differs):
        yield "--apply sets what does no harm."


def _difference(one: Difference) -> str:
    return f"  {one.setting}: is {one.found}, should be {one.wanted}" + (f"; left: {one.obstacle}" if one.obstacle else "")
