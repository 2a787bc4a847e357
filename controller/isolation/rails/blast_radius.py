"""Never more than so many out by our hand, however good the reasons look: a detector that is wrong is wrong about all of them."""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, latch, never

WINDOW_S: Final = 600.0


def objection(wish: Wish, facts: Facts) -> Objection | None:
    if wish.kind is not WishKind.DRAIN or wish.by or facts.truth is None:
        return None
    most = max(facts.config.blast_nodes, int(facts.config.blast_share * len(facts.truth.nodes)))
    recent = _recent(facts, shadow=wish.shadow) | {wish.node}
    if len(recent) > most:
        return latch(f"{len(recent)} nodes within {WINDOW_S / 60:.0f} min would be more than {most}: {', '.join(sorted(recent))}")
    out = facts.out(shadow=wish.shadow) | {wish.node}
    if len(out) > most:
        return never(f"{len(out)} nodes out by our hand would be more than {most}: {', '.join(sorted(out))}")
    return None


def _recent(facts: Facts, *, shadow: bool) -> set[str]:
    """Taken out in the window, even if they are back by now."""
    since_s = max(facts.now_s - WINDOW_S, facts.reset_s("blast_radius", shadow=shadow))
    pasts = facts.pasts.values()
    return {past.node for past in pasts for at_s in (*past.isolated_s, *(past.would_have_s if shadow else ())) if at_s > since_s}
