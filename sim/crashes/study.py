"""Months of the job: with the paper's delays and with ours, as often as it crashed before and after, and with both intervals between checkpoints."""

import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any, Final

from gpuwarden.sim.crashes.inputs import Stated, false_per_s, measured
from gpuwarden.sim.crashes.lost import ROWS, Lost
from gpuwarden.sim.crashes.paper import (
    AFTER,
    AFTER_PERCENT,
    BEFORE,
    BEFORE_PERCENT,
    CAUSES,
    GPUS,
    INTERVAL_AFTER_S,
    INTERVAL_BEFORE_S,
    MONTH_S,
    ON_ONE_NODE,
)
from gpuwarden.sim.crashes.people import by_people
from gpuwarden.sim.crashes.watched import Watched

Progress = Callable[[str, float], object]

PERSON_MIN: Final = (30.0, 60.0, 90.0, 120.0, 150.0)
SHOWN: Final = (1.0, 0.5, 0.0)
FALSE_A_MONTH: Final = (10, 100)
AS_STATED: Final = Stated()


@dataclass(frozen=True, slots=True)
class Cell:
    """`ours`: gpuwarden's delays, else the paper's before."""

    ours: bool
    crashes: int
    interval_s: float
    stated: Stated = AS_STATED


PAPER_BEFORE: Final = Cell(False, BEFORE.crashes, INTERVAL_BEFORE_S)
OURS_AFTER: Final = Cell(True, AFTER.crashes, INTERVAL_AFTER_S)
CELLS: Final = tuple(
    Cell(ours, crashes, interval_s) for ours in (False, True) for crashes in (BEFORE.crashes, AFTER.crashes) for interval_s in (INTERVAL_BEFORE_S, INTERVAL_AFTER_S)
)


def month(task: tuple[Cell, str]) -> Lost:
    """The same seed has the same faults, whatever the cell is."""
    cell, seed = task
    chance = Random(seed)
    if not cell.ours:
        return by_people(cell.crashes, cell.interval_s, chance)
    false_findings = round(cell.stated.false_a_month + false_per_s() * MONTH_S)
    return Watched(cell.interval_s, cell.stated, chance).run(cell.crashes, false_findings)


def done(seed: int, months: int, jobs: int, progress: Progress) -> dict[str, Any]:
    """All figures, for JSON. With one job nothing is started beside."""
    swept = tuple(_swept())
    cells = tuple(dict.fromkeys((*CELLS, *(cell for _, cell in swept))))
    tasks = [(cell, f"{seed}/{number}") for cell in cells for number in range(months)]
    found = dict[Cell, list[Lost]]()
    for (cell, _), lost in zip(tasks, _run(tasks, jobs, progress), strict=True):
        found.setdefault(cell, []).append(lost)
    return {
        "preset": "c4", "seed": seed, "months": months, "inputs": inputs(),
        "before": figures(found[PAPER_BEFORE]), "after": figures(found[OURS_AFTER]),
        "cells": [{**_told(cell), **figures(found[cell])} for cell in CELLS],
        "sweep": [{**told, **figures(found[cell])} for told, cell in swept],
    }


def _run(tasks: Sequence[tuple[Cell, str]], jobs: int, progress: Progress) -> Iterator[Lost]:
    """In order."""
    if jobs == 1:
        yield from _told_of(map(month, tasks), len(tasks), progress)
        return
    with multiprocessing.Pool(jobs) as pool:
        yield from _told_of(pool.imap(month, tasks), len(tasks), progress)


def _told_of(months: Iterator[Lost], count: int, progress: Progress) -> Iterator[Lost]:
    for number, lost in enumerate(months, 1):
        progress(f"{count} months", number / count)
        yield lost


def _swept() -> Iterator[tuple[dict[str, Any], Cell]]:
    """What nobody has measured, at the after setting."""
    for shown in SHOWN:
        for person_min in PERSON_MIN:
            stated = replace(OURS_AFTER.stated, person_s=60 * person_min, shown_ratio=shown)
            yield {"person_min": person_min, "shown_ratio": shown}, replace(OURS_AFTER, stated=stated)
    for wrong in (0.0, 1.0):
        for a_month in FALSE_A_MONTH:
            stated = replace(OURS_AFTER.stated, false_a_month=a_month, wrong_ratio=wrong)
            yield {"false_a_month": a_month, "wrong_ratio": wrong}, replace(OURS_AFTER, stated=stated)


def _told(cell: Cell) -> dict[str, Any]:
    return {"delays": "ours" if cell.ours else "paper", "crashes": cell.crashes, "interval_s": round(cell.interval_s, 1)}


def figures(months: Sequence[Lost]) -> dict[str, Any]:
    """Means, and the standard deviation from month to month."""
    rows = {f"{row}_percent": [one.percent(row) for one in months] for row in ROWS}
    totals = [one.total_percent for one in months]
    made = {name: round(statistics.mean(values), 4) for name, values in {"total_percent": totals, **rows}.items()}
    happened = {name: statistics.mean(getattr(one, name) for one in months) for name in ("crashes", "by_person", "false_findings", "false_drains")}
    spread = {"total_sd_percent": round(statistics.stdev(totals), 4) if len(totals) > 1 else 0.0, "total_most_percent": round(max(totals), 4)}
    return {**made, **spread, **{f"{name}_a_month": round(value, 3) for name, value in happened.items()}}


def inputs() -> dict[str, Any]:
    """Where each comes from stands beside it."""
    paper = {
        "source": "C4, its table of one month; each delay is its share of the month over its crashes", "gpus": GPUS, "before": asdict(BEFORE), "after": asdict(AFTER),
        "before_total_percent": BEFORE_PERCENT, "after_total_percent": AFTER_PERCENT, "causes": {name: asdict(one) for name, one in CAUSES.items()},
        "on_one_node_ratio": round(ON_ONE_NODE, 4), "interval_before_s": round(INTERVAL_BEFORE_S, 1), "interval_after_s": INTERVAL_AFTER_S,
        "delays_before_s": {row: round(BEFORE.each_s(getattr(BEFORE, row)), 1) for row in ROWS[1:]},
        "fitted": ["interval_before_s", "delays_before_s"],
    }
    return {"paper": paper, "measured": measured(), "stated": asdict(OURS_AFTER.stated)}
