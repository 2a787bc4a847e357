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
    more = {"greedy": stateless("greedy", greedy, dense=True), "erratic": stateless("erratic", Erratic(seed), dense=True)}
    table: Table = MappingProxyType({**POLICIES, **more})
    before = vars(domain)["POLICIES"], vars(wishing)["POLICIES"]
    _install(table, table)
    try:
        yield
    finally:
        _install(*before)


def _install(of_domain: Table, of_wishing: Table) -> None:
    vars(domain)["POLICIES"], vars(wishing)["POLICIES"] = of_domain, of_wishing
