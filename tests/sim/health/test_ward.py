"""The simulated room: what is wrong shows where it should, and nowhere else."""

import numpy as np
import pytest

from gpuwarden.sim.health.changes import OF_JOBS, OF_NODES
from gpuwarden.sim.health.faults import FAULTS
from gpuwarden.sim.health.ward import Bout, Matrix, Room, Told, told

ROOM = Room((8, 8), seed=5)
FIRST, END = 120, 240
SHOWS = {
    "low_clocks": "gpu_sm_clock_hertz[3]", "powersave": "host_cpu_clock_mean_hertz", "performance": "host_cpu_clock_mean_hertz",
    "thermal_drift": "gpu_temperature_celsius[3]", "failing_fan": "host_bmc_fan_min_rpm", "foreign_cap": "gpu_power_limit_enforced_watts[3]",
    "memory_bandwidth": "gpu_memory_utilization_ratio[3]", "ecc_storm": "gpu_ecc_corrected_volatile_total[3]", "slow_card": "gpu_sm_clock_hertz[3]",
}  # fmt: skip


@pytest.fixture(scope="module")
def healthy() -> Told:
    return told(ROOM, END + 10, [])


def of(room: Told, column: str) -> Matrix:
    return room.values[:, :, room.columns.index(column)]


def test_every_number_is_one_and_the_same_seed_tells_the_same(healthy: Told) -> None:
    assert np.isfinite(healthy.values).all()
    assert not healthy.ill.any()
    assert (told(ROOM, 30, []).values == healthy.values[:, :30]).all()
    assert (told(Room((8, 8), 6), 30, []).values != healthy.values[:, :30]).any()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_shows_in_its_node_for_as_long_as_it_lasts_and_not_in_other_jobs(fault: str, healthy: Told) -> None:
    room = told(ROOM, END + 10, [Bout(fault, 2, FIRST, END)])
    assert room.ill[2, FIRST:END].all()
    assert room.ill.sum() == END - FIRST
    assert (room.values[8:] == healthy.values[8:]).all()
    assert (room.values[:, :FIRST] == healthy.values[:, :FIRST]).all()
    changed = (of(room, SHOWS[fault]) - of(healthy, SHOWS[fault]))[:8, END - 30 : END]
    apart = np.abs(changed - np.median(changed, axis=0)).mean(axis=1)
    assert apart[2] > 3 * np.delete(apart, 2).max()


@pytest.mark.parametrize("fault", ["memory_bandwidth", "slow_card"])
def test_one_card_holds_all_nodes_of_a_job_back_that_steps_together(fault: str) -> None:
    seed = next(seed for seed in range(50) if _waits(seed))
    sound, room = told(Room((8, 8), seed), END, []), told(Room((8, 8), seed), END, [Bout(fault, 2, FIRST, END)])
    fell = of(sound, "host_network_receive_bytes_total") - of(room, "host_network_receive_bytes_total")
    assert (fell[:8, FIRST:END].mean(axis=1) > 0.05 * of(sound, "host_network_receive_bytes_total")[:8, FIRST:END].mean(axis=1)).all()


def _waits(seed: int) -> bool:
    """Whether the first job is of the kind whose network tells it: training over many nodes."""
    network = of(told(Room((8, 8), seed), END, []), "host_network_receive_bytes_total")
    return bool((network[:8, FIRST:END].mean(axis=1) > 10e9).all())


@pytest.mark.parametrize("change", [*OF_JOBS, *OF_NODES])
def test_a_change_is_of_its_whole_job_and_no_fault(change: str, healthy: Told) -> None:
    room = told(ROOM, END + 10, [Bout(change, 1, FIRST, END)])
    assert not room.ill.any()
    assert (room.values[:8] == healthy.values[:8]).all()
    assert (room.values[8:, FIRST:END] != healthy.values[8:, FIRST:END]).any(axis=(1, 2)).all()


def test_a_fault_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="what: is 'gremlins', should be one of low_clocks"):
        Bout("gremlins", 0, 0, 1)
