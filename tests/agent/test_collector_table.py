"""What every collector of the table owes the machine, and how one that breaks is fenced."""

import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gpuwarden.agent.collecting import Collecting, Outcome, collect, open_collectors
from gpuwarden.agent.collectors import COLLECTORS, fake
from gpuwarden.agent.config import AgentConfig, FakeConfig, named
from gpuwarden.agent.events import Collected, CollectFailed
from gpuwarden.agent.machine import Agent, AgentSetup
from gpuwarden.agent.once import as_json, as_text, look
from gpuwarden.agent.reading import NoReading, Reading
from gpuwarden.core.config import ConfigError, parse
from gpuwarden.proto.catalogue import BY_NAME, Kind
from gpuwarden.proto.decode import decode

HERE = named(AgentConfig(collectors=tuple(COLLECTORS)))


@pytest.fixture(scope="module")
def readings() -> dict[str, Reading]:
    opened, _ = open_collectors(HERE)
    made = {name: collector.collect() for name, collector in opened.items()}
    for collector in opened.values():
        collector.close()
    return made


def test_what_is_not_on_this_machine_is_left_out_with_a_reason() -> None:
    opened, left_out = open_collectors(HERE)
    for collector in opened.values():
        collector.close()
    assert opened.keys() | left_out.keys() == COLLECTORS.keys()
    assert {"host", "fake"} <= opened.keys()
    assert all(left_out.values())


def test_values_are_the_catalogues_and_devices_are_told_apart(readings: dict[str, Reading]) -> None:
    for name, reading in readings.items():
        ids = [(device.device, device.id) for device in reading.devices]
        assert len(set(ids)) == len(ids) > 0, name
        for device in reading.devices:
            assert all(BY_NAME[metric].device is device.device for metric in device.values), name


def test_the_fake_is_the_same_for_the_same_seed_and_its_counters_grow() -> None:
    one, two, other = (fake.Fake("n1", FakeConfig(gpus=2, nics=1, seed=seed)) for seed in (1, 1, 2))
    before = one.collect()
    assert before == two.collect() != other.collect()
    for old, new in zip(before.devices, one.collect().devices, strict=True):
        for metric in old.values:
            assert BY_NAME[metric].kind is not Kind.COUNTER or new.values[metric] >= old.values[metric]


class Broken:
    """Raises what it is given."""

    name = "broken"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def collect(self) -> Reading:
        raise self._error

    def close(self) -> None:
        pass


def test_whatever_a_collector_raises_becomes_an_outcome() -> None:
    outcome = collect("broken", Broken(ZeroDivisionError("by zero")))
    assert isinstance(outcome, CollectFailed) and outcome.reason == "ZeroDivisionError: by zero"
    nothing = collect("broken", Broken(NoReading("not now")))
    assert isinstance(nothing, Collected) and nothing.reading == Reading()


class Stuck:
    """Hangs until it is let go."""

    name = "stuck"

    def __init__(self) -> None:
        self.go = threading.Event()

    def collect(self) -> Reading:
        self.go.wait(30.0)
        return Reading()

    def close(self) -> None:
        pass


def test_a_collector_that_hangs_holds_up_neither_the_others_nor_the_end() -> None:
    stuck, outcomes = Stuck(), queue.Queue[Outcome]()
    collecting = Collecting({"stuck": stuck, "fake": fake.Fake("n1", FakeConfig())}, outcomes.put)
    collecting.order(("stuck", "fake"))
    assert outcomes.get(timeout=5.0).collector == "fake"
    start_s = time.monotonic()
    collecting.close(0.2)
    assert time.monotonic() - start_s < 1.0
    stuck.go.set()


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"collectors": ["hots"]}, "collectors: 'hots' is not known"),
        ({"collectors": ["host", "host"]}, "collectors: one is named twice"),
        ({"period_s": 0.01}, "period_s: is 0.01"),
        ({"spool_bytes": 0}, "spool_bytes: is 0"),
        ({"metrics_listen": "0.0.0.0:9741"}, "metrics_listen: is 0.0.0.0:9741, should be a loopback address"),
        ({"limiter_socket": "/run/x"}, "limiter_socket: is of no use without controller"),
        ({"contoller": "127.0.0.1:1"}, "did you mean controller"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused_by_key(document: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(document, AgentConfig)


def test_the_record_of_one_look_holds_what_was_collected() -> None:
    seen = look(AgentConfig(node="n1", collectors=("host", "fake", "infiniband"), sys=Path("/nowhere")))
    sample = decode(seen.payload)
    assert (sample.node, sample.sequence) == ("n1", 1)
    assert {readings.device.name: len(readings.ids) for readings in sample.readings} == {"HOST": 1, "GPU": 8, "NIC": 8}
    told = as_json(seen)
    assert told["telemetry"]["bytes"] == len(seen.payload)
    assert "no InfiniBand" in told["left_out"]["infiniband"]
    assert any(f"{len(seen.payload)} bytes" in line for line in as_text(seen))


def test_once_runs_from_the_command_line_without_a_gpu_or_a_file(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gpuwarden.cli", "agent", "--once", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    told = json.loads(done.stdout)
    assert "host" in [collector["name"] for collector in told["collectors"]]
    assert told["telemetry"]["values"] > 10
    assert done.stderr == ""


def test_the_machine_and_the_table_agree_on_names() -> None:
    assert Agent(AgentSetup("n1", "s", tuple(COLLECTORS))).sequence == 0
    for name, collector in open_collectors(HERE)[0].items():
        assert collector.name == name
        collector.close()
