"""What a limiter tells its service manager: whether this node may take work, and one sentence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gpuwarden.agent.limiter.card import CardState

SAME_W: Final = 1.0  # the driver rounds limits to less than this
_SHOWN_CARDS: Final = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """`ready` may go back to False while a limit is being set; who has been told once is not told otherwise."""

    ready: bool
    sentence: str


def enforces(limits: CardState, wanted_w: float) -> bool:
    """The driver was told what is wanted, and enforces no more. Another limit beside ours may enforce less."""
    return abs(limits.requested_w - wanted_w) <= SAME_W and limits.enforced_w <= wanted_w + SAME_W


def unmet(limits: Sequence[CardState], wanted_w: Sequence[float], refused: Sequence[str]) -> str:
    """The cards that do not enforce what is wanted, and what their driver says."""
    found = list(_unmet(limits, wanted_w, refused or ("",) * len(limits)))
    more = f" and {len(found) - _SHOWN_CARDS} more" if len(found) > _SHOWN_CARDS else ""
    return ", ".join(found[:_SHOWN_CARDS]) + more


def _unmet(limits: Sequence[CardState], wanted_w: Sequence[float], refused: Sequence[str]) -> Iterator[str]:
    for index, (card, limit_w, why) in enumerate(zip(limits, wanted_w, refused, strict=True)):
        if not enforces(card, limit_w):
            yield f"card {index} is at {card.requested_w:.0f} W instead of {limit_w:.0f} W{f' ({why})' if why else ''}"
