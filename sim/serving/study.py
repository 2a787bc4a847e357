"""A row left alone, the same row with servers added and nobody to hold it back, and that one under a preset."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.policies.ladder import LADDERS
from gpuwarden.sim.serving.frozen import frozen, requests_of
from gpuwarden.sim.serving.live import LiveRow
from gpuwarden.sim.serving.outcome import Judged, outcome, swings
from gpuwarden.sim.serving.presets import IN_BAND
from gpuwarden.sim.serving.requests import DAY_S, MIX, Requests
from gpuwarden.sim.serving.row import RowSetup, Run, run

Progress = Callable[[str, float], object]
Loads = dict[str, NDArray[np.float64]]

FILLING_S: Final = 3600.0  # an empty row is no row
HIGH: Final[NDArray[np.bool_]] = np.array([kind.high for kind in MIX])


@dataclass(frozen=True, slots=True)
class Study:
    """`servers` make the budget (None: the calibrated row's), `added` of them come on top, load with them. `trace`: when requests come."""

    preset: str
    trace: Path | None
    servers: int | None
    added: float
    days: float
    seed: int
    more_power: float
    low_ratio: float


def done(study: Study, progress: Progress) -> tuple[dict[str, Any], Loads]:
    """All figures, and each run's load as a share of the budget, reading by reading. BadTrace, OSError."""
    row, duration_s = frozen(), study.days * DAY_S
    budget_servers = row.servers if study.servers is None else study.servers
    in_all = round(budget_servers * (1.0 + study.added))
    judged = Judged(FILLING_S, duration_s)

    def ran(what: str, count: int, ladder: str, brake: bool) -> tuple[RowSetup, Requests, Run]:
        setup = RowSetup(
            count, budget_servers, LADDERS[ladder], brake=brake, high_ratio=1.0 - study.low_ratio, more_power=study.more_power
        )
        asked = requests_of(row, count, study.days, study.seed, study.trace, study.low_ratio)
        return setup, asked, run(setup, asked, HIGH, duration_s, partial(_tell, progress, what, duration_s))

    setup, _, alone = ran("the row alone", budget_servers, "none", brake=False)
    told = swings(alone, setup, judged)
    _, _, uncapped = ran("servers added, nobody holds them back", in_all, "none", brake=False)
    under = f"servers added, {study.preset}"
    if study.preset in IN_BAND:
        asked = requests_of(row, in_all, study.days, study.seed, study.trace, study.low_ratio)
        setup = RowSetup(in_all, budget_servers, (), high_ratio=1.0 - study.low_ratio, more_power=study.more_power)
        capped, held = LiveRow(setup, IN_BAND[study.preset], asked, HIGH, study.seed).run(duration_s, partial(_tell, progress, under, duration_s))
    else:
        setup, asked, capped = ran(under, in_all, study.preset, brake=True)
        held = None
    made = {
        "preset": study.preset, "trace": study.trace.name if study.trace else None, "servers": budget_servers, "servers_in_all": in_all,
        "days": study.days, "seed": study.seed, "budget_w": setup.budget_w, "row": told,
        "uncapped": swings(uncapped, setup, judged),
        **outcome(capped, uncapped, setup, asked, HIGH, judged), "held": asdict(held) if held else None,
    }
    return made, {"added, not held back": uncapped.load, f"added, {study.preset}": capped.load, "the row alone": alone.load}


def _tell(progress: Progress, what: str, duration_s: float, now_s: float) -> None:
    progress(what, now_s / duration_s)
