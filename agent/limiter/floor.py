"""Sets every card to its floor, once: for after a limiter's end, however it ended. Needs no key, no network and no daemon."""

import math
from collections.abc import Sequence
from typing import Final

from gpuwarden.agent.child import Child, ChildFailed, Hung
from gpuwarden.agent.limiter.card import CardFloor
from gpuwarden.agent.limiter.config import LimiterConfig
from gpuwarden.agent.limiter.state import load_state
from gpuwarden.proto.lease_pb2 import Mode

SESSION: Final = "gpuwarden.agent.limiter.floor_session:Session"
START_S: Final = 2.0  # with SET_S below what a service manager allows for a stop, 5 s
SET_S: Final = 2.0


def set_floors(config: LimiterConfig) -> tuple[CardFloor, ...]:
    """What each card says afterwards; nothing where the mode is not auto, since no limit is ours there.

    ConfigError, if the state file says nothing that can be understood; Hung, ChildFailed.
    """
    if load_state(config.state_file).mode != Mode.MODE_AUTO:
        return ()
    child = Child(SESSION, types=(CardFloor,), start_s=START_S)
    try:
        done: tuple[CardFloor, ...] = child.call("set_floors", config.floor_w, deadline_s=SET_S)
    finally:
        child.close()
    return done


def run(config: LimiterConfig) -> int:
    """Prints a line for each card. 1 if one is not at its floor for certain."""
    try:
        done = set_floors(config)
    except (Hung, ChildFailed) as why:
        print(f"the floor could not be set: {why}")
        return 1
    print("\n".join(_lines(done)) or "not in auto: nothing is touched")
    return 1 if any(card.problem for card in done) else 0


def _lines(done: Sequence[CardFloor]) -> list[str]:
    return [f"{card.card}: {card.problem or f'at its floor of {card.floor_w:.0f} W'}{_seen(card)}" for card in done]


def _seen(card: CardFloor) -> str:
    return "" if math.isnan(card.requested_w) or not card.problem else f"; its limit is {card.requested_w:.0f} W"
