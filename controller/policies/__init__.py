"""Policies: pure functions from the state of limits and their nodes to wishes. They only wish; `controller.power.allocator` decides.

A new policy is one file here, one line in the table.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from gpuwarden.controller.policies import dynamo, fair_share, headroom, none, polca
from gpuwarden.controller.policies.policy import Policy, stateless

POLICIES: Final[Mapping[str, Policy[Any]]] = MappingProxyType({
    "fair-share": stateless("fair-share", fair_share.wishes, dense=False),
    "headroom": headroom.POLICY,
    "polca": polca.POLICY,
    "dynamo": dynamo.POLICY,
    "none": stateless("none", none.wishes, dense=True),
})
