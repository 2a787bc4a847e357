"""Three bands, as Dynamo (Wu et al., ISCA'16): above the cap threshold draws are cut to the target, below the uncap threshold all caps go.

Cuts go by priority groups, low to high, in a group to those who draw most, and never below floors. A baseline: it looks at measured draws
alone, and what must hold is held by the allocator.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from gpuwarden.controller.policies.policy import Chance, Policy
from gpuwarden.controller.policies.shed import UNCAPPED, pending_w, shed
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Watts

CAP_RATIO: Final = 0.99
TARGET_RATIO: Final = 0.95
UNCAP_RATIO: Final = 0.90


@dataclass(frozen=True, eq=False)
class State:
    """`caps_w`: one entry a member, `UNCAPPED` where there is none; the others one a limit."""

    caps_w: Watts
    cut_s: Watts
    capped: Watts  # load ratio at which the caps were last lowered; 0: there are none


def begin(now_s: float, view: RowView) -> State:
    limits = len(view.ratings_w)
    return State(np.full(len(view.most_w), UNCAPPED), np.full(limits, -np.inf), np.zeros(limits))


def wishes(state: State, now_s: float, view: RowView, chance: Chance) -> tuple[State, Watts]:
    """See `Policy`. No chance is taken."""
    load_w = view.load_w - pending_w(view, state.caps_w, now_s - state.cut_s)
    cut = load_w > CAP_RATIO * view.ratings_w
    uncap = (view.load_w if view.obeyed else load_w) < UNCAP_RATIO * view.ratings_w
    caps_w = np.where(view.level.spread(uncap), UNCAPPED, state.caps_w)
    if cut.any():
        drawn_w = np.minimum(view.power_w, caps_w)
        level_w = shed(view, drawn_w, np.where(cut, load_w - TARGET_RATIO * view.ratings_w, 0.0), np.ones(len(caps_w), bool))
        caps_w = np.where(drawn_w > level_w, level_w, caps_w)
    capped = np.where(cut, load_w / view.ratings_w, np.where(uncap, 0.0, state.capped))
    return State(caps_w, np.where(cut, now_s, state.cut_s), capped), np.minimum(view.most_w, caps_w)


def why(state: State, limit: int) -> str:
    """See `Policy`."""
    if not state.capped[limit]:
        return f"dynamo: below {UNCAP_RATIO:.0%} there are no caps"
    return (
        f"dynamo: at {state.capped[limit]:.0%} it was above {CAP_RATIO:.0%}, so draws are cut to {TARGET_RATIO:.0%}, low priorities and "
        f"high draws first, until it is below {UNCAP_RATIO:.0%}"
    )


POLICY: Final = Policy(begin, wishes, why)
