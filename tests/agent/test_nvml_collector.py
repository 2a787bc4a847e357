"""What the NVML collector tells of a node that has trouble, each thing once and of the right card."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.nvml.steer import FakeNode

from gpuwarden.agent.child import ChildFailed, Hung
from gpuwarden.agent.collectors import nvml
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.reading import Collector, DeviceEvent, Reading, Unsupported

GPUS = 3
Open = Callable[[], Collector]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    made: list[Collector] = []

    def make() -> Collector:
        made.append(nvml.open(AgentConfig(proc=tmp_path / "proc")))
        return made[-1]

    yield make
    for collector in made:
        collector.close()


@pytest.fixture
def collector(node: FakeNode, opened: Open) -> Collector:
    return opened()


def values(reading: Reading, gpu: int) -> dict[str, float]:
    return dict(reading.devices[gpu].values)


def when_it_answers(collector: Collector) -> Reading:
    end_s = time.monotonic() + 20.0
    while True:
        try:
            reading = collector.collect()
            if reading.devices:
                return reading
        except (Hung, ChildFailed):
            assert time.monotonic() < end_s
        time.sleep(0.1)


def events_until(collector: Collector, enough: Callable[[list[DeviceEvent]], bool]) -> list[DeviceEvent]:
    seen: list[DeviceEvent] = []
    end_s = time.monotonic() + 10.0
    while not enough(seen):
        assert time.monotonic() < end_s, seen
        seen += collector.collect().events
        time.sleep(0.05)
    return seen


def test_a_card_lost_before_the_start_is_told_by_the_first_pass(node: FakeNode, opened: Open) -> None:
    node.lose(1)
    first = opened().collect()
    assert [(event.kind, event.device_id) for event in first.events] == [("gpu_lost", first.devices[1].id)]
    assert values(first, 1) == {"gpu_lost": 1.0} and "gpu_power_watts" in values(first, 2)


def test_a_card_that_comes_back_is_read_again_and_told_when_lost_again(node: FakeNode, collector: Collector) -> None:
    node.lose(1)
    collector.collect()
    node.lose(1, lost=False)
    assert values(collector.collect(), 1)["gpu_lost"] == 0.0
    node.lose(1)
    assert [event.kind for event in collector.collect().events] == ["gpu_lost"]


def test_a_driver_that_hangs_before_the_start_is_told_by_the_first_pass(
    node: FakeNode, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvml, "DEADLINE_S", 0.3)
    node.hang(True, "nvmlDeviceGetFieldValues")
    assert [event.kind for event in opened().collect().events] == ["driver_hung"]


def test_a_second_hang_is_told_again(node: FakeNode, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "DEADLINE_S", 0.5)
    for _ in range(2):
        node.hang(True, "nvmlDeviceGetFieldValues")
        assert [event.kind for event in collector.collect().events] == ["driver_hung"]
        with pytest.raises(Hung):
            collector.collect()
        node.hang(False)
        when_it_answers(collector)


def test_a_driver_that_goes_away_and_comes_back_is_told_once(node: FakeNode, collector: Collector) -> None:
    collector.collect()
    node.unload_driver()
    assert [event.kind for event in collector.collect().events] == ["driver_reloaded"]
    with pytest.raises(ChildFailed):
        collector.collect()
    node.reload_driver()
    assert when_it_answers(collector).events == collector.collect().events == ()


def test_a_reload_that_no_call_failed_of_is_told_once(node: FakeNode, collector: Collector) -> None:
    time.sleep(0.3)
    collector.collect()
    node.reload_driver()
    assert [event.kind for event in collector.collect().events] == ["driver_reloaded"]
    assert collector.collect().events == ()


def test_xids_are_counted_by_card_and_each_is_told(node: FakeNode, collector: Collector) -> None:
    ids = [device.id for device in collector.collect().devices]
    for gpu, code in ((0, 31), (2, 63), (2, 63)):
        node.xid(gpu, code)
    seen = events_until(collector, lambda events: len(events) >= 3)
    assert [(event.kind, event.device_id, event.code) for event in seen] == [("xid", ids[0], 31), ("xid", ids[2], 63), ("xid", ids[2], 63)]
    assert [values(collector.collect(), gpu)["gpu_xid_errors_total"] for gpu in range(GPUS)] == [1, 0, 2]


def test_one_lost_card_does_not_silence_the_xids_of_the_others(node: FakeNode, collector: Collector) -> None:
    collector.collect()
    node.xid(0, 79)
    node.lose(0)
    seen = events_until(collector, lambda events: {"xid", "gpu_lost"} <= {event.kind for event in events})
    assert {event.device_id[-1] for event in seen} == {"0"}
    end_s = time.monotonic() + 10.0
    while not any("GPU 0 GpuIsLost" in lack for lack in collector.collect().lacks):
        assert time.monotonic() < end_s
        time.sleep(0.1)
    node.xid(2, 48)
    (told,) = events_until(collector, lambda events: bool(events))
    assert (told.code, told.device_id[-1]) == (48, "2")


def test_a_verdict_of_the_driver_is_told_when_it_changes(node: FakeNode, collector: Collector) -> None:
    node.set("recovery_action", 1, 1)
    assert [(event.kind, event.code) for event in collector.collect().events] == [("recovery_action", 1)]
    assert collector.collect().events == ()
    node.set("recovery_action", 2, 1)
    assert [event.code for event in collector.collect().events] == [2]


def test_errors_arrive_under_their_own_names(node: FakeNode, collector: Collector) -> None:
    told = {
        "ecc_corrected_volatile": "gpu_ecc_corrected_volatile_total", "ecc_uncorrected_volatile": "gpu_ecc_uncorrected_volatile_total",
        "ecc_corrected_aggregate": "gpu_ecc_corrected_aggregate_total", "ecc_uncorrected_aggregate": "gpu_ecc_uncorrected_aggregate_total",
        "remapped_corrected": "gpu_remapped_rows_corrected", "remapped_uncorrected": "gpu_remapped_rows_uncorrected",
        "remap_pending": "gpu_row_remap_pending", "remap_failure": "gpu_row_remap_failure",
        "nvlinks_active": "gpu_nvlink_active_links", "nvlink_errors": "gpu_nvlink_errors_total", "pcie_replays": "gpu_pcie_replays_total",
        "pcie_generation": "gpu_pcie_generation", "pcie_width": "gpu_pcie_width_lanes", "persistence": "gpu_persistence_mode",
        "memory_used_bytes": "gpu_memory_used_bytes",
    }
    for number, knob in enumerate(told, start=1):
        node.set(knob, number, 1)
    read = values(collector.collect(), 1)
    assert {knob: read[metric] for knob, metric in told.items()} == {knob: number for number, knob in enumerate(told, start=1)}


def test_traffic_is_a_rate_from_the_second_pass_on(node: FakeNode, collector: Collector) -> None:
    node.set("pcie_bytes_per_s", 2e9, 0)
    assert "gpu_pcie_receive_bytes_per_second" not in values(collector.collect(), 0)
    time.sleep(0.5)
    assert values(collector.collect(), 0)["gpu_pcie_receive_bytes_per_second"] == pytest.approx(2e9, rel=0.2)


def test_processes_carry_their_job(node: FakeNode, collector: Collector, tmp_path: Path) -> None:
    own = tmp_path / "proc" / "4321"
    own.mkdir(parents=True)
    (own / "environ").write_bytes(b"SLURM_JOB_ID=77\0SLURM_JOB_USER=ada\0GPUWARDEN_JOB_CLASS=training\0")
    node.add_process(1, 4321, 5 << 30)
    reading = collector.collect()
    (found,) = reading.processes
    assert (found.gpu_id, found.pid, found.memory_bytes) == (reading.devices[1].id, 4321, 5 << 30)
    assert (found.job_id, found.user, found.job_class) == ("77", "ada", "training")
    assert [values(reading, gpu)["gpu_processes"] for gpu in range(GPUS)] == [0, 1, 0]


def test_what_cannot_be_counted_is_no_zero(node: FakeNode, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    lacks = "nvmlDeviceGetComputeRunningProcesses_v3,nvmlDeviceGetComputeRunningProcesses_v2,nvmlEventSetCreate"
    monkeypatch.setenv("GPUWARDEN_FAKE_NVML_LACKS", lacks)
    reading = opened().collect()
    assert not {"gpu_processes", "gpu_xid_errors_total"} & values(reading, 0).keys()
    assert {"gpu_processes", "gpu_xid_errors_total"} <= {line.partition(":")[0] for line in reading.lacks}


def test_what_this_driver_does_not_have_is_asked_for_once(
    node: FakeNode, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUWARDEN_FAKE_NVML_LACKS", "82,nvmlDeviceGetMarginTemperature")
    collector = opened()
    lacks = collector.collect().lacks
    assert [line.partition(":")[0] for line in lacks] == ["gpu_memory_temperature_celsius", "gpu_temperature_margin_celsius"]
    assert node.get("refusals") == 2 * GPUS
    assert collector.collect().lacks == lacks
    assert node.get("refusals") == 2 * GPUS


def test_where_a_field_is_missing_a_call_stands_in(node: FakeNode, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUWARDEN_FAKE_NVML_LACKS", "186,190,192,83,142")
    read = values(opened().collect(), 0)
    assert {"gpu_power_watts", "gpu_power_limit_enforced_watts", "gpu_power_limit_requested_watts"} <= read.keys()
    assert {"gpu_energy_joules_total", "gpu_remapped_rows_corrected"} <= read.keys()


def test_a_node_without_a_driver_is_unsupported(monkeypatch: pytest.MonkeyPatch, node: FakeNode, opened: Open) -> None:
    node.unload_driver()
    with pytest.raises(Unsupported, match="NVML: DriverNotLoaded"):
        opened()
