"""One suite for every BMC: somebody else's emulator, and ours with the present schema, the one before, and both. Then ours, failing."""

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fakes.redfish.reach import reach
from fakes.redfish.service import PASSWORD, USER, FakeBmc, running
from fakes.redfish.tree import (
    CHASSIS_W,
    FAN_RPM,
    INTAKE_CELSIUS,
    LIMIT_W,
    NODE,
    ROOT,
    SUPPLY_W,
    collection,
    sensor,
    tree,
)
from prometheus_client import CollectorRegistry
from services.certificate import Certificate
from services.port import free_port

from gpuwarden.agent.collecting import collect
from gpuwarden.agent.collectors import bmc
from gpuwarden.agent.collectors.bmc import Bmc, Pace
from gpuwarden.agent.collectors.host import open as open_host
from gpuwarden.agent.config import AgentConfig, BmcConfig
from gpuwarden.agent.events import Collected, CollectFailed
from gpuwarden.agent.exposition import Exposition
from gpuwarden.agent.once import look
from gpuwarden.agent.reading import Reading
from gpuwarden.core.redfish import Redfish
from gpuwarden.proto.catalogue import BMC, COLUMNS, Device
from gpuwarden.proto.decode import decode

QUICK = Pace(period_s=0.05, call_s=2.0, open_s=5.0)
METRICS = {metric.name for metric in COLUMNS[Device.HOST] if metric.name.startswith(BMC)}
WHOLE = {
    "host_bmc_power_on": 1.0, "host_bmc_power_watts": CHASSIS_W, "host_bmc_power_limit_watts": LIMIT_W,
    "host_bmc_supply_input_watts": sum(SUPPLY_W), "host_bmc_supply_input_min_watts": min(SUPPLY_W), "host_bmc_supplies": len(SUPPLY_W),
    "host_bmc_fan_min_rpm": min(FAN_RPM), "host_bmc_inlet_celsius": INTAKE_CELSIUS,
}  # fmt: skip
OURS = {"both": (True, True), "present": (True, False), "before": (False, True)}

Open = Callable[..., Bmc]


@pytest.fixture(params=["sushy", *OURS])
def config(request: pytest.FixtureRequest, tmp_path: Path, proof: Certificate, emulator: str) -> Iterator[BmcConfig]:
    """How to reach each BMC."""
    if request.param == "sushy":
        yield reach(emulator, tmp_path, proof)
        return
    with running(FakeBmc(tree(*OURS[request.param])), proof) as fake:
        yield reach(fake.url, tmp_path, proof)


@pytest.fixture
def ours(proof: Certificate) -> Iterator[FakeBmc]:
    with running(FakeBmc(tree(present=True, before=False)), proof) as fake:
        yield fake


@pytest.fixture
def opened(tmp_path: Path, proof: Certificate) -> Iterator[Open]:
    with ExitStack() as stack:

        def make(at: FakeBmc | BmcConfig, pace: Pace = QUICK) -> Bmc:
            made = bmc.connect("n1", at if isinstance(at, BmcConfig) else reach(at.url, tmp_path, proof), pace)
            stack.callback(made.close)
            return made

        yield make


def values(reading: Reading) -> dict[str, float]:
    (device,) = reading.devices
    assert (device.device, device.id) == (Device.HOST, "n1")
    return dict(device.values)


def reason(collector: Bmc) -> str:
    outcome = collect("bmc", collector)
    assert isinstance(outcome, CollectFailed), outcome
    return outcome.reason


def until(collector: Bmc, good: Callable[[Collected | CollectFailed], bool], within_s: float = 10.0) -> Collected | CollectFailed:
    """Passes until one is as it should be."""
    end_s = time.monotonic() + within_s
    while not good(outcome := collect("bmc", collector)):
        assert time.monotonic() < end_s, outcome
        time.sleep(0.02)
    return outcome


# Every BMC.


def test_what_a_bmc_has_is_read_and_what_it_lacks_is_named(config: BmcConfig, opened: Open) -> None:
    reading = opened(config).collect()
    told = values(reading)
    assert {"host_bmc_power_on", "host_bmc_fan_min_rpm", "host_bmc_inlet_celsius", "host_bmc_age_seconds"} <= told.keys() <= METRICS
    lacking = {line.partition(":")[0] for line in reading.lacks}
    assert METRICS - told.keys() - lacking <= {"host_bmc_supply_input_min_watts", "host_bmc_supplies"}  # they go with the sum
    assert not lacking & told.keys()
    assert told["host_bmc_power_on"] == 1.0
    assert 300 < told["host_bmc_fan_min_rpm"] < 30_000
    assert 5 < told["host_bmc_inlet_celsius"] < 50


