"""What a policy is: pure functions over the limits of one level. It may keep a state, but nothing of it anywhere else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Watts

S = TypeVar("S")
# What this decision's chance is seeded with: the same decision done again takes the same chances.
Chance: TypeAlias = tuple[int, ...]


def _nobody(state: object) -> None:
    return None


def _as_it_is(state: S, learnt: Mapping[int, Watts]) -> S:
    return state


@dataclass(frozen=True, slots=True)
class Policy(Generic[S]):
    """`wishes`: from state, time, view and chance to the next state and W of GPU limits, one entry a member, at most `most_w`.

    A policy with a state sees all limits of a level at every decision, one without only those that its nodes could overload.
    """

    begin: Callable[[float, RowView], S]
    wishes: Callable[[S, float, RowView, Chance], tuple[S, Watts]]
    why: Callable[[S, int], str]
    """Of a limit, by its place in the level: what the policy did there and why, for a person; ends a sentence."""
    locks: Callable[[S], Watts | None] = _nobody
    """What share of its highest clock each member may run at, 1 unlocked, by the state that a decision left; None: nobody is locked."""
    learnt: Callable[[S], Watts | None] = _nobody
    """What of a state is worth keeping over a restart, finite and at least 0: (limits, n); None: nothing."""
    resumed: Callable[[S, Mapping[int, Watts]], S] = _as_it_is
    """A state that has just begun, with what was learnt of some limits, by their places."""
    stateful: bool = True
    keeps_floors: bool = False
    """Whether it leaves nodes what single jobs keep (`RowView.least_w`)."""
    dense: bool = True
    """Whether limits may add up to more than the rating, so that not all can be raised at once."""


def stateless(name: str, wishes: Callable[[RowView], Watts], *, dense: bool) -> Policy[None]:
    """A policy that looks at nothing but this moment."""

    def now(state: None, now_s: float, view: RowView, chance: Chance) -> tuple[None, Watts]:
        return None, wishes(view)

    return Policy(lambda now_s, view: None, now, lambda state, limit: name, stateful=False, dense=dense)
