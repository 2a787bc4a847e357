"""What befalls the supply, within what the operator wrote down."""

from collections.abc import Callable

from gpuwarden.sim.safety.row import Row
from gpuwarden.sim.safety.site import ON_BATTERY, USUAL

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
    return _comes(row, [case for case in row.site.shares if case != USUAL and not case.endswith(ON_BATTERY)])


def on_battery(row: Row) -> Heal | None:
    """Another: what carries a feed then is rated lower."""
    return _comes(row, [case for case in row.site.shares if case.endswith(ON_BATTERY)])


def _comes(row: Row, cases: list[str]) -> Heal | None:
    if not cases:
        return None
    row.lost = row.chance.choice(cases)

    def heal() -> None:
        row.lost = USUAL

    return heal
