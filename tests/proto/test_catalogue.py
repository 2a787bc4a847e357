"""The catalogue's numbers are for ever, and its names are Prometheus's kind of names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpuwarden.proto.catalogue import BY_NUMBER, COLUMNS, METRICS, Device, Kind, Metric
from gpuwarden.proto.telemetry_pb2 import DeviceKind

NUMBERS = Path(__file__).with_name("numbers.txt")


def test_no_number_changes_its_meaning() -> None:
    """numbers.txt has a line for each number ever given out. Add lines to it; never change or remove one."""
    given_out = dict(line.split() for line in NUMBERS.read_text().splitlines())
    assert {str(metric.number): metric.name for metric in METRICS} == given_out


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_after_device_quantity_and_unit(metric: Metric) -> None:
    assert re.fullmatch(rf"{metric.device.name.lower()}_[a-z0-9]+(_[a-z0-9]+)*", metric.name)
    assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total")
    assert metric.meaning


def test_no_unit_is_other_than_a_standard_one() -> None:
    odd = re.compile(r"_(milliwatts|mw|mhz|ms|millis|percent|kb|mb|gb|kib|mib|gib|fahrenheit|minutes|hours)(_|$)")
    assert [metric.name for metric in METRICS if odd.search(metric.name)] == []


def test_every_number_has_one_column_of_its_device() -> None:
    columns = [metric for device in Device for metric in COLUMNS[device]]
    assert sorted(metric.number for metric in columns) == sorted(BY_NUMBER)
    assert all(metric.device is device for device in Device for metric in COLUMNS[device])


def test_a_dcgm_id_stands_for_one_metric() -> None:
    ids = [metric.dcgm for metric in METRICS if metric.dcgm is not None]
    assert len(set(ids)) == len(ids)


def test_devices_have_the_wire_s_numbers() -> None:
    assert {f"DEVICE_KIND_{device.name}": device.value for device in Device} | {"DEVICE_KIND_UNSPECIFIED": 0} == dict(
        DeviceKind.items()
    )


def test_the_agent_s_side_imports_no_numpy() -> None:
    script = "import sys, gpuwarden.proto.encode, gpuwarden.core.connect; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