def test_a_reading_is_shown_again_with_its_age_until_there_is_a_newer_one(config: BmcConfig, opened: Open) -> None:
    collector = opened(config, replace(QUICK, period_s=60.0))
    first = values(collector.collect())
    time.sleep(0.1)
    second = values(collector.collect())
    assert second["host_bmc_age_seconds"] >= first["host_bmc_age_seconds"] + 0.1
    assert {**first, "host_bmc_age_seconds": 0} == {**second, "host_bmc_age_seconds": 0}


def test_readings_follow_each_other_and_have_the_same_metrics(config: BmcConfig, opened: Open) -> None:
    collector = opened(config)
    first, first_s = values(collector.collect()), time.monotonic()
    newer = until(collector, lambda o: isinstance(o, Collected) and values(o.reading)["host_bmc_age_seconds"] < time.monotonic() - first_s)
    assert isinstance(newer, Collected)
    assert values(newer.reading).keys() == first.keys()


def test_a_wrong_password_is_named_never_shown_and_not_tried_again_soon(config: BmcConfig, opened: Open) -> None:
    config.password_file.write_text("batteries staple\n")
    collector = opened(config)
    for _ in range(3):
        why = reason(collector)
        assert "401" in why and "refused" in why and "staple" not in why
        time.sleep(0.1)


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_told_otherwise(config: BmcConfig, opened: Open) -> None:
    stranger = replace(config, ca_file=None)
    assert "certificate is not trusted" in reason(opened(stranger))
    assert values(opened(replace(stranger, verify=False)).collect())


def test_one_look_at_a_node_has_host_and_bmc_in_one_row(config: BmcConfig) -> None:
    seen = look(AgentConfig(node="n1", collectors=("host", "bmc"), bmc=config))
    (host,) = decode(seen.payload).readings
    assert host.ids == ("n1",)
    row = dict(zip([metric.name for metric in COLUMNS[Device.HOST]], host.values[0].tolist(), strict=True))
    assert row["host_memory_total_bytes"] > 0 and row["host_bmc_power_on"] == 1.0


