"""What befalls a serving row under gpuwarden itself, when an operator says: most of it is the safety simulation's.

A new kind is one line in the table; what is the serving row's own is a function here. It strikes and returns how to heal it, or None where it cannot strike now.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from gpuwarden.sim.safety.faults import heads, links, nodes

if TYPE_CHECKING:
    from gpuwarden.sim.serving.live import LiveRow

Heal = Callable[[], None]
FOREIGN_RATIO: Final = 0.05  # of the budget: half a server of twenty


@dataclass(frozen=True, slots=True)
class Kind:
    """`lasts_s`: where nobody says how long."""

    befalls: "Callable[[LiveRow], Heal | None]"
    lasts_s: float


@dataclass(slots=True)
class Planned:
    """`struck`: None until it is due; then whether it could strike."""

    kind: str
    begin_s: float
    lasts_s: float
    struck: bool | None = field(default=None, compare=False)


def foreign_load(row: "LiveRow") -> Heal | None:
    """Somebody plugs in something that nobody declared."""
    row.carry(FOREIGN_RATIO * row.budget_w)
    return lambda: row.carry(0.0)


def meter_gone(row: "LiveRow") -> Heal | None:
    row.meter_told = False

    def heal() -> None:
        row.meter_told = True

    return heal


KINDS: Final[Mapping[str, Kind]] = MappingProxyType({
    "controller-killed": Kind(heads.killed, 10.0),
    "controller-hung": Kind(heads.hung, 10.0),
    "crash-loop": Kind(heads.crash_loop, 30.0),
    "partition": Kind(links.partition, 20.0),
    "messages-lost": Kind(links.lost, 60.0),
    "messages-late": Kind(links.late, 60.0),
    "messages-repeated": Kind(links.repeated, 60.0),
    "agent-hung": Kind(links.agent_hung, 20.0),
    "agent-lying": Kind(links.agent_lying, 60.0),
    "limiter-killed": Kind(nodes.limiter_killed, 3.0),
    "limiter-dead": Kind(nodes.limiter_dead, 60.0),
    "limits-reset": Kind(nodes.limits_reset, 30.0),
    "foreign-load": Kind(foreign_load, 60.0),
    "meter-gone": Kind(meter_gone, 60.0),
})


def strike(row: "LiveRow", fault: Planned) -> None:
    """Now; it heals by itself."""
    heal = KINDS[fault.kind].befalls(row)
    fault.struck = heal is not None
    if heal is not None:
        row.time.after(fault.lasts_s, heal)


def planned(text: str) -> Planned:
    """`KIND@MINUTE` or `KIND@MINUTE+SECONDS`; ValueError says what is wrong."""
    kind, _, when = text.partition("@")
    minute, plus, seconds = when.partition("+")
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind; there are {', '.join(KINDS)}")
    begin_s, lasts_s = 60.0 * _number(minute, "MINUTE"), _number(seconds, "SECONDS") if plus else KINDS[kind].lasts_s
    return Planned(kind, begin_s, lasts_s)


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{what} is {text!r}, should be a number: KIND@MINUTE or KIND@MINUTE+SECONDS") from None
    if not 0.0 <= number < 1e6:
        raise ValueError(f"{what} is {text}, should be 0 to 1000000")
    return number
