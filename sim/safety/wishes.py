"""Policies that no operator would want: whatever a policy wishes, what the allocator grants must hold."""

import contextlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from gpuwarden.controller.policies import POLICIES, Policy
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power import domain, keeper
from gpuwarden.controller.power.level import Watts

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
    table: Mapping[str, Policy] = MappingProxyType({**POLICIES, "greedy": greedy, "erratic": Erratic(seed)})
    _install(table)
    try:
        yield
    finally:
        _install(POLICIES)


def _install(table: Mapping[str, Policy]) -> None:
    for module in (domain, keeper):  # both have it by name
        vars(module)["POLICIES"] = table
