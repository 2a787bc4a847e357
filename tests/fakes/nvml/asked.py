"""Power at the moment of asking: the limiter itself is told ten times a second."""

from typing import Any

from gpuwarden.agent.limiter import cards as cards_module
from gpuwarden.agent.limiter.cards import Cards


def power_w(cards: Cards) -> tuple[float, ...]:
    """W per card, by the same session and under the same deadline."""
    answer: Any = cards._call("watched", cards._ids, deadline_s=cards_module.READ_S)
    return tuple(answer[0])
