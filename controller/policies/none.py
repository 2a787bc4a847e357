"""No policy: everybody the most, and the allocator alone holds what must hold. What the others are compared with."""

from gpuwarden.controller.policies.view import RowView
from gpuwarden.controller.power.level import Watts


def wishes(view: RowView) -> Watts:
    """W of GPU limits, one entry a member."""
    return view.most_w
