"""What a policy may see of some limits that stand side by side."""

from dataclasses import dataclass

from gpuwarden.controller.power.level import Level, Watts


@dataclass(frozen=True, slots=True)
class RowView:
    """Arrays have one entry a member of `level`, W of GPUs; `ratings_w` one a limit. `drawn_w` is the recent peak, NaN where nothing is known."""

    level: Level
    ratings_w: Watts
    most_w: Watts  # what the limits below leave
    drawn_w: Watts
    power_w: Watts  # newest reading, NaN where nothing is known
    limit_w: Watts  # limit in force, as read back; NaN where nothing is known
    rise_w: Watts  # by how much it has just risen, 0 where that was no step
