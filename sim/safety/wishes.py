"""Policies that no operator would want: whatever a policy wishes, what the allocator grants must hold."""

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np

from gpuwarden.controller.policies import POLICIES
from gpuwarden.controller.policies.policy import Policy, stateless
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power import domain, wishing
from gpuwarden.controller.power.level import Watts

Table: TypeAlias = Mapping[str, Policy[Any]]

NAMES: Final = (*POLICIES, "greedy", "erratic")
CHANGES_ONE_IN: Final = 40  # calls; there are as many in a decision as there are levels


def greedy(view: RowView) -> Watts:
    """Everybody all that there is: the limits themselves are all that holds."""
    return view.most_w.copy()


class Erratic:
    """Each node another share of what there is, and now and then all shares change."""

    def __init__(self, seed: int) -> None:
        self._chance = np.random.default_rng(seed)
        self._shares = self._chance.random(64)

    def __call__(self, view: RowView) -> Watts:
        if self._chance.random() < 1 / CHANGES_ONE_IN:
            self._shares = self._chance.random(64) ** 0.5
        nodes = view.level.members
        wished_w: Watts = nodes.floor_w + self._shares[view.level.nodes] * (view.most_w - nodes.floor_w)
        return wished_w


@contextlib.contextmanager
def known(seed: int) -> Iterator[None]:
    """The controller takes these policies for its own meanwhile."""
    more = {"greedy": stateless("greedy", greedy, dense=False), "erratic": stateless("erratic", Erratic(seed), dense=False)}
    _install(MappingProxyType({**POLICIES, **more}))
    try:
        yield
    finally:
        _install(POLICIES)


def _install(table: Table) -> None:
    for module in (domain, wishing):  # both have it by name
        vars(module)["POLICIES"] = table
