"""What a policy may see of a row."""

from dataclasses import dataclass

from gpuwarden.controller.power.row import Row, Watts


@dataclass(frozen=True, slots=True)
class RowView:
    """Arrays have one entry a node, W of GPUs. `drawn_w` is the recent peak, NaN where nothing is known."""

    row: Row
    budget_w: float
    drawn_w: Watts
    power_w: Watts  # newest reading, NaN where nothing is known
    limit_w: Watts  # limit in force, as read back; NaN where nothing is known
    rise_w: Watts  # by how much it has just risen, 0 where that was no step
