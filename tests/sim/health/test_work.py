"""Where jobs run: as many nodes as their place has, others each time where there are spares, and two jobs at once on a shared node."""

import copy

import numpy as np
from numpy.typing import NDArray

from gpuwarden.sim.health.ward import Room, Ward, told
from gpuwarden.sim.health.work import Schedule

MINUTES = 5000
MIXED = Room((1, 2, 4, 8), seed=3, spares=3, shared=1)


def jobs(room: Room) -> NDArray[np.intp]:
    """(nodes, minutes)."""
    schedule = Schedule(room.places, room.spares, room.shared, np.random.default_rng(room.seed))
    return np.stack([schedule.at(minute, {}).job for minute in range(MINUTES)], axis=1)


def test_a_job_has_as_many_nodes_as_its_place_and_keeps_them_while_it_runs() -> None:
    job = jobs(MIXED)
    of = {one: job == one for one in np.unique(job[job >= 0])}
    sizes = {one: int(where.any(1).sum()) for one, where in of.items()}
    assert set(sizes.values()) == {1, 2, 4, 8}
    assert all(where.sum() == sizes[one] * where.any(0).sum() for one, where in of.items())
    fours = {tuple(np.flatnonzero(where.any(1))) for one, where in of.items() if sizes[one] == 4}
    assert len(fours) > 1


def test_spare_nodes_rest_and_a_shared_one_works_for_nobody_alone() -> None:
    room = told(MIXED, 100, [])
    busy = room.values[:, 50, room.columns.index("gpu_utilization_ratio[0]")]
    spare = (room.job[:, 50] < 0) & (np.arange(room.job.shape[0]) != MIXED.nodes - 1)
    assert spare.sum() == 3 and (busy[spare] < 0.01).all()
    assert (room.job[-1] == -1).all() and busy[-1] > 0.3


def test_without_spares_nobody_moves() -> None:
    job = jobs(Room((2, 4), seed=3))
    assert len(np.unique(job)) > 4
    assert (job[:1] == job[:2]).all() and (job[2:3] == job[2:]).all()


def test_a_copy_goes_on_by_itself() -> None:
    ward = Ward(MIXED)
    for _ in range(50):
        ward.minute([])
    other = copy.deepcopy(ward)
    ahead = [other.minute([]).values for _ in range(20)]
    assert all((ward.minute([]).values == of).all() for of in ahead)
