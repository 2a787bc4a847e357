"""The metrics page: every value of the newest readings, under names that Prometheus' conventions allow."""

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gpuwarden.agent.collectors.fake import Fake
from gpuwarden.agent.config import FakeConfig
from gpuwarden.agent.events import Collected, CollectFailed
from gpuwarden.agent.exposition import Exposition
from gpuwarden.agent.reading import DeviceReading, Reading
from gpuwarden.proto.catalogue import METRICS, Device, Kind

ABBREVIATED = re.compile(r"_(s|ms|w|mw|c|b|kb|mb|hz|mhz|pct|percent)(_|$)")


@pytest.fixture
def page() -> tuple[Exposition, CollectorRegistry]:
    exposition, registry = Exposition(), CollectorRegistry()
    registry.register(exposition)
    return exposition, registry


def test_values_and_labels_are_the_devices(page: tuple[Exposition, CollectorRegistry]) -> None:
    exposition, registry = page
    reading = Fake("n1", FakeConfig(gpus=2, nics=1)).collect()
    exposition.show(Collected("fake", reading, 0.01))
    labels = {"gpu_uuid": "GPU-fake-n1-1", "gpu": "1"}
    assert registry.get_sample_value("gpuwarden_gpu_power_watts", labels) == reading.devices[1].values["gpu_power_watts"]
    assert registry.get_sample_value("gpuwarden_nic_link_up", {"nic": "mlx5_0/1"}) == 1.0
    assert registry.get_sample_value("gpuwarden_gpu_energy_joules_total", labels) is not None


def test_a_collector_that_fails_takes_its_values_away(page: tuple[Exposition, CollectorRegistry]) -> None:
    exposition, registry = page
    exposition.show(Collected("fake", Fake("n1", FakeConfig()).collect(), 0.01))
    exposition.show(CollectFailed("fake", "broke", 0.01))
    assert b"gpu_power_watts" not in generate_latest(registry)


def test_all_of_the_catalogue_is_clean(page: tuple[Exposition, CollectorRegistry]) -> None:
    exposition, registry = page
    devices = tuple(
        DeviceReading(kind, f"{kind.name}-0", 0, {m.name: 1.0 for m in METRICS if m.device is kind}) for kind in Device
    )
    exposition.show(Collected("all", Reading(devices), 0.01))
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert len(families) == len(METRICS)
    for family in families:
        assert family.documentation and family.type in ("counter", "gauge")
        assert not ABBREVIATED.search(family.name), family.name
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name


def test_counters_are_counters(page: tuple[Exposition, CollectorRegistry]) -> None:
    assert all(m.name.endswith("_total") == (m.kind is Kind.COUNTER) for m in METRICS)
