"""Which faults of a simulated room are found, by strength, and which healthy changes: by ours, by its members alone, and by what there was before them.

    python bench/health_faults.py [--seed 1] [--json FILE]

Ten jobs of one node, ten of two, ten of four and ten of eight run at once, one after another on nodes that change; eight nodes are spare, one has two
jobs. After three days and ten hours, a node of a job of each size has one of the nine faults of sim/health for eight hours: the same room again for each strength, and
once with the ten healthy changes instead. Nothing is labelled. All rows may make 0.1 findings a node and day. F is of findings: what is found of the ill nodes,
against findings of all others meanwhile. `own` is rolling.py, `mean z2 refit` its simplest rival, both on means of five minutes; `own` judges the ill nodes only.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from health_changes import CHANGES, changes
from health_room import Branch, Place
from health_rows import (
    BUDGET,
    DAY,
    FIRST,
    LASTS,
    OURS,
    SIZES,
    STEP_S,
    Before,
    Flags,
    mean_z2_refit,
    ours,
    own,
)

from gpuwarden.detector.health.budget import findings
from gpuwarden.sim.health.faults import FAULTS
from gpuwarden.sim.health.ward import Bout, Room

SPARES, SHARED = 8, 1
STRENGTHS: Final = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
OWN_AT: Final = 1.0  # alone: it costs most
LEARNED_DAYS: Final = 2  # before them no finding is counted


@dataclass(frozen=True, slots=True)
class Line:
    """Of one row and strength. `false` findings in `node_days`; `first_minutes`: median until those found are."""

    row: str
    strength: float
    found: tuple[str, ...]
    of: int
    false: int
    node_days: float
    first_minutes: float | None

    @property
    def f(self) -> float:
        found = len(self.found)
        return 2 * found / (self.of + found + self.false)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    place = Place(Room(SIZES * len(CHANGES), args.seed, SPARES, SHARED), FIRST)
    _healthy(place)
    nodes = [place.at(at)[0] for at in range(len(SIZES) * len(FAULTS))]
    whats = [fault for fault in FAULTS for _ in SIZES]
    refit = Before(mean_z2_refit, place.before.values, np.arange(place.room.nodes), BUDGET)
    itself = Before(own, place.before.values, np.array(nodes), BUDGET)
    lines = list[Line]()
    for strength in STRENGTHS:
        bouts = [Bout(what, node, FIRST, FIRST + LASTS, strength) for what, node in zip(whats, nodes, strict=True)]
        branch = place.branch(bouts, [(node,) for node in nodes], LASTS, BUDGET)
        of = [_line(name, strength, whats, nodes, ours(branch.watched, members, BUDGET)) for name, members in OURS.items()]
        of.append(_line("mean z2 refit", strength, whats, nodes, refit.flags(branch.watched.values)))
        if strength == OWN_AT:
            of.append(_line("own", strength, whats, range(len(nodes)), itself.flags(branch.watched.values)))
        _show(of, branch, whats)
        lines += of
    healthy = changes(place, refit)
    if args.json:
        told = {"faults": [asdict(line) | {"f": line.f} for line in lines], "changes": healthy}
        args.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


def _healthy(place: Place) -> None:
    """How the budget was kept before anything was amiss."""
    days = (FIRST - LEARNED_DAYS * DAY) / DAY * place.room.nodes
    for name, members in OURS.items():
        made = findings(ours(place.before, members, BUDGET)[:, LEARNED_DAYS * DAY :], STEP_S)
        print(f"healthy room, {name}: {made} findings in {days:.0f} node-days, {made / days / BUDGET:.2f} of the budget", flush=True)


def _line(row: str, strength: float, whats: Sequence[str], nodes: Sequence[int], flags: Flags) -> Line:
    """`nodes` as rows of the flags."""
    found = tuple(f"{what} {SIZES[at % len(SIZES)]}" for at, (what, node) in enumerate(zip(whats, nodes, strict=True)) if flags[node].any())
    after = [int(np.argmax(flags[node])) for node in nodes if flags[node].any()]
    others = np.delete(flags, nodes, 0)
    false = findings(others, STEP_S) if len(others) else 0
    return Line(row, strength, found, len(nodes), false, len(others) * LASTS / DAY, float(np.median(after)) if after else None)


def _show(lines: Sequence[Line], branch: Branch, whats: Sequence[str]) -> None:
    print(f"\nstrength {lines[0].strength:g}")
    for line in lines:
        false = f"{line.false} false findings in {line.node_days:.0f} node-days, F {line.f:.2f}" if line.node_days else "others not judged"
        after = f"after {line.first_minutes:.0f} minutes" if line.found else ""
        print(f"  {line.row:13} {len(line.found):2} of {line.of} {after}, {false}")
    for at, reasons in enumerate(branch.reasons):
        told = "not found" if reasons is None else ", ".join(
            f"{one.metric} {one.seen:.4g}, expected {one.expected:.4g} ({one.deviations:.0f} deviations)" for one in reasons
        )
        print(f"    {whats[at]} {SIZES[at % len(SIZES)]}: {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
