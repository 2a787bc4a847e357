"""Policies: pure functions from the state of limits and their nodes to wishes. They only wish; `controller.power.allocator` decides.

A new policy is one file here, one line in the table.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gpuwarden.controller.policies import fair_share
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Watts

# W of GPU limits wished, one entry a member.
Policy = Callable[[RowView], Watts]

POLICIES: Final[Mapping[str, Policy]] = MappingProxyType({"fair-share": fair_share.wishes})
