"""Ten healthy changes of a simulated room's jobs, which should not be found: another job, other batches, an end, checkpoints, a warm room, our own cap."""

from typing import Final

import numpy as np
from health_room import Place
from health_rows import BUDGET, DAY, FIRST, LASTS, OURS, SIZES, STEP_S, Before, Flags, ours

from gpuwarden.detector.health.budget import findings
from gpuwarden.sim.health.changes import OF_JOBS, OF_NODES
from gpuwarden.sim.health.ward import Bout

CHANGES: Final = (*OF_JOBS, *OF_NODES)


def changes(place: Place, refit: Before) -> list[dict[str, object]]:
    """One of each for a job of each size, all at once; prints what was found, which should be nothing."""
    bouts = [Bout(what, at * len(SIZES) + size, FIRST, FIRST + LASTS) for at, what in enumerate(CHANGES) for size in range(len(SIZES))]
    nodes = [place.at(bout.at) for bout in bouts]
    branch = place.branch(bouts, nodes, LASTS, BUDGET)
    print("\nhealthy changes")
    told = [_row(name, ours(branch.watched, members, BUDGET), bouts, nodes) for name, members in OURS.items()]
    told.append(_row("mean z2 refit", refit.flags(branch.watched.values), bouts, nodes))
    for bout, of, reasons in zip(bouts, nodes, branch.reasons, strict=True):
        if reasons:
            print(f"    {bout.what} {len(of)}: {', '.join(f'{one.metric} {one.seen:.4g}, expected {one.expected:.4g}' for one in reasons)}")
    return told


def _row(name: str, flags: Flags, bouts: list[Bout], nodes: list[tuple[int, ...]]) -> dict[str, object]:
    """Prints and gives which changes were found, of which sizes, and how often anything was."""
    found = [f"{bout.what} {len(of)}" for bout, of in zip(bouts, nodes, strict=True) if flags[list(of)].any()]
    changed = sorted({node for of in nodes for node in of})
    of_changed, of_others = findings(flags[changed], STEP_S), findings(np.delete(flags, changed, 0), STEP_S)
    days = len(changed) * LASTS / DAY
    print(
        f"  {name:13} {len(found)} of {len(bouts)} found ({', '.join(found) or 'none'}); {of_changed} findings in {days:.0f} node-days of changed jobs, "
        f"where the budget is {days * BUDGET:.1f}; {of_others} elsewhere", flush=True,
    )
    return {"row": name, "found": found, "findings_of_changed": of_changed, "node_days_of_changed": days, "findings_elsewhere": of_others}

