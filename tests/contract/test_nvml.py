"""One suite for every NVML: our fake, whole, with few calls and with gaps; somebody else's, new and old; a real one, if there is one."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fakes.nvml.asked import power_w
from fakes.nvml.steer import BRAKE, FakeNode

from gpuwarden.agent.child import ChildFailed, Hung
from gpuwarden.agent.collectors import nvml
from gpuwarden.agent.config import AgentConfig
from gpuwarden.agent.limiter.cards import Cards
from gpuwarden.agent.nvml_sources import METRICS
from gpuwarden.agent.reading import Collector, DeviceReading, Reading, Unsupported
from gpuwarden.proto.catalogue import BY_NAME, Device

OTHER = Path(__file__).parents[1] / "fakes" / "nvml" / "other.c"


def real() -> bool:
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


LIBRARIES = ["ours", "few", "gaps", "other", "old", *(["real"] if real() else [])]


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNode]:
    """Our fake, whole, for all processes that the test starts from now on."""
    with FakeNode(tmp_path / "cards", gpus=4) as node:
        set_env(monkeypatch, node.env())
        yield node


def set_env(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name: str = request.param
    if name in ("other", "old"):
        made = tmp_path / "libnvidia-ml.so.1"
        names = [f"-D{call}_v2={call}" for call in ("nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex")]
        older = names if name == "old" else []
        subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Wextra", *older, "-o", made, OTHER], check=True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    if name in ("other", "old", "real"):
        yield name
        return
    with FakeNode(tmp_path / "cards", gpus=4) as node:
        gaps = "nvmlDeviceGetUUID,nvmlDeviceGetFieldValues,nvmlEventSetCreate,nvmlDeviceGetPowerManagementDefaultLimit"
        set_env(monkeypatch, {"ours": node.env(), "few": node.env(few=True), "gaps": node.env(lacks=gaps)}[name])
        yield name


@pytest.fixture
def opened() -> Iterator[Callable[[], Collector]]:
    made: list[Collector] = []

    def make() -> Collector:
        made.append(nvml.open(AgentConfig()))
        return made[-1]

    yield make
    for collector in made:
        collector.close()


Open = Callable[[], Collector]


def gpus(reading: Reading) -> list[DeviceReading]:
    return [device for device in reading.devices if device.device is Device.GPU]


def test_every_card_has_power_and_an_id_of_its_own(library: str, opened: Open) -> None:
    found = gpus(opened().collect())
    assert found
    assert len({device.id for device in found}) == len(found) == len({device.index for device in found})
    assert all(5.0 < device.values["gpu_power_watts"] < 1500.0 for device in found)


def test_only_metrics_of_the_catalogue_in_its_units(library: str, opened: Open) -> None:
    for device in gpus(opened().collect()):
        assert all(BY_NAME[name].device is Device.GPU for name in device.values)
        for name, value in device.values.items():
            assert not name.endswith("_ratio") or 0.0 <= value <= 1.0, name
            assert not name.endswith("_celsius") or -10.0 < value < 130.0, name
            assert not name.endswith("_hertz") or 1e7 < value < 1e10, name


def test_limits_are_in_order(library: str, opened: Open) -> None:
    for device in gpus(opened().collect()):
        order = [device.values.get(f"gpu_power_limit_{which}_watts") for which in ("min", "enforced", "requested", "max")]
        known = [value for value in order if value is not None]
        assert known == sorted(known)


def test_what_cannot_be_read_is_named_with_its_reason(library: str, opened: Open) -> None:
    collector = opened()
    collector.collect()  # a rate is known from the second pass on
    reading = collector.collect()
    for device in gpus(reading):
        for name in {*METRICS, "gpu_processes", "gpu_xid_errors_total"} - device.values.keys():
            assert any(line.startswith(name) and ": " in line for line in reading.lacks), name


def test_ids_and_metrics_stay_the_same_from_pass_to_pass(library: str, opened: Open) -> None:
    collector = opened()
    collector.collect()
    time.sleep(0.05)  # for a rate
    first, second = collector.collect(), collector.collect()
    assert [(d.id, d.index, d.values.keys()) for d in gpus(first)] == [(d.id, d.index, d.values.keys()) for d in gpus(second)]


def test_agent_once_runs_on_it(library: str) -> None:
    done = subprocess.run([sys.executable, "-m", "gpuwarden.cli", "agent", "--once"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "gpu_power_watts" in done.stdout


def test_without_a_library_the_collector_is_left_out(monkeypatch: pytest.MonkeyPatch, opened: Open) -> None:
    if real():
        pytest.skip("this machine has a library")
    with pytest.raises(Unsupported, match="NVML"):
        opened()


def test_a_limit_is_set_read_back_and_obeyed_and_costs_10_to_20_ms_a_card(cards: FakeNode) -> None:
    cards.set_demands(600.0)
    limiter = Cards()
    start_s = time.monotonic()
    assert limiter.set_limits([300.0] * 4) == ("",) * 4
    assert 4 * 0.010 <= time.monotonic() - start_s < 4 * 0.020 + 0.25
    assert [card.enforced_w for card in limiter.limits()] == [300.0] * 4
    time.sleep(1.0)
    assert max(cards.true_power_w(gpu) for gpu in range(4)) < 330.0
    limiter.close()


def test_who_sets_limits_waits_for_whoever_does_already(cards: FakeNode) -> None:
    code = "from gpuwarden.agent.limiter.cards import Cards; c = Cards(); [c.set_limits([400.0] * 4) for _ in range(3)]; c.close()"
    start_s = time.monotonic()
    several = [subprocess.Popen([sys.executable, "-c", code], env=os.environ) for _ in range(2)]
    assert [process.wait(60) for process in several] == [0, 0]
    assert time.monotonic() - start_s >= 2 * 3 * 4 * 0.010


def test_a_sensor_is_refreshed_ten_times_a_second(cards: FakeNode) -> None:
    limiter = Cards()
    seen = []
    end_s = time.monotonic() + 1.0
    while time.monotonic() < end_s:
        cards.set_demand(0, 300.0 + 200.0 * ((time.monotonic() * 40) % 1))
        seen.append(int(power_w(limiter)[0]))
    limiter.close()
    assert 4 <= sum(a != b for a, b in pairwise(seen)) <= 12


def test_every_read_travels_with_its_number_so_that_losses_can_be_counted(cards: FakeNode) -> None:
    limiter = Cards()
    numbers = [round(power_w(limiter)[2] * 1000) % 1000 for _ in range(50)]
    limiter.close()
    read = [r for r in cards.power_reads() if r.gpu == 2 and r.kind == "instant"]
    assert numbers == [r.counter % 1000 for r in read][-50:]
    assert [b - a for a, b in pairwise(numbers)] == [1] * 49


def test_a_call_that_hangs_is_cut_off_told_and_over_when_the_driver_is_back(cards: FakeNode, monkeypatch: pytest.MonkeyPatch, opened: Open) -> None:
    monkeypatch.setattr(nvml, "DEADLINE_S", 0.5)
    collector = opened()
    cards.hang(True)
    start_s = time.monotonic()
    assert [event.kind for event in collector.collect().events] == ["driver_hung"]
    assert time.monotonic() - start_s < 3.0
    with pytest.raises((Hung, ChildFailed)):
        collector.collect()
    cards.hang(False)
    end_s = time.monotonic() + 20.0
    while True:
        try:
            assert len(gpus(collector.collect())) == 4
            return
        except (Hung, ChildFailed):
            assert time.monotonic() < end_s
            time.sleep(0.5)


def test_a_lost_card_is_told_once_and_the_others_are_read(cards: FakeNode, opened: Open) -> None:
    collector = opened()
    cards.lose(1)
    first, second = collector.collect(), collector.collect()
    assert [event.kind for event in first.events] == ["gpu_lost"] and second.events == ()
    assert [device.values["gpu_lost"] for device in gpus(second)] == [0.0, 1.0, 0.0, 0.0]


def test_an_xid_comes_with_its_card(cards: FakeNode, opened: Open) -> None:
    collector = opened()
    cards.xid(3, 79)
    found: list[tuple[str, int]] = []
    end_s = time.monotonic() + 5.0
    while not found and time.monotonic() < end_s:
        reading = collector.collect()
        found = [(event.device_id, event.code) for event in reading.events if event.kind == "xid"]
    assert found == [(gpus(reading)[3].id, 79)]


def test_a_brake_shows_in_the_reasons_and_our_own_limit_in_another_bit(cards: FakeNode, opened: Open) -> None:
    collector = opened()
    cards.slow_down(0, BRAKE)
    cards.set_demand(1, 650.0)
    cards.set("requested_w", 300.0, 1)
    time.sleep(1.0)
    reasons = [int(device.values["gpu_throttle_reasons"]) for device in gpus(collector.collect())]
    assert reasons[0] & 0x80 and reasons[1] & 0x4 and not reasons[1] & 0x80


def test_somebody_elses_limit_is_seen(cards: FakeNode) -> None:
    limiter = Cards()
    limiter.set_limits([300.0] * 4)
    cards.reset_limits()
    assert [card.requested_w for card in limiter.limits()] == [700.0] * 4
    limiter.close()


def test_a_reload_puts_the_limits_back_to_the_default(cards: FakeNode) -> None:
    limiter = Cards()
    limiter.set_limits([300.0] * 4)
    cards.reload_driver()
    end_s = time.monotonic() + 10.0
    while True:
        try:
            assert [card.enforced_w for card in limiter.limits()] == [700.0] * 4
            break
        except (Hung, ChildFailed):
            assert time.monotonic() < end_s
            time.sleep(0.2)
    limiter.close()


def test_a_locked_clock_draws_less_until_it_is_unlocked(cards: FakeNode) -> None:
    cards.set_demands(700.0)
    limiter = Cards()
    assert [card.clock_max_hz for card in limiter.cards] == [1.98e9] * 4
    assert limiter.lock_clocks([1.56e9, 0.0, 0.0, 0.0]) == ("",) * 4
    time.sleep(1.0)
    assert cards.true_power_w(0) < 0.7 * cards.true_power_w(1), "0.787 of the clock, to about the 2.4th power"
    assert limiter.limits()[0].enforced_w == 700.0, "a lock is no limit"
    limiter.lock_clocks([0.0] * 4)
    time.sleep(1.0)
    assert cards.true_power_w(0) > 0.95 * cards.true_power_w(1)
    limiter.close()


def test_a_card_that_refuses_a_lock_says_why_and_the_others_are_locked(cards: FakeNode) -> None:
    cards.set("no_permission", 1, 2)
    limiter = Cards()
    refused = limiter.lock_clocks([1.56e9] * 4)
    limiter.close()
    assert [bool(why) for why in refused] == [False, False, True, False]
    assert [cards.get("locked_mhz", gpu) for gpu in range(4)] == [1560.0, 1560.0, 0.0, 1560.0]


@pytest.mark.parametrize("lacking", [{"few": True}, {"lacks": "nvmlDeviceSetGpuLockedClocks,nvmlDeviceGetMaxClockInfo"}])
def test_a_driver_without_locks_is_no_reason_not_to_limit(cards: FakeNode, monkeypatch: pytest.MonkeyPatch, lacking: dict[str, Any]) -> None:
    set_env(monkeypatch, cards.env(**lacking))
    limiter = Cards()
    assert [card.clock_max_hz for card in limiter.cards] == [0.0] * 4
    assert all(limiter.lock_clocks([1.56e9] * 4))
    assert limiter.set_limits([300.0] * 4) == ("",) * 4
    limiter.close()


def test_a_reload_forgets_locks(cards: FakeNode) -> None:
    limiter = Cards()
    limiter.lock_clocks([1.56e9] * 4)
    cards.reload_driver()
    limiter.close()
    assert cards.get("locked_mhz", 0) == 0.0
