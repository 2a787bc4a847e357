"""The detector's own numbers, read from its machine when somebody scrapes."""

from collections.abc import Callable, Iterator
from operator import attrgetter

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import REGISTRY, Collector

from gpuwarden.detector.machine import Detector

_COUNTERS = {
    "gpuwarden_detector_samples_judged": ("Node samples judged", "samples_judged"),
    "gpuwarden_detector_samples_repeated": ("Node samples that had come before, passed over", "samples_repeated"),
    "gpuwarden_detector_samples_lost": ("Node samples that never came, by their sequence numbers", "samples_lost"),
    "gpuwarden_detector_comm_judged": ("Records of what ranks say, judged", "comm.taken"),
    "gpuwarden_detector_comm_repeated": ("Records of what ranks say that had come before, passed over", "comm.repeated"),
    "gpuwarden_detector_comm_lost": ("Records of what ranks say that never came, by their sequence numbers", "comm.lost"),
    "gpuwarden_detector_records_refused": ("Records refused at the door, to the dead-letter topic", "refused"),
    "gpuwarden_detector_events_left_out": ("Driver events of nodes with too many firing already", "events_left_out"),
}
_GAUGES = {
    "gpuwarden_detector_nodes": ("Nodes known", "nodes_known"),
    "gpuwarden_detector_jobs": ("Running jobs known by what their ranks say", "comm.jobs_known"),
    "gpuwarden_detector_findings_firing": ("Findings that fire", "findings_firing"),
}


class DetectorNumbers(Collector):
    """Plain integers, written by the machine's thread alone."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def collect(self) -> Iterator[Metric]:
        for name, (meaning, attribute) in _COUNTERS.items():
            yield CounterMetricFamily(name, meaning, value=attrgetter(attribute)(self._detector))
        for name, (meaning, attribute) in _GAUGES.items():
            yield GaugeMetricFamily(name, meaning, value=attrgetter(attribute)(self._detector))


def register(detector: Detector) -> Callable[[], None]:
    """Onto the page that `core.metrics` serves; returns what takes it off."""
    numbers = DetectorNumbers(detector)
    REGISTRY.register(numbers)
    return lambda: REGISTRY.unregister(numbers)