def test_agent_once_shows_it(config: BmcConfig, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(
        f'collectors = ["bmc"]\n[bmc]\nurl = "{config.url}"\nuser = "{config.user}"\n'
        f'password_file = "{config.password_file}"\nca_file = "{config.ca_file}"\n'
    )
    command = [sys.executable, "-m", "gpuwarden.cli", "agent", "--once", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "host_bmc_inlet_celsius" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr


# Ours: what is read.


@pytest.mark.parametrize("schemas", OURS.values(), ids=OURS)
def test_every_schema_tells_the_same(schemas: tuple[bool, bool], proof: Certificate, opened: Open) -> None:
    with running(FakeBmc(tree(*schemas)), proof) as fake:
        reading = opened(fake).collect()
        assert values(reading).items() >= WHOLE.items()
        assert reading.lacks == ()
        assert values(reading).keys() == METRICS


def test_a_present_schema_that_is_half_empty_is_filled_from_the_one_before(proof: Certificate, opened: Open) -> None:
    made = tree(present=True, before=True)
    del made[f"{NODE}/PowerSubsystem"]["PowerSupplies"]
    made[f"{NODE}/EnvironmentMetrics"]["PowerWatts"]["Reading"] = None
    with running(FakeBmc(made), proof) as fake:
        assert values(opened(fake).collect()).items() >= WHOLE.items()


def test_the_inlet_is_found_among_the_sensors_where_nothing_sums_them_up(ours: FakeBmc, opened: Open) -> None:
    del ours.tree[f"{NODE}/ThermalSubsystem"]["ThermalMetrics"]
    assert values(opened(ours).collect())["host_bmc_inlet_celsius"] == INTAKE_CELSIUS


def with_sensors(ours: FakeBmc, count: int, intake: int, page: int) -> str:
    """Only sensors tell of the air: so many, told in pages, of which number `intake` is the inlet's. Where the collection is."""
    del ours.tree[f"{NODE}/ThermalSubsystem"]["ThermalMetrics"]
    at = f"{NODE}/Sensors"
    names = [f"T{number}" for number in range(count)]
    ours.tree |= {f"{at}/{name}": sensor(name, "Intake" if number == intake else "CPU", 30.0) for number, name in enumerate(names)}
    for first in range(0, count, page):
        here = collection(at, [f"{at}/{name}" for name in names[first : first + page]])
        following = {"Members@odata.nextLink": f"{at}?$skip={first + page}"} if first + page < count else {}
        ours.tree[f"{at}?$skip={first}" if first else at] = here | following
    return at


def test_a_collection_that_is_told_in_pages_is_read_to_its_end(ours: FakeBmc, opened: Open) -> None:
    with_sensors(ours, count=100, intake=90, page=25)
    assert values(opened(ours).collect())["host_bmc_inlet_celsius"] == 30.0


def test_of_more_sensors_than_are_looked_at_that_is_said(ours: FakeBmc, opened: Open) -> None:
    at = with_sensors(ours, count=200, intake=199, page=50)
    reading = opened(ours).collect()
    assert "host_bmc_inlet_celsius" not in values(reading)
    said = f"host_bmc_inlet_celsius: {at}: none of its first 128 sensors is of the air taken in, and no more are looked at"
    assert reading.lacks == (said,)


@pytest.mark.parametrize("following", ["http://elsewhere/redfish/v1/Chassis/Node/Sensors", "/etc/passwd", f"{NODE}/Sensors?$skip=7"])
def test_a_next_page_that_is_not_there_or_elsewhere_costs_its_own_reading_only(following: str, ours: FakeBmc, opened: Open) -> None:
    ours.tree[with_sensors(ours, count=2, intake=1, page=2)]["Members@odata.nextLink"] = following
    reading = opened(ours).collect()
    assert values(reading).keys() == METRICS - {"host_bmc_inlet_celsius"}
    (why,) = reading.lacks
    assert why.startswith("host_bmc_inlet_celsius: ") and ("is not a path of Redfish" in why or "answered 404" in why)


@pytest.mark.parametrize("following", [f"{NODE}/Sensors", 7, None])
def test_pages_that_lead_round_or_nowhere_end(following: object, ours: FakeBmc, opened: Open) -> None:
    ours.tree[with_sensors(ours, count=2, intake=1, page=2)]["Members@odata.nextLink"] = following
    assert values(opened(ours).collect())["host_bmc_inlet_celsius"] == 30.0


def test_readings_come_over_one_connection_and_what_stays_is_not_asked_for_again(ours: FakeBmc, opened: Open) -> None:
    collector = opened(ours)
    asked = len(ours.asked)
    until(collector, lambda _: len(ours.asked) > asked)
    time.sleep(0.3)  # it is whole
    collector.collect()
    again = ours.asked[asked : asked + 9]
    assert ours.connections == 1
    assert sorted(again) == sorted({  # each once
        f"GET {NODE}", f"GET {NODE}/EnvironmentMetrics", f"GET {NODE}/ThermalSubsystem/ThermalMetrics",
        *(f"GET {NODE}/PowerSubsystem/PowerSupplies/{i}/Metrics" for i in range(len(SUPPLY_W))),
        *(f"GET {NODE}/ThermalSubsystem/Fans/{i}" for i in range(len(FAN_RPM))),
    })  # fmt: skip


def test_it_is_asked_no_more_often_than_the_pace_says(ours: FakeBmc, opened: Open) -> None:
    collector = opened(ours, replace(QUICK, period_s=60.0))
    asked = len(ours.asked)
    for _ in range(20):
        collector.collect()
        time.sleep(0.01)
    assert len(ours.asked) == asked


def test_a_bmc_that_closes_idle_connections_is_called_again(ours: FakeBmc, opened: Open) -> None:
    ours.drops = True
    assert values(opened(ours).collect()).items() >= WHOLE.items()
    assert ours.connections > 1


def test_a_limit_that_is_set_or_disabled_is_seen(ours: FakeBmc, proof: Certificate, opened: Open) -> None:
    collector = opened(ours)
    limit = {"PowerLimitWatts": {"SetPoint": 5000.0}}
    trust = ssl.create_default_context(cafile=proof.certificate)
    answer = httpx.patch(f"{ours.url}{NODE}/EnvironmentMetrics", json=limit, auth=(USER, PASSWORD), verify=trust)
    assert answer.json()["PowerLimitWatts"]["AllowableMax"] == 10000
    until(collector, lambda o: isinstance(o, Collected) and values(o.reading).get("host_bmc_power_limit_watts") == 5000.0)
    ours.tree[f"{NODE}/EnvironmentMetrics"]["PowerLimitWatts"]["ControlMode"] = "Disabled"
    without = until(collector, lambda o: isinstance(o, Collected) and "host_bmc_power_limit_watts" not in values(o.reading))
    assert isinstance(without, Collected) and any("is disabled" in line for line in without.reading.lacks)


def test_the_metrics_page_shows_it_beside_the_host(ours: FakeBmc, opened: Open) -> None:
    exposition, registry = Exposition(), CollectorRegistry()
    registry.register(exposition)
    host_alone = open_host(AgentConfig(node="n1"))
    for name, collector in (("host", host_alone), ("bmc", opened(ours))):
        exposition.show(collect(name, collector))
    assert registry.get_sample_value("gpuwarden_host_bmc_inlet_celsius", {"node": "n1"}) == INTAKE_CELSIUS
    assert registry.get_sample_value("gpuwarden_host_memory_total_bytes", {"node": "n1"})
    assert not any(BMC in line for line in host_alone.collect().lacks)  # the kernel's collector does not miss what is not its own


# Ours, failing.

STRANGE = [
    ("null", None), ("text", "12"), ("true", True), ("list", [1]), ("beyond any", 1e39), ("without an end", float("inf")),
    ("not a number", float("nan")), ("object", {"a": 1}),
]  # fmt: skip


@pytest.mark.parametrize("strange", [value for _, value in STRANGE], ids=[name for name, _ in STRANGE])
def test_a_reading_that_is_none_is_left_out_and_named_and_the_rest_is_there(strange: object, ours: FakeBmc, opened: Open) -> None:
    ours.tree[f"{NODE}/PowerSubsystem/PowerSupplies/1/Metrics"]["InputPowerWatts"]["Reading"] = strange
    ours.tree[f"{NODE}/ThermalSubsystem/Fans/2"]["SpeedPercent"]["SpeedRPM"] = strange
    reading = opened(ours).collect()
    told = values(reading)
    assert "host_bmc_supply_input_watts" not in told  # the other's input would pass for the sum
    assert (told["host_bmc_supplies"], told["host_bmc_supply_input_min_watts"]) == (1, SUPPLY_W[0])
    assert told["host_bmc_fan_min_rpm"] == 8000
    assert [line for line in reading.lacks if line.startswith("host_bmc_supply_input_watts: ") and "PowerSupplies/1/Metrics" in line]
    assert [line for line in reading.lacks if line.startswith("host_bmc_fan_min_rpm: ") and "Fans/2" in line]
    assert len(reading.lacks) == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{ 12, ", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"9" * 5000, "is not JSON"),
        (b"[1]", "is not a JSON object"),
        (b'{"a": "' + b"x" * 10_000_000 + b'"}', "has more than 1048576 bytes"),
    ],
    ids=["broken", "deep", "binary", "long number", "list", "10 MB"],
)
def test_an_answer_that_is_none_costs_its_own_reading_only(body: bytes, says: str, ours: FakeBmc, opened: Open) -> None:
    at = f"{NODE}/EnvironmentMetrics"
    ours.raw[at] = body
    reading = opened(ours).collect()
    assert values(reading).keys() == METRICS - {"host_bmc_power_watts", "host_bmc_power_limit_watts"}
    assert sorted(reading.lacks) == [f"host_bmc_power_limit_watts: {at}: {says}", f"host_bmc_power_watts: {at}: {says}"]


def test_an_answer_without_end_is_not_taken_in(ours: FakeBmc, opened: Open) -> None:
    ours.raw[f"{NODE}/EnvironmentMetrics"] = b" " * (64 << 20)
    opened(ours).collect()
    assert ours.sent_bytes < 32 << 20  # what fits into the buffers between


@pytest.mark.parametrize("status", [301, 403, 404, 500, 503])
def test_a_resource_that_is_refused_costs_its_own_reading_only(status: int, ours: FakeBmc, opened: Open) -> None:
    ours.status[f"{NODE}/ThermalSubsystem/Fans/1"] = status
    ours.status[f"{NODE}/PowerSubsystem/PowerSupplies/0/Metrics"] = status
    reading = opened(ours).collect()
    told = values(reading)
    assert told["host_bmc_fan_min_rpm"] == min(FAN_RPM)
    assert told["host_bmc_supplies"] == len(SUPPLY_W) - 1
    assert [line.partition(": answered ") for line in reading.lacks] == [
        (f"host_bmc_supply_input_watts: {NODE}/PowerSubsystem/PowerSupplies/0/Metrics", ": answered ", str(status)),
        (f"host_bmc_fan_min_rpm: {NODE}/ThermalSubsystem/Fans/1", ": answered ", str(status)),
    ]


@pytest.mark.parametrize("body", [b"nonsense", b'{"Chassis": 5}', b'{"Chassis": {"@odata.id": "http://elsewhere/"}}', b'{"Chassis": {"@odata.id": 3}}'])
def test_without_a_chassis_it_fails_with_the_reason(body: bytes, ours: FakeBmc, opened: Open) -> None:
    ours.raw[f"{ROOT}/"] = body
    collector = opened(ours)
    assert "/redfish/v1/" in reason(collector) or "elsewhere" in reason(collector)
    ours.raw.clear()
    until(collector, lambda outcome: isinstance(outcome, Collected))


def test_a_slow_bmc_holds_up_no_pass_and_neither_start_nor_end(ours: FakeBmc, tmp_path: Path, proof: Certificate) -> None:
    ours.slow_s = 0.5
    start_s = time.monotonic()
    collector = bmc.connect("n1", reach(ours.url, tmp_path, proof), replace(QUICK, open_s=0.2))
    outcome = collect("bmc", collector)
    assert isinstance(outcome, CollectFailed) and "slow" in outcome.reason and outcome.duration_s < 0.05
    collector.close()
    assert time.monotonic() - start_s < 0.45


def test_after_a_refused_login_it_waits_before_the_account_is_locked_and_then_reads(ours: FakeBmc, opened: Open) -> None:
    ours.password = "another"
    collector = opened(ours, replace(QUICK, locked_s=0.5))
    asked = len(ours.asked)
    for _ in range(20):
        assert "401" in reason(collector)
        time.sleep(0.01)
    assert len(ours.asked) == asked
    ours.password = PASSWORD
    until(collector, lambda outcome: isinstance(outcome, Collected))


@pytest.mark.parametrize("how", ["hangs", "drips"])
def test_an_answer_that_does_not_end_is_cut_off(how: str, ours: FakeBmc, opened: Open) -> None:
    ours.slow_s, ours.drips = (30.0, False) if how == "hangs" else (0.0, True)
    start_s = time.monotonic()
    assert "/redfish/v1/: no answer within 0.3 s" in reason(opened(ours, replace(QUICK, call_s=0.3)))
    assert time.monotonic() - start_s < 3.0


def test_a_port_that_takes_connections_and_says_nothing_is_cut_off(tmp_path: Path, proof: Certificate, opened: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config = reach(f"https://127.0.0.1:{mute.getsockname()[1]}", tmp_path, proof)
        assert "no answer within 0.3 s" in reason(opened(config, replace(QUICK, call_s=0.3)))


def test_a_reading_that_takes_too_long_as_a_whole_fails(ours: FakeBmc, opened: Open) -> None:
    ours.slow_s = 0.05
    assert "the reading as a whole took too long" in reason(opened(ours, replace(QUICK, probe_s=0.3)))


def test_a_bmc_that_reboots_is_named_and_read_again_and_what_it_told_is_not_shown_meanwhile(
    ours: FakeBmc, opened: Open
) -> None:
    collector = opened(ours)
    assert values(collector.collect())
    ours.status[NODE] = 503
    until(collector, lambda outcome: isinstance(outcome, CollectFailed) and "503" in outcome.reason)
    ours.status.clear()
    until(collector, lambda outcome: isinstance(outcome, Collected))


def test_a_call_has_its_own_deadline_not_that_of_the_one_that_connected(ours: FakeBmc, proof: Certificate) -> None:
    redfish = Redfish(ours.url, USER, PASSWORD, ssl.create_default_context(cafile=proof.certificate), call_s=5.0)
    redfish.get(f"{ROOT}/", time.monotonic() + 0.3)
    ours.slow_s = 0.5
    assert redfish.get(NODE, time.monotonic() + 5.0)["PowerState"] == "On"
    assert ours.connections == 1
    redfish.close()


def test_a_bmc_that_names_its_chassis_anew_is_looked_through_again(ours: FakeBmc, opened: Open) -> None:
    collector = opened(ours)
    assert values(collector.collect())
    ours.tree = json.loads(json.dumps(ours.tree).replace("Chassis/Node", "Chassis/1"))
    until(collector, lambda outcome: isinstance(outcome, CollectFailed) and f"{NODE}: answered 404" in outcome.reason)
    again = until(collector, lambda outcome: isinstance(outcome, Collected))
    assert isinstance(again, Collected) and values(again.reading).items() >= WHOLE.items()


def test_a_port_where_nobody_listens_or_no_http_is_spoken_is_named(tmp_path: Path, proof: Certificate, opened: Open) -> None:
    nobody = reach(f"https://127.0.0.1:{free_port()}", tmp_path, proof)
    assert "Connection refused" in reason(opened(nobody))
    with running(FakeBmc(tree(present=True, before=False))) as plain:
        assert "TLS failed" in reason(opened(reach(plain.url.replace("http:", "https:"), tmp_path, proof), replace(QUICK, call_s=1.0)))
