"""What befalls the supply, within what the operator wrote down."""

from collections.abc import Callable

from gpuwarden.sim.safety.row import Row
from gpuwarden.sim.safety.site import USUAL

Heal = Callable[[], None]
USUAL_SHARE = 0.6  # of the base load that is declared as the most


def foreign_load(row: Row) -> Heal | None:
    """All that hangs there besides the cards draws the most that was declared."""
    row.foreign = 1.0
    row.cards.host_share[:] = 1.0

    def heal() -> None:
        row.foreign = USUAL_SHARE
        row.cards.host_share[:] = USUAL_SHARE

    return heal


def feed_lost(row: Row) -> Heal | None:
    """A listed contingency, of which no controller is told."""
    cases = [case for case in row.site.shares if case != USUAL]
    if not cases:
        return None
    row.lost = row.chance.choice(cases)

    def heal() -> None:
        row.lost = USUAL

    return heal
