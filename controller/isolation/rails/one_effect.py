"""One effect for each act, over restarts too: what was ordered is not ordered again before it is known what came of it, and then only if nothing did."""

from typing import Final

from gpuwarden.controller.isolation.facts import Facts
from gpuwarden.controller.isolation.records import Effect, EffectState, WishKind
from gpuwarden.controller.isolation.wish import Objection, Wish, never, wait

RETRY_S: Final = 30.0
RETRY_MOST_S: Final = 3600.0
TRIES_MOST: Final = 5  # but of giving back, which is tried for as long as the node is out


def objection(wish: Wish, facts: Facts) -> Objection | None:
    effect = facts.effects.get(wish.key)
    if effect is None:
        return None
    match effect.state:
        case EffectState.DONE:
            return wait("it is done", quiet=True)
        case EffectState.ORDERED:
            return wait("it is under way", quiet=True)
        case EffectState.REFUSED:
            return never(f"it was refused: {effect.said}")
        case EffectState.UNKNOWN:
            return _again(effect, facts, "nobody can tell what came of it")
        case EffectState.LATER:
            return _again(effect, facts, "it was put off")


def _again(effect: Effect, facts: Facts, what: str) -> Objection | None:
    if effect.tries >= TRIES_MOST and effect.kind is not WishKind.RESUME:
        return never(f"{what}, {effect.tries} times: {effect.said}")
    if facts.truth_asked_s <= effect.at_s or facts.now_s - effect.at_s < min(RETRY_MOST_S, RETRY_S * 2 ** min(effect.tries - 1, 10)):
        return wait(f"{what}, and it is asked again: {effect.said}", quiet=True)
    return None
