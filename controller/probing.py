"""The edge to tests of nodes: power is asked for what a test needs, then the node's agent for the test. Nobody waits here: the agent begins once its limits allow it."""

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from gpuwarden.controller.events import EndJobFloor, Event, SetJobFloor
from gpuwarden.controller.isolation.events import Outcome, Performed, Probe
from gpuwarden.controller.rpc_refusal import Refused

ACTOR: Final = "isolation"
LIMITS_WAIT_S: Final = 150.0  # for which an agent waits, and some for the way there

AskPower = Callable[[Callable[[int], Event]], "Future[bytes]"]

_log = logging.getLogger("gpuwarden.isolation")


class Probing:
    """`ask(node, id, name)` has one Probed for its answer, which somebody else offers; `power` asks what an operator might."""

    def __init__(self, ask: Callable[[str, str, str], None], power: AskPower, offer: Callable[[Performed], object]) -> None:
        self._ask, self._power, self._offer = ask, power, offer

    def order(self, act: Probe) -> None:
        if act.needs_w > 0:
            lasts_s = LIMITS_WAIT_S + act.deadline_s
            self._ask_power(lambda token: SetJobFloor(token, ACTOR, act.key, _job(act.key), (act.node,), act.needs_w, lasts_s, False))
        self._offer(Performed(act.key, Outcome.DONE))
        self._ask(act.node, act.key, act.name)

    def end_power(self, key: str) -> None:
        """Also of a test that an earlier life of the controller ordered: what was set aside for it has outlived that. Where nobody says so it ends by itself."""
        self._ask_power(lambda token: EndJobFloor(token, ACTOR, f"{key}/end", _job(key)))

    def _ask_power(self, make_event: Callable[[int], Event]) -> None:
        self._power(make_event).add_done_callback(_say_refused)


def _job(key: str) -> str:
    """As its floor is named where jobs' floors are."""
    return f"gpuwarden {key}"


def _say_refused(answer: "Future[bytes]") -> None:
    """The test begins only where limits are high enough, whoever has set them; a policy that knows no floors, or a floor that is lower, may well have."""
    why = None if answer.cancelled() else answer.exception()
    if isinstance(why, Refused) and why.why.reason != "NO_SUCH_FLOOR":  # there is none to end where it needed no power
        _log.info("no power was set aside for a test: %s", why)
