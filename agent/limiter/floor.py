"""Sets every card to its floor, once: for after a limiter's end, however it ended. Needs no key, no network and no daemon.

Where a file that it goes by cannot be read, it goes lower rather than leave limits above the floor behind.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpuwarden.agent.child import Child, ChildFailed, Hung
from gpuwarden.agent.limiter.card import CardFloor
from gpuwarden.agent.limiter.config import LimiterConfig
from gpuwarden.agent.limiter.state import Remembered, load_state
from gpuwarden.core.config import ConfigError, load
from gpuwarden.proto.lease_pb2 import Mode

SESSION: Final = "gpuwarden.agent.limiter.floor_session:Session"
START_S: Final = 2.0  # with SET_S below what a service manager allows for a stop, 5 s
SET_S: Final = 2.0
LOWEST_W: Final = 0.0  # brought into a card's range it is the lowest limit that the card takes


@dataclass(frozen=True, slots=True)
class Aim:
    """What is to be done. `floor_w` is None where the mode is not auto, since no limit is ours there."""

    floor_w: float | None
    unreadable: tuple[str, ...]
    source: str


def aim(config_file: Path, state_file: Path) -> Aim:
    """`state_file` is where to look if the configuration cannot say it. A node without one has never been in auto."""
    config, unreadable = _read_config(config_file)
    try:
        remembered = load_state(state_file if config is None else config.state_file)
    except ConfigError as why:
        remembered, unreadable = Remembered(mode=Mode.MODE_AUTO), (*unreadable, str(why))
    if remembered.mode != Mode.MODE_AUTO:
        return Aim(None, unreadable, "not in auto")
    if config is not None:
        return Aim(config.floor_w, unreadable, f"the floor of {config_file}")
    if remembered.floor_w is not None:
        return Aim(remembered.floor_w, unreadable, f"the floor of the last start, {remembered.floor_w:.0f} W")
    return Aim(LOWEST_W, unreadable, "the lowest limit of each card")


def _read_config(config_file: Path) -> tuple[LimiterConfig | None, tuple[str, ...]]:
    try:
        return load(config_file, LimiterConfig), ()
    except ConfigError as why:
        return None, (str(why),)


def set_floors(floor_w: float) -> tuple[CardFloor, ...]:
    """What each card says afterwards. Hung, ChildFailed."""
    child = Child(SESSION, types=(CardFloor,), start_s=START_S)
    try:
        done: tuple[CardFloor, ...] = child.call("set_floors", floor_w, deadline_s=SET_S)
    finally:
        child.close()
    return done


def run(config_file: Path, state_file: Path) -> int:
    """Prints a line for each card. 1 if one is not at its floor for certain."""
    aimed = aim(config_file, state_file)
    if aimed.unreadable:
        print("\n".join((*aimed.unreadable, f"so it goes by: {aimed.source}")))
    if aimed.floor_w is None:
        print("not in auto: nothing is touched")
        return 0
    try:
        done = set_floors(aimed.floor_w)
    except (Hung, ChildFailed) as why:
        print(f"the floor could not be set: {why}")
        return 1
    print("\n".join(_lines(done)))
    return 1 if any(card.problem for card in done) else 0


def _lines(done: Sequence[CardFloor]) -> list[str]:
    return [f"{card.card}: {card.problem or f'at its floor of {card.floor_w:.0f} W'}{_seen(card)}" for card in done]


def _seen(card: CardFloor) -> str:
    return "" if math.isnan(card.requested_w) or not card.problem else f"; its limit is {card.requested_w:.0f} W"
