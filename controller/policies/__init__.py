"""Policies: pure functions from a row's state to wishes. They only wish; `controller.power.allocator` decides.

A new policy is one file here, one line in the table.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from gpuwarden.controller.policies import fair_share
from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.row import Watts

# W of GPU limits wished, one entry a node.
Policy = Callable[[RowView], Watts]

POLICIES: Final[Mapping[str, Policy]] = MappingProxyType({"fair-share": fair_share.wishes})
