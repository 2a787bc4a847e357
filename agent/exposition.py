"""The newest readings as Prometheus metrics, so that a node can be watched without Kafka or a detector."""

import threading
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector as Registered

from gpuwarden.agent.events import Collected, CollectFailed
from gpuwarden.agent.reading import DeviceReading
from gpuwarden.proto.catalogue import COLUMNS, Device, Kind, Metric

SUCCESS: Final = Gauge("gpuwarden_collector_success", "1: the newest pass of this collector read its source", ["collector"])
DURATION: Final = Gauge("gpuwarden_collector_duration_seconds", "Length of this collector's newest pass", ["collector"])
EVENTS: Final = Counter("gpuwarden_device_events_total", "Things that happened to devices, by kind", ["kind"])

_LABELS: Final = {Device.GPU: ("gpu_uuid", "gpu"), Device.HOST: ("node",), Device.NIC: ("nic",)}


class Exposition(Registered):
    """Register it with prometheus_client. A scrape reads memory only; a collector that fails takes its values away."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._devices: dict[str, tuple[DeviceReading, ...]] = {}

    def show(self, outcome: Collected | CollectFailed) -> None:
        """What a collector has just done, from its thread."""
        good = isinstance(outcome, Collected)
        SUCCESS.labels(outcome.collector).set(good)
        DURATION.labels(outcome.collector).set(outcome.duration_s)
        with self._lock:
            self._devices[outcome.collector] = outcome.reading.devices if isinstance(outcome, Collected) else ()
        if isinstance(outcome, Collected):
            for event in outcome.reading.events:
                EVENTS.labels(event.kind).inc()

    def describe(self) -> Iterable[Family]:
        return ()  # the set of metrics is the node's to know

    def collect(self) -> Iterator[Family]:
        with self._lock:
            devices = [device for reading in self._devices.values() for device in reading]
        for kind, metrics in COLUMNS.items():
            of_kind = [device for device in devices if device.device is kind]
            for metric in metrics:
                if having := [device for device in of_kind if metric.name in device.values]:
                    yield _family(metric, having)


def _family(metric: Metric, devices: Iterable[DeviceReading]) -> Family:
    made = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = made(f"gpuwarden_{metric.name}", metric.meaning.capitalize(), labels=_LABELS[metric.device])
    for device in devices:
        labels = (device.id, str(device.index))[: len(_LABELS[metric.device])]
        family.add_metric(labels, device.values[metric.name])
    return family
