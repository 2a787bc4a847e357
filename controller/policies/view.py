"""What a policy may see of some limits that stand side by side."""

from dataclasses import dataclass

from gpuwarden.controller.power.level import Flags, Level, Places, Watts


@dataclass(frozen=True, slots=True)
class RowView:
    """Arrays have one entry a member of `level`, W of GPUs, or one a limit. `drawn_w` is the recent peak, NaN where nothing is known."""

    level: Level
    ratings_w: Watts  # one a limit
    most_w: Watts  # what the limits below leave
    drawn_w: Watts
    power_w: Watts  # newest reading, NaN where nothing is known
    limit_w: Watts  # limit in force, as read back; NaN where nothing is known
    rise_w: Watts  # by how much it has just risen, 0 where that was no step
    load_w: Watts  # one a limit: what it carries now, at most as far as no meter knows better
    bears_w: Watts  # one a limit: the worst draw that it stands for one lease, as warm as it is
    least_w: Watts  # what is to be left: the class's floor, or what a job keeps
    priority: Places  # 0 gives first
    lockable: Flags  # nodes whose cards' clocks can be locked
    training: Flags  # nodes whose peaks come together
    lag_s: float  # from a change of power to the limit that answers it being obeyed, at most
    obeyed: bool  # outside auto nobody sets what is wished: loads are as they would be without
    ramp_w_per_s: float  # by how much what training nodes draw may rise in a second; inf: as it comes
