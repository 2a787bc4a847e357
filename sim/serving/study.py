"""A row left alone, the same row with servers added and nobody to hold it back, and that one under a preset."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gpuwarden.controller.policies.ladder import LADDERS
from gpuwarden.sim import powerlog
from gpuwarden.sim.safety.network import Weather
from gpuwarden.sim.serving.faults import Planned
from gpuwarden.sim.serving.frozen import frozen, requests_of
from gpuwarden.sim.serving.live import LiveRow
from gpuwarden.sim.serving.model import Server
from gpuwarden.sim.serving.outcome import Judged, befallen, outcome, swings, trained
from gpuwarden.sim.serving.presets import IN_BAND
from gpuwarden.sim.serving.requests import DAY_S, MIX, Requests
from gpuwarden.sim.serving.row import RowSetup, Run, run
from gpuwarden.sim.serving.training import Job, job_of

Progress = Callable[[str, float], object]
Loads = dict[str, NDArray[np.float64]]

FILLING_S: Final = 3600.0  # an empty row is no row
HIGH: Final[NDArray[np.bool_]] = np.array([kind.high for kind in MIX])


@dataclass(frozen=True, slots=True)
class Study:
    """`servers` make the budget (None: the calibrated row's), `added` of them come on top, load with them. `trace`: when requests come.

    `training` of them are a job's, as `power_log` recorded it; under our own policies its rises keep to `ramp_w_per_s`, `faults` befall the row, and
    messages are lost and late as `weather` says.
    """

    preset: str
    trace: Path | None
    servers: int | None
    added: float
    days: float
    seed: int
    more_power: float
    low_ratio: float
    faults: tuple[Planned, ...] = ()
    weather: Weather = field(default_factory=Weather)
    training: int = 0
    power_log: Path | None = None
    ramp_w_per_s: float | None = None


def done(study: Study, progress: Progress) -> tuple[dict[str, Any], Loads]:
    """All figures, and each run's load as a share of the budget, reading by reading. BadTrace, BadPowerLog, OSError."""
    row, duration_s = frozen(), study.days * DAY_S
    budget_servers = row.servers if study.servers is None else study.servers
    in_all = round(budget_servers * (1.0 + study.added))
    serving, job = in_all - study.training, _job(study)
    judged = Judged(FILLING_S, duration_s)

    def ran(what: str, count: int, ladder: str, brake: bool, training: Job | None) -> tuple[RowSetup, Requests, Run]:
        setup = RowSetup(
            count, budget_servers, LADDERS[ladder], brake=brake, high_ratio=1.0 - study.low_ratio, more_power=study.more_power, training=training
        )
        asked = requests_of(row, count, study.days, study.seed, study.trace, study.low_ratio)
        return setup, asked, run(setup, asked, HIGH, duration_s, partial(_tell, progress, what, duration_s))

    setup, _, alone = ran("the row alone", budget_servers, "none", brake=False, training=None)
    told = swings(alone, setup, judged)
    setup, asked, uncapped = ran("servers added, nobody holds them back", serving, "none", brake=False, training=job)
    under = f"servers added, {study.preset}"
    if study.preset in IN_BAND:
        live = LiveRow(setup, IN_BAND[study.preset], asked, HIGH, study.seed, study.ramp_w_per_s, study.faults, study.weather)
        capped, held = live.run(duration_s, partial(_tell, progress, under, duration_s))
    else:
        setup, asked, capped = ran(under, serving, study.preset, brake=True, training=job)
        held = None
    made = {
        "preset": study.preset, "trace": study.trace.name if study.trace else None, "servers": budget_servers, "servers_in_all": in_all,
        "days": study.days, "seed": study.seed, "budget_w": setup.budget_w, "row": told,
        "uncapped": swings(uncapped, setup, judged),
        **outcome(capped, uncapped, setup, asked, HIGH, judged), "held": asdict(held) if held else None,
        "training_nodes": study.training, "training": trained(capped, uncapped, judged), "faults": befallen(capped, setup, study.faults),
        "message_loss": study.weather.loss, "message_late_s": study.weather.late_s,
    }
    return made, {"added, not held back": uncapped.load, f"added, {study.preset}": capped.load, "the row alone": alone.load}


def _job(study: Study) -> Job | None:
    """Its recording begins where the row counts as filled."""
    if study.power_log is None or not study.training:
        return None
    log = powerlog.read(study.power_log)
    if len(log.nodes) < study.training:
        raise powerlog.BadPowerLog(f"{study.power_log}: has {len(log.nodes)} nodes, {study.training} are to train")
    return job_of(log, study.training, Server(), begin_s=log.duration_s - FILLING_S)


def _tell(progress: Progress, what: str, duration_s: float, now_s: float) -> None:
    progress(what, now_s / duration_s)
