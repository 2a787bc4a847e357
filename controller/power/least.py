"""What single jobs keep: watts that a policy leaves their nodes, above the floors of their classes."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpuwarden.controller.power.level import ROUNDING, Flags, Watts
from gpuwarden.controller.power.tree import Tree


@dataclass(frozen=True, slots=True)
class JobFloor:
    """`floor_w` is of one GPU of each of `nodes`. Ends by the wall clock, since people plan by it."""

    job: str
    nodes: tuple[str, ...]
    floor_w: float
    until_unix_ns: int
    actor: str


@dataclass(frozen=True, eq=False)
class Least:
    """Of a domain's nodes: W of GPUs, one entry a node, and the job that keeps them, empty where it is the class's floor alone."""

    floors: tuple[JobFloor, ...]
    watts: Watts
    jobs: tuple[str, ...]

    @cached_property
    def of_jobs(self) -> Flags:
        """Whether a job keeps it."""
        return np.array([bool(job) for job in self.jobs])

    @cached_property
    def shown(self) -> tuple[JobFloor, ...]:
        """In the order of their jobs."""
        return tuple(sorted(self.floors, key=lambda floor: floor.job))


def least_of(tree: Tree, floors: Collection[JobFloor]) -> Least:
    """Where jobs share a node the higher floor counts. Nodes of other domains are passed over."""
    watts, jobs, places = tree.floor_w.copy(), [""] * len(tree.names), {name: place for place, name in enumerate(tree.names)}
    ours = tuple(floor for floor in floors if any(node in places for node in floor.nodes))
    for floor in ours:
        for place in (places[node] for node in floor.nodes if node in places):
            if (kept_w := min(floor.floor_w * tree.gpus[place], tree.default_w[place])) > watts[place]:
                watts[place], jobs[place] = kept_w, floor.job
    return Least(ours, watts, tuple(jobs))


def least_problems(tree: Tree, ratings_w: Sequence[Watts], least: Least) -> Iterator[str]:
    """Limits that do not carry these floors, each with its sum."""
    for level, carried_w in zip(tree.levels, ratings_w, strict=True):
        floors_w = level.least_w(least.watts[level.nodes])
        for number in np.flatnonzero(floors_w > carried_w * ROUNDING).tolist():
            yield f"{level.names[number]} carries {carried_w[number]:,.0f} W, with it the floors of jobs and classes would be {floors_w[number]:,.0f} W"
